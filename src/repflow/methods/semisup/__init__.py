"""Semi-supervised learning: a classifier from few labelled and many unlabelled images. One module per method."""
