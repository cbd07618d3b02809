"""Every random draw as a function of (seed, stream, step).

Nothing random in repflow depends on what was drawn before: a generator is made anew from a seed, the name of the stream
that it serves and the number of the step. So a run that is killed and resumed draws what an undisturbed one draws, and
any step can be replayed alone.
"""

import hashlib

import numpy as np


def derive(seed: int, stream: str, step: int = 0) -> int:
    """A 63-bit seed for `stream` at `step`, as different as BLAKE2 can make it from any other's."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_generator(seed: int, stream: str, step: int = 0) -> np.random.Generator:
    """A NumPy generator for `stream` at `step`."""
    return np.random.Generator(np.random.PCG64(derive(seed, stream, step)))
