"""From files of any kind to batches of images: sources, store, manifest, checks, splits, batches."""
