"""What the command `compose` is made of: overrides from the command line, kept choices, what DVC watches."""
