"""Every definition has its place in the documentation, and no other is told there."""

import re
from pathlib import Path

from lgdea.evaluation.results.definitions import DEFINITIONS, meaning

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_every_definition_stands_in_the_pages_and_no_other():
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    told = set(re.findall(r"`([a-z-]+/[a-z0-9-]+-v\d+)`", text))
    assert told == set(DEFINITIONS)


def test_a_definition_is_a_sentence():
    for name in DEFINITIONS:
        assert meaning(name).endswith(".")
        assert re.fullmatch(r"[a-z-]+/[a-z0-9-]+-v\d+", name)
