"""Data: ingest image files into a store, check it, split it, read batches from it."""
