#!/usr/bin/env bash
# The whole graph in a SLURM job, every training on all of its GPUs:
#
#   repflow compose hardware=gpu hardware.nodes=2 hardware.devices=4
#   sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 launch/slurm.sh
#
# The project's folder must be visible to all nodes. A job that is stopped goes on when it is submitted again.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
source .venv/bin/activate
# DVC runs on the first node; training stages start themselves by this command, one process a GPU.
REPFLOW_LAUNCH=srun exec dvc repro "$@"
