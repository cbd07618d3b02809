"""Deep clustering: an encoder and clusters learned together, without labels. One method, one module."""
