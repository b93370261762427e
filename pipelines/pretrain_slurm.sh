#!/usr/bin/env bash
# Pretraining on a SLURM cluster: two machines of four GPUs each.
#
#   sbatch --nodes=2 pipelines/pretrain_slurm.sh RUN --config vitb16-bert --set data.archive=ARCHIVE ...
#
# One task per GPU: lgdea learns from SLURM which process it is. RUN, the archive, the evidence and data.image_cache must be
# on a disk that all machines share. A job that ran out of time is resumed by submitting it again.
#SBATCH --job-name=lgdea
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail
run=${1:?run folder}
shift
srun lgdea pretrain "$@" --out "$run" \
  --set trainer.accelerator=gpu --set trainer.devices="$SLURM_NTASKS_PER_NODE" --set trainer.num_nodes="$SLURM_JOB_NUM_NODES"
