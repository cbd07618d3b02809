"""The parameters of the report."""

from typing import Annotated, Literal

from pydantic import Field

from repflow.schema import Count, Fraction, NonNegativeCount, Positive, parameters


@parameters
class MapConfig:
    """The maps of the embedding.

    Attributes:
        method: "tsne" preserves neighbourhoods; "pca" is faster and preserves distances.
        points: number of test images on the large map, half of each domain if both have enough.
        thumbnails: number of thumbnails on the large map.
        perplexity: perplexity of t-SNE, the effective number of neighbours.
    """

    method: Literal["tsne", "pca"] = "tsne"
    points: Annotated[int, Field(ge=10, le=2000)] = 600
    thumbnails: NonNegativeCount = 60
    perplexity: Positive = 30.0


@parameters
class SamplesConfig:
    """The grids of images.

    Attributes:
        classes: maximum number of classes in the grid of samples, one column each.
        each: number of images per class.
        augmented: number of images that every augmentation policy is shown on.
        views: number of augmented views of each of these images.
    """

    classes: Count = 10
    each: Count = 4
    augmented: Count = 4
    views: Count = 7


@parameters
class PublishedConfig:
    """Published results to compare the run with.

    Attributes:
        source: the paper, in a few words.
        differences: how this run differs from the paper.
        accuracy: key in `adapt` to the published target test accuracy, 0 to 1.
    """

    source: str
    differences: str
    accuracy: dict[str, Fraction]


@parameters
class ReportConfig:
    """The section `report`.

    Attributes:
        title: title of the report.
        map: settings of the embedding maps.
        samples: settings of the image grids.
        published: published results to compare the run with, None for none.
    """

    title: str = "What this run learned"
    map: MapConfig = Field(default_factory=MapConfig)
    samples: SamplesConfig = Field(default_factory=SamplesConfig)
    published: PublishedConfig | None = None
