"""Components that several methods share, besides encoders and augmentations."""
