"""Pretext tasks: an encoder learned without labels, by a task that images set by themselves. One method, one module."""
