#!/usr/bin/env bash
# Evidence from an archive by a language model on a Ray cluster, one vLLM engine per GPU.
#
#   pipelines/extract_ray_cluster.sh ARCHIVE OUT MODEL WORKERS
#
# Before, once on every node, in the same path and with the same versions (a node that differs is refused):
#   python -m venv vllm-env && vllm-env/bin/pip install 'lgdea[vllm,ray]'
#   vllm-env/bin/huggingface-cli download MODEL        # or a folder that every node has under the same path
# Then start Ray. On the first node, which also writes OUT and is the only one that reads ARCHIVE:
#   RAY_USAGE_STATS_ENABLED=0 vllm-env/bin/ray start --head --port=6379
# on every other node:
#   vllm-env/bin/ray start --address=FIRST_NODE:6379
# Reports travel through Ray's own connections between the nodes: keep them inside the hospital's network.
set -euo pipefail
archive=${1:?archive folder} out=${2:?evidence folder} model=${3:?model name or folder} workers=${4:?GPUs in all}
lgdea=${LGDEA:-vllm-env/bin/lgdea}

# A look first: 50 reports in a folder of their own show a wrong model, prompt or node in minutes.
"$lgdea" extract "$archive" --config vllm --config ray --model "$model" --workers "$workers" \
  --limit 50 --out "$out-look"

# The whole archive. Stopped or killed? The same command asks only for what has no answer yet, and it may do so
# with another number of workers, or without --config ray.
"$lgdea" extract "$archive" --config vllm --config ray --model "$model" --workers "$workers" --out "$out"

# A model too large for one GPU: two GPUs per worker and half the workers,
#   --set ray.num_gpus=2 --set options.tensor_parallel_size=2
