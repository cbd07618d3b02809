"""Domain adaptation: a classifier for the target domain, trained with labels of the source domain only."""
