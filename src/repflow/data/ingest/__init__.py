"""Ingesting data: sources, decoding, resizing and image statistics, up to writing the store."""
