"""The encoders that others are built around: those that see the lightness of an image, or its tiles."""

from repflow.encoders.convolutional import LeNetConfig, SmallConfig
from repflow.encoders.pretrained.config import TimmConfig, TorchvisionConfig
from repflow.encoders.residual import ResNetConfig
from repflow.encoders.small_residual import SmallResNetConfig
from repflow.encoders.transformer import ViTConfig

InnerEncoder = SmallConfig | SmallResNetConfig | LeNetConfig | ResNetConfig | ViTConfig | TimmConfig | TorchvisionConfig
"""Those of the group `encoder` in conf/."""
