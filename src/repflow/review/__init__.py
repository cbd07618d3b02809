"""Comparison of two revisions for reviewers: changed metrics with their significance, and changed stages and code."""
