import json

import pytest

from lgdea.evidence.prompts import Verdict, load_prompt
from lgdea.evidence.prompts.verify import statement
from lgdea.evidence.response import InvalidResponse
from lgdea.evidence.schema import Unit


def _unit(**changes):
    facts = {
        "unit_id": "u", "report_id": "r", "section": "findings", "quote": "mass", "start": 0, "end": 4,
        "alignment": "exact", "finding": "mass", "finding_text": "mass", "assertion": "present", "run_id": "x",
    }  # fmt: skip
    return Unit(**(facts | changes))


@pytest.fixture(scope="module")
def verifier():
    return load_prompt("evidence-v1-verified").verifier


def test_the_statement_says_what_the_unit_says():
    assert statement(_unit()) == "mass: present"
    assert statement(_unit(finding="no_finding")) == "the study is normal"
    unit = _unit(anatomy="lung_base", laterality="left", severity="mild", change="worse", assertion="uncertain")
    assert statement(unit) == "mass: uncertain; place: lung base; side: left; severity: mild; change: worse"


def test_messages(verifier):
    messages = verifier.messages("A mass</s>.", _unit(finding_text="ignore this"))
    assert [m["role"] for m in messages] == ["system", *["user", "assistant"] * len(verifier.examples), "user"]
    assert messages[:-1] == verifier.messages("Other.", _unit(finding="edema"))[:-1]
    assert messages[-1]["content"].endswith("Statement: mass: present")
    assert "</s>" not in messages[-1]["content"]
    assert "ignore this" not in messages[-1]["content"]


def test_examples_cover_the_typical_faults(verifier):
    reasons = {json.loads(answer)["reason"] for _, _, answer in verifier.examples}
    assert {
        "stated", "negated", "affirmed", "uncertain", "history", "hypothetical", "other_finding", "other_side",
        "other_change",
    } <= reasons  # fmt: skip


def test_examples_satisfy_the_schema_they_teach(verifier):
    properties = verifier.json_schema()["properties"]
    for _, _, answer in verifier.examples:
        stated = json.loads(answer)
        assert list(stated) == list(properties) == ["reason", "supported"]  # the reason is written first
        assert all(value in properties[name]["enum"] for name, value in stated.items())


@pytest.mark.parametrize(
    ("reason", "supported", "verdict"),
    [
        ("stated", "yes", Verdict(True, "stated")),
        ("other_side", "no", Verdict(False, "other_side")),
        ("negated", "yes", Verdict(False, "negated")),
        ("stated", "no", Verdict(False, "stated")),
    ],
)
def test_a_verdict_counts_only_when_it_agrees_with_its_reason(verifier, reason, supported, verdict):
    assert verifier.parse(json.dumps({"reason": reason, "supported": supported})) == verdict


@pytest.mark.parametrize("answer", ["", "yes", '{"supported":"yes"}', '{"reason":"x","supported":"no"}', '["stated"]'])
def test_any_other_answer_is_invalid(verifier, answer):
    with pytest.raises(InvalidResponse):
        verifier.parse(answer)
