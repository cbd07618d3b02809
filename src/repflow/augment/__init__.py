"""Random image operations on whole batches, every image with numbers of its own."""
