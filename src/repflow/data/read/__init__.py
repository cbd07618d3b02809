"""Reading a store: the rows of a split, memory-mapped images, batches."""
