"""``python -m tests.faults --out FOLDER``: run every kind of fault, print the table; repeat the command to go on."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.faults.suite import KINDS, run_suite


def main() -> int:
    """Run it; 1 when anything was silent, lost, doubled, stuck, a traceback, hung or dead."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("faults"), help="folder for trials.jsonl and faults.md")
    parser.add_argument("--only", nargs="*", choices=KINDS, help="these kinds alone")
    parser.add_argument("--share", type=float, default=1.0, help="share of the trials of each kind")
    options = parser.parse_args()
    return run_suite(options.out.resolve(), options.only or KINDS, options.share)


if __name__ == "__main__":
    sys.exit(main())
