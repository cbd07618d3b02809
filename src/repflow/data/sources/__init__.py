"""Where images come from: one module per kind, each with the class that its parameters become."""

from typing import Annotated

from pydantic import Field

from repflow.data.sources.blended import Blended
from repflow.data.sources.digits import Digits
from repflow.data.sources.nothing import Nothing

SourceConfig = Annotated[Digits | Blended | Nothing, Field(discriminator="kind")]
"""Any kind of source, told apart by `kind`."""
