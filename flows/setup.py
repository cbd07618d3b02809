"""Makes a Prefect server ready: the machine's slots, a work pool for each kind of machine, and the deployments.

    python flows/setup.py --cpu 8 --gpu 1     # on the server that PREFECT_API_URL names

Run it again after a change of prefect.yaml or of the choices in conf/.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from parameters import PROJECT
from slots import KINDS, create_limits

POOLS = {"cpu": "Machines that train on their processors.", "gpu": "Machines with a CUDA GPU."}

# A process pool lets whoever starts a run set its command, its variables and its folder. Here there is nothing to set:
# what runs is what stands in the worker's checkout.
TEMPLATE: dict[str, Any] = {
    "job_configuration": {"stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}


def set_up(limits: Mapping[str, int | None], alone: bool = False) -> None:
    """Make what the flows need on the server that PREFECT_API_URL names, or bring it up to date.

    Args:
        limits: as `create_limits` takes them.
        alone: whether nothing else can be at work on the server.

    Raises:
        RuntimeError: the deployments could not be made; says why.
    """
    create_limits(limits, alone)
    create_pools()
    deploy(PROJECT)


def create_pools() -> None:
    """Make the work pools, or give them this version's template."""
    with get_client(sync_client=True) as client:
        for name, about in POOLS.items():
            try:
                client.read_work_pool(name)
            except ObjectNotFound:
                pool = WorkPoolCreate(name=name, type="process", description=about, base_job_template=TEMPLATE)
                client.create_work_pool(pool)
            else:
                client.update_work_pool(name, WorkPoolUpdate(description=about, base_job_template=TEMPLATE))


def deploy(project: Path) -> None:
    """Put the deployments of prefect.yaml on the server."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"prefect deploy: {(done.stderr or done.stdout).strip()[-2000:]}")


def main() -> int:
    """Set up the server that is named in the environment."""
    parser = argparse.ArgumentParser(description="Make a Prefect server ready for the flows.")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, help=f"stages at once on {kind} machines, over all runs")
    given = parser.parse_args()
    if "PREFECT_API_URL" not in os.environ:
        print("error: set PREFECT_API_URL to the server's, as http://127.0.0.1:4200/api", file=sys.stderr)
        return 2
    set_up({kind: getattr(given, kind) for kind in KINDS})
    print(f"{os.environ['PREFECT_API_URL']}: limits, work pools and deployments are there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
