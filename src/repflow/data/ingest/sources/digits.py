"""The handwritten digits bundled with scikit-learn: 1,797 images by 13 people, 8x8 pixels with 17 levels of grey.

Alpaydin and Kaynak. Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998 (the test part).
The images are ordered by writer, so parts that do not overlap are mostly by different people.
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
    """A contiguous part of the digits, white on black, upscaled to the image size of the store.

    Attributes:
        start: start of the part, as a fraction of the data set.
        stop: end of the part, exclusive, as a fraction of the data set.
        margin: black border on every side, as a fraction of the image size. The original digits have none; MNIST has
            0.14.
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
                f"digits: there are no images between start {self.start} and stop {self.stop}; start must be below stop"
            )
        ink = np.rint(digits.images[first:last] * (255 / 16)).astype(np.uint8)
        rows = array_listing("digits", [str(digit) for digit in digits.target], 8, 8, "L")[first:last]
        rows = rows.assign(index=np.arange(last - first)).reset_index(drop=True)
        border = round(self.margin * request.form.size)
        enlarged = resize_batch(ink[:, None], request.form.size - 2 * border)
        return Collected(np.pad(enlarged, ((0, 0), (0, 0), (border, border), (border, border))), rows)
