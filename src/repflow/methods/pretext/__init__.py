"""Pretext tasks: self-supervised pretraining of an encoder. One module per method."""
