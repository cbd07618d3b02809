"""Domain adaptation: a classifier for the target, learned with the labels of the source. One method, one module."""
