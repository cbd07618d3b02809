"""Deep clustering: encoder and cluster assignments trained jointly, without labels. One module per method."""
