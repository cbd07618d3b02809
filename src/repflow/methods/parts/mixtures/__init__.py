"""Dirichlet process Gaussian mixtures: marginal likelihoods, and networks that assign clusters."""
