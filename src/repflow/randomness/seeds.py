"""Random seeds as a function of (seed, stream, step).

No random number in repflow depends on what was drawn before: every generator is seeded with the run's seed, the name of
its random stream and the step. So a resumed run draws the same numbers as an uninterrupted one, and any step can be
replayed on its own.
"""

import hashlib

import numpy as np


def derive_seed(seed: int, stream: str, step: int = 0) -> int:
    """A 63-bit seed for `stream` at `step`: a BLAKE2 hash of the three arguments."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_generator(seed: int, stream: str, step: int = 0) -> np.random.Generator:
    """A NumPy generator for `stream` at `step`."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, stream, step)))
