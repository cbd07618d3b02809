"""No images: the target of a project that has one domain alone."""

from typing import Literal

import numpy as np

from repflow.data.ingest.sources.contract import Collected, Request, listing
from repflow.schema import parameters


@parameters
class Nothing:
    """An empty domain. Everything that needs a second domain then says that it has nothing to do."""

    kind: Literal["none"]

    def collect(self, request: Request) -> Collected:
        """No rows. See `Source`."""
        form = request.form
        return Collected(np.zeros((0, form.channels, form.size, form.size), np.uint8), listing([]))
