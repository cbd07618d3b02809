"""The parameters of the report."""

from typing import Annotated, Literal

from pydantic import Field

from repflow.schema import Count, Fraction, NonNegativeCount, Positive, parameters


@parameters
class MapConfig:
    """The maps of the embedding.

    Attributes:
        method: "tsne" keeps neighbours together; "pca" is quicker and keeps distances.
        points: test images on the large map, half of each domain where both have so many.
        thumbnails: images that are shown on it.
        perplexity: of t-SNE, about how many neighbours a point minds.
    """

    method: Literal["tsne", "pca"] = "tsne"
    points: Annotated[int, Field(ge=10, le=2000)] = 600
    thumbnails: NonNegativeCount = 60
    perplexity: Positive = 30.0


@parameters
class SamplesConfig:
    """The grids of images.

    Attributes:
        classes: columns of the samples, one class each, at most.
        each: images of a class.
        augmented: images on which every policy is shown.
        views: of each of them.
    """

    classes: Count = 10
    each: Count = 4
    augmented: Count = 4
    views: Count = 7


@parameters
class PublishedConfig:
    """Figures of a paper to stand beside the run's own.

    Attributes:
        source: the paper, in a few words.
        differences: how this run differs from it.
        accuracy: key in `adapt` to the accuracy on the target's test images.
    """

    source: str
    differences: str
    accuracy: dict[str, Fraction]


@parameters
class ReportConfig:
    """The section `report`.

    Attributes:
        title: of the pages.
        map: of the embedding.
        samples: of images.
        published: figures to hold the run against, None for none.
    """

    title: str = "What this run learned"
    map: MapConfig = Field(default_factory=MapConfig)
    samples: SamplesConfig = Field(default_factory=SamplesConfig)
    published: PublishedConfig | None = None
