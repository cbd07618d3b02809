"""Fingerprints of code: which modules a program runs, and a digest of what each of them does.

Comments, docstrings, layout and type-checker imports do not count. Nothing is imported or executed, and nothing of
repflow is needed, so this package also works alone.
"""

from repflow.fingerprints.closure import closure
from repflow.fingerprints.code import code_digest, differences, fingerprint
from repflow.fingerprints.source import Files, Source

__all__ = ["Files", "Source", "closure", "code_digest", "differences", "fingerprint"]
