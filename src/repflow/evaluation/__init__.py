"""Evaluation: probes of frozen encoders, classification and clustering scores, bootstrap intervals, image grids."""
