#!/bin/bash
# A run on several nodes of a SLURM cluster, one torchrun a node:
#
#     sbatch --nodes 2 --gpus-per-node 6 examples/cluster/slurm.sh \
#         --preset qwen3-8b --data /shared/corpus.jsonl --out /shared/runs/mine
#
# The run's folder has to be on a file system that all nodes share. The environment (module, venv)
# is that of the shell that called sbatch. Two minutes before its time is up, and when it is
# preempted, the run finishes its step and saves; the same command goes on from there.
#SBATCH --job-name=dftfast
#SBATCH --ntasks-per-node=1
#SBATCH --signal=TERM@120
#SBATCH --output=dftfast-%j.log
set -euo pipefail

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR=$head MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))

# SLURM_NODEID is known on each node alone, so a shell there reads it
# shellcheck disable=SC2016
exec srun --kill-on-bad-exit=1 bash -c 'exec python -m torch.distributed.run \
    --nnodes "$SLURM_NNODES" --node-rank "$SLURM_NODEID" \
    --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
    --master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT" \
    -m dftfast.train "$@"' dftfast "$@"
