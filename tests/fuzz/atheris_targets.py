"""The targets of ``test_fuzz.py`` under coverage guidance: ``python tests/fuzz/atheris_targets.py TARGET [options]``.

Needs ``pip install atheris``, which no extra of lgdea brings. Options are libFuzzer's: ``-max_total_time=300`` ends it,
``-len_control=0 -max_len=2048`` begins with long inputs. What fails is printed.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["lgdea"]):
    from tests.fuzz import test_fuzz

from hypothesis import given


def target(name: str, folder: Path) -> Any:
    """What libFuzzer calls with bytes: Hypothesis reads an example out of them."""
    test = getattr(test_fuzz, name)
    inner, own = test.hypothesis.inner_test, test.hypothesis._given_kwargs
    place = {"place": folder} if "place" in inspect.signature(inner).parameters else {}

    @test_fuzz.fuzz
    @given(**own)
    def run(**example: Any) -> None:
        inner(**place, **example)

    return run.hypothesis.fuzz_one_input


if __name__ == "__main__":
    chosen = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    known = [name for name in dir(test_fuzz) if name.startswith("test_")]
    if chosen not in known:
        sys.exit(f"choose one of {', '.join(known)}")
    with tempfile.TemporaryDirectory() as place:
        atheris.Setup(sys.argv, target(chosen, Path(place)))
        atheris.Fuzz()
