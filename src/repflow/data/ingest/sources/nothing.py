"""No images: the target of a project with only one domain."""

from typing import Literal

import numpy as np

from repflow.data.ingest.sources.contract import Collected, Request, listing
from repflow.schema import parameters


@parameters
class Nothing:
    """An empty domain. Stages that need a target domain then log that they have nothing to do."""

    kind: Literal["none"]

    def collect(self, request: Request) -> Collected:
        """No rows. See `Source`."""
        form = request.form
        return Collected(np.zeros((0, form.channels, form.size, form.size), np.uint8), listing([]))
