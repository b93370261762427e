"""Where vLLM lives for tests, and how its engine starts small on a CPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("LGDEA_VLLM_PYTHON", ROOT / ".venv-vllm" / "bin" / "python"))
ENVIRONMENT = {
    **os.environ,
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in the same process: half the start, half the memory
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
}
needs_vllm = pytest.mark.skipif(not PYTHON.is_file(), reason=f"no vLLM here ({PYTHON}); make it with `make vllm-env`")
