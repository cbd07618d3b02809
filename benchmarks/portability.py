"""Which numerical operations depend on the maker of the CPU: `python benchmarks/portability.py --write RECORD.json`.

One digest per operation, under the settings of `hardware.instructions=avx2`. Records of real machines are in
records/portability/; `--compare A.json B.json` names the operations whose digests differ, and ends with 1 if there are
any. As another CPU, with the site-packages and src/ on the PYTHONPATH:
`qemu-x86_64 -cpu Haswell-v4 $(readlink -f .venv/bin/python) benchmarks/portability.py --emulated --write RECORD.json`.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repflow.hardware.cpu import pin

if TYPE_CHECKING:
    from numerics.digests import Results


def main(arguments: Sequence[str]) -> int:
    """Compare two records, or make one; 1 where two differ."""
    options = parser().parse_args(arguments)
    if options.compare:
        return compare(*options.compare)
    pin(options.instructions)  # before PyTorch is imported
    record = {"machine": machine(options), "operations": digests(options)}
    text = json.dumps(record, indent=1) + "\n"
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


def compare(one: Path, other: Path) -> int:
    """Print what differs between two records; 1 where anything does."""
    first, second = operations(one), operations(other)
    both = first.keys() & second.keys()
    names = sorted(name for name in both if first[name] != second[name])
    print(f"{len(both)} operations in both, {len(names)} differ: {', '.join(names) or 'none'}")
    return int(bool(names))


def operations(record: Path) -> dict[str, str]:
    """Name to digest, from a record, or from a file that holds nothing else."""
    found: Any = json.loads(record.read_text(encoding="utf-8"))
    digests: dict[str, str] = found.get("operations", found)
    return digests


def digests(options: argparse.Namespace) -> dict[str, str]:
    """Name to digest of every operation."""
    import scipy.linalg  # noqa: F401  # loads an OpenBLAS of its own
    import torch
    from threadpoolctl import ThreadpoolController

    from numerics.digests import digest
    from numerics.emulation import GATHERING, sort_without_gathers

    if options.emulated:
        sort_without_gathers()
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    found = {}
    with ThreadpoolController().select(internal_api="openblas").limit(limits=options.blas_threads):
        for name, results in _results(options.batch, GATHERING if options.emulated else ()):
            found[name] = digest(results)
            print(name, found[name], file=sys.stderr, flush=True)
    return found


def _results(batch: int, without: Sequence[str]) -> "Iterator[tuple[str, Results]]":
    from numerics import further, reference

    yield from reference.results(batch)
    for name, operation in further.operations(batch).items():
        if name not in without:
            yield name, operation()


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """What the digests may depend on."""
    from importlib.metadata import version

    from speed.machine import processor

    versions = {name: version(name) for name in ("torch", "numpy", "scipy", "scikit-learn")}
    names = ("instructions", "threads", "blas_threads", "batch")
    return {"processor": processor(), **{name: getattr(options, name) for name in names}, "versions": versions}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--threads", type=int, default=1, help="of PyTorch (default: 1)")
    made.add_argument("--batch", type=int, default=8, help="images at once (default: 8)")
    made.add_argument("--instructions", choices=("avx2", "native"), default="avx2")
    made.add_argument("--blas-threads", type=int, default=1, help="of OpenBLAS; the stages' is 1")
    made.add_argument("--emulated", action="store_true", help="go round the gathers that QEMU 7.2 gets wrong")
    made.add_argument("--write", type=Path, help="file for the record, instead of the terminal")
    made.add_argument("--compare", type=Path, nargs=2, metavar=("A", "B"), help="two records; measures nothing")
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
