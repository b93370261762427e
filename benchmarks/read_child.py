"""The rules over texts in memory, timed from within: ``python -m benchmarks.read_child REPORTS``, JSON lines."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.peers.medspacy_peer import WARM_UP
from lgdea.evidence.rules.reader import read_report


def main(file: str) -> None:
    """Print ``seconds`` and ``cpu_seconds`` of reading, layout and sections included, after some reports of warm-up."""
    texts = [json.loads(line)["text"] for line in Path(file).read_text(encoding="utf-8").splitlines()]
    for text in texts[:WARM_UP]:
        read_report(text)
    began, cpu_began = time.perf_counter(), time.process_time()
    for text in texts:
        read_report(text)
    print(json.dumps({"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu_began}))


if __name__ == "__main__":
    main(*sys.argv[1:])
