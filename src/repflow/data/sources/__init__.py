"""Where images come from: one module per kind, each with the class that its parameters become."""

from typing import Annotated

from pydantic import Field

from repflow.data.sources.archive import Archive
from repflow.data.sources.blended import Blended
from repflow.data.sources.digits import Digits
from repflow.data.sources.folder import Folder
from repflow.data.sources.idx import Idx
from repflow.data.sources.nothing import Nothing
from repflow.data.sources.table import Table
from repflow.data.sources.torchvision import Torchvision

SourceConfig = Annotated[
    Digits | Blended | Folder | Archive | Table | Idx | Torchvision | Nothing, Field(discriminator="kind")
]
"""Any kind of source, told apart by `kind`."""
