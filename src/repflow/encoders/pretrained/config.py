"""Parameters of encoders of other libraries."""

from typing import Annotated, Literal

from pydantic import Field

from repflow.schema import Count, parameters

HUB = "hub"
"""The value of `weights` that stands for the library's own weights."""


@parameters
class _Weights:
    """A model of another library, without its classification head.

    Attributes:
        model: its name in the library.
        weights: "hub" for the library's default weights, downloaded unless they are in its cache; the path of a
            safetensors or PyTorch file, relative to the project's root; None for random weights.
        weights_sha256: the SHA-256 digest that the file of weights must have; None for any.
        license: of the weights in a file of one's own, for the model's description; None for what the library says.
        size: height and width in pixels to which images are resized; None for the size that the model was made for.
    """

    model: str
    weights: Annotated[str, Field(min_length=1)] | None = None
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    license: str | None = None
    size: Count | None = None


@parameters
class TimmConfig(_Weights):
    """An image model of timm (Wightman. PyTorch Image Models. 2019); its name may have a tag, as "resnet18.a1_in1k"."""

    name: Literal["timm"] = "timm"


@parameters
class TorchvisionConfig(_Weights):
    """A classification model of torchvision."""

    name: Literal["torchvision"] = "torchvision"


PretrainedConfig = TimmConfig | TorchvisionConfig
"""The parameters of any encoder of another library."""
