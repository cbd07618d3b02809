"""Mixtures of Gaussians whose number is found: the evidence for it, and networks that take the shares."""
