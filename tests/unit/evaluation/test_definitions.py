"""Every definition has its place in the documentation, and no other is told there."""

import re
from pathlib import Path

from lgdea.evaluation.results.definitions import DEFINITIONS, meaning

PAGE = Path(__file__).resolve().parents[3] / "docs" / "evaluation.md"


def test_every_definition_stands_in_the_page_and_no_other():
    told = set(re.findall(r"`([a-z-]+/[a-z0-9-]+-v\d+)`", PAGE.read_text(encoding="utf-8")))
    assert told == set(DEFINITIONS)


def test_a_definition_is_a_sentence():
    for name in DEFINITIONS:
        assert meaning(name).endswith(".")
        assert re.fullmatch(r"[a-z-]+/[a-z0-9-]+-v\d+", name)
