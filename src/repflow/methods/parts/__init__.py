"""Parts that several methods share, beyond encoders and augmentations."""
