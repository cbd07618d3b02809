"""The operations that a policy can use, with their random parameters. The transforms are in the parent package."""

from repflow.augment.operations.augmix import AugMix
from repflow.augment.operations.colours import (
    Autocontrast,
    Brightness,
    ColourJitter,
    Contrast,
    Equalise,
    Greyscale,
    Hue,
    Invert,
    Posterise,
    Saturation,
    Solarise,
)
from repflow.augment.operations.geometric import (
    Affine,
    ChannelShift,
    HorizontalFlip,
    PadAndCrop,
    Perspective,
    RandomResizedCrop,
    Rotation,
    VerticalFlip,
)
from repflow.augment.operations.randaugment import RandAugment
from repflow.augment.operations.textures import (
    Cutout,
    Downsample,
    GaussianBlur,
    GaussianNoise,
    RandomErasing,
    Sharpness,
)
from repflow.augment.operations.trivialaugment import TrivialAugment

__all__ = [
    "Affine",
    "AugMix",
    "Autocontrast",
    "Brightness",
    "ChannelShift",
    "ColourJitter",
    "Contrast",
    "Cutout",
    "Downsample",
    "Equalise",
    "GaussianBlur",
    "GaussianNoise",
    "Greyscale",
    "HorizontalFlip",
    "Hue",
    "Invert",
    "PadAndCrop",
    "Perspective",
    "Posterise",
    "RandAugment",
    "RandomErasing",
    "RandomResizedCrop",
    "Rotation",
    "Saturation",
    "Sharpness",
    "Solarise",
    "TrivialAugment",
    "VerticalFlip",
]
