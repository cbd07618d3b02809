"""Sources of images: one module per kind, each with the dataclass of its parameters."""

from typing import Annotated

from pydantic import Field

from repflow.data.ingest.sources.archive import Archive
from repflow.data.ingest.sources.blended import Blended
from repflow.data.ingest.sources.cifar import Cifar
from repflow.data.ingest.sources.digits import Digits
from repflow.data.ingest.sources.domains import Domains
from repflow.data.ingest.sources.folder import Folder
from repflow.data.ingest.sources.huggingface import HuggingFace
from repflow.data.ingest.sources.idx import Idx
from repflow.data.ingest.sources.nothing import Nothing
from repflow.data.ingest.sources.parquet import Parquet
from repflow.data.ingest.sources.table import Table
from repflow.data.ingest.sources.torchvision import Torchvision
from repflow.data.ingest.sources.webdataset import WebDataset

SourceConfig = Annotated[
    Digits
    | Blended
    | Folder
    | Archive
    | Table
    | HuggingFace
    | Parquet
    | WebDataset
    | Idx
    | Cifar
    | Torchvision
    | Domains
    | Nothing,
    Field(discriminator="kind"),
]
"""Any kind of source, distinguished by `kind`."""
