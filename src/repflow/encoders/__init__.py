"""Encoders: images to features. One module per architecture; `build_encoder` builds one from its configuration."""

from repflow.encoders.build import EncoderConfig, build_encoder
from repflow.encoders.classifier import Classifier, HeadConfig
from repflow.encoders.encoder import Encoder

__all__ = ["Classifier", "Encoder", "EncoderConfig", "HeadConfig", "build_encoder"]
