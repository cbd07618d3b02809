"""Handwritten digits that scikit-learn carries: 1,797 real ones by 13 people, 8x8 pixels with 17 levels of grey.

Alpaydin and Kaynak. Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998 (the test part).
The set keeps the order in which people wrote, so parts that do not overlap are mostly the hands of different people.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from repflow.data.ingest.resizing import resize_batch
from repflow.data.ingest.sources.contract import Collected, Request, array_listing
from repflow.errors import ParameterError
from repflow.schema import Fraction, parameters


@parameters
class Digits:
    """A contiguous part of the digits, bright ink on black, smoothly enlarged to the size of the store.

    Attributes:
        start: where the part starts, as a fraction of the set.
        stop: where it ends; the digit at `stop` belongs to the next part.
        margin: black border on every side, as a fraction of the store's size. The digits themselves have none; MNIST's
            have 0.14.
    """

    kind: Literal["digits"]
    start: Fraction = 0.0
    stop: Fraction = 1.0
    margin: Annotated[float, Field(ge=0, le=0.4)] = 0.125

    def collect(self, request: Request) -> Collected:
        """The digits of the part as uint8 [N, 1, size, size]. See `Source`."""
        from sklearn.datasets import load_digits  # takes a second to import

        digits = load_digits()
        first, last = (round(fraction * len(digits.images)) for fraction in (self.start, self.stop))
        if first >= last:
            raise ParameterError(
                f"digits: start {self.start} and stop {self.stop} hold no image; start must be below stop"
            )
        ink = np.rint(digits.images[first:last] * (255 / 16)).astype(np.uint8)
        rows = array_listing("digits", [str(digit) for digit in digits.target], 8, 8, "L")[first:last]
        rows = rows.assign(index=np.arange(last - first)).reset_index(drop=True)
        border = round(self.margin * request.form.size)
        enlarged = resize_batch(ink[:, None], request.form.size - 2 * border)
        return Collected(np.pad(enlarged, ((0, 0), (0, 0), (border, border), (border, border))), rows)
