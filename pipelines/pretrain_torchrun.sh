#!/usr/bin/env bash
# Pretraining on all GPUs of one or more machines with torchrun.
#
#   pipelines/pretrain_torchrun.sh RUN --config vitb16-bert --set data.archive=ARCHIVE ...
#
# On several machines run it on each of them with the same arguments and
#   NODES=2 NODE=0 (1 on the second) FIRST=first-machine:29500
# RUN, the archive, the evidence and data.image_cache must be on a disk that all machines share. Only the first process writes
# the run; a stopped one is resumed by the same command, also with another number of GPUs.
set -euo pipefail
run=${1:?run folder}
shift
nodes=${NODES:-1} gpus=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}
exec torchrun --nnodes "$nodes" --node-rank "${NODE:-0}" --nproc-per-node "$gpus" \
  --rdzv-backend c10d --rdzv-id "$(basename "$run")" --rdzv-endpoint "${FIRST:-localhost:29500}" \
  -m lgdea pretrain "$@" --out "$run" \
  --set trainer.accelerator=gpu --set trainer.devices="$gpus" --set trainer.num_nodes="$nodes"
