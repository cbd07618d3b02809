"""Ingesting data: sources, decoding, resizing and image facts, up to the store."""
