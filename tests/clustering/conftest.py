"""What the tests of deep clustering share."""
