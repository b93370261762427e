"""One extraction with the rules, timed from within: ``python -m benchmarks.extract_child ARCHIVE OUT``."""

from __future__ import annotations

import json
import sys
import time

from lgdea.errors import LgdeaError
from lgdea.evidence.backends import rules  # noqa: F401  # else its import is timed
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.runner import extract
from lgdea.records.archive import Archive


def main(archive: str, out: str) -> None:
    """Print the summary with ``seconds`` and ``cpu_seconds`` of everything after the imports."""
    began, cpu_began = time.perf_counter(), time.process_time()
    try:
        summary = extract(Archive.open(archive), get_backend("rules"), out)
    except LgdeaError as error:
        sys.exit(str(error))
    measured = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu_began}
    print(json.dumps({**summary, **measured}))


if __name__ == "__main__":
    main(*sys.argv[1:])
