"""What the rules read in the invented sentences of the files of cases beside this one."""

from pathlib import Path

import pytest
import yaml

from lgdea.evidence.rules.reader import read_report

ASSERTIONS = {"+": "present", "-": "absent", "?": "uncertain"}
SIDES = {"left", "right", "bilateral", "midline"}
SEVERITIES = {"minimal", "mild", "moderate", "severe"}
CHANGES = {"new", "worse", "stable", "better", "resolved"}
FILES = [Path(__file__).with_name(f"{name}_cases.yaml") for name in ("rules", "scope", "words", "entry")]
CASES = [
    (text, units)
    for file in FILES
    for cases in yaml.safe_load(file.read_text(encoding="utf-8")).values()
    for text, units in cases
]


def _expected(unit):
    words = unit.split()
    rest = set(words[1:])
    picked = []
    for values in (SIDES, SEVERITIES, CHANGES):
        found = rest & values
        rest -= found
        picked.append(found.pop() if found else "unspecified")
    place = next((word[1:] for word in rest if word.startswith("@")), None)
    return words[0][1:], ASSERTIONS[words[0][0]], *picked, place


@pytest.mark.parametrize(("text", "units"), CASES, ids=[text[:40] for text, _ in CASES])
def test_units(text, units):
    wanted = sorted(map(_expected, filter(None, (u.strip() for u in units.split(";")))), key=str)
    items = [i for i in read_report(text) if i.finding != "no_finding" or "no_finding" in units]
    found = [(i.finding, i.assertion, i.laterality, i.severity, i.change, i.anatomy) for i in items]
    where = {w[:-1] for w in wanted if w[-1] is None}
    found = [(*f[:-1], None) if f[:-1] in where else f for f in found]
    assert sorted(found, key=str) == wanted


@pytest.mark.parametrize("text", [text for text, _ in CASES])
def test_quotes_are_in_the_text_and_hold_the_finding(text):
    for item in read_report(text):
        assert 0 <= item.start < item.end <= len(text)
        if item.finding != "no_finding":
            assert item.finding_text in text[item.start : item.end]


@pytest.mark.parametrize(
    "text", ["Lungs are not clear.", "Far from a normal chest.", "No effusion.", "An abnormal study."]
)
def test_no_report_is_normal_because_a_word_of_it_is(text):
    assert "no_finding" not in {item.finding for item in read_report(text)}
