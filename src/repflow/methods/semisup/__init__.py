"""Semi-supervised learning: a classifier learned with few labels and many images. One method, one module."""
