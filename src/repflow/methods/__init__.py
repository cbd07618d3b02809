"""Methods: one module a method, one folder a family; what several of them share is in `parts`."""
