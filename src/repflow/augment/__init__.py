"""Data augmentation on whole batches, with random parameters drawn per image."""
