"""Answers about single sentences, put together to the evidence of a report."""

from __future__ import annotations

import json

import pandas as pd

from lgdea.evidence.backends.base import Response
from lgdea.evidence.io import REJECTS, read_evidence
from lgdea.evidence.prompts import load_prompt
from lgdea.evidence.runner import extract

ANSWERS = {
    "Small right effusion.": [("pleural_effusion", "present")],
    "No pneumothorax.": [("pneumothorax", "absent")],
    "No acute disease.": [("no_finding", "present")],
    "Clear.": [],
}


class SentenceModel:
    name = "sentences"
    needs_prompt = True

    def respond(self, requests):
        for request in requests:
            units = [{"finding": f, "assertion": a} for f, a in ANSWERS[request.prompt[-1]["content"]]]
            yield Response(request.request_id, json.dumps({"units": units}))

    def describe(self):
        return {"backend": self.name}


def _read(tmp_path, *texts):
    frame = pd.DataFrame({"report_id": [f"r:{n}" for n in range(len(texts))], "text": list(texts)})
    extract(frame, SentenceModel(), tmp_path / "out", prompt=load_prompt("sentence-v1"), max_rejected=1.0)
    rejects = [json.loads(line) for line in (tmp_path / "out" / REJECTS).read_text().splitlines()]
    return read_evidence(tmp_path / "out"), rejects


def test_units_stand_where_their_sentence_stands(tmp_path):
    text = "INDICATION: No acute disease.\nFINDINGS: Clear. Small right effusion.\nIMPRESSION: Small right effusion."
    units, rejects = _read(tmp_path, text)
    assert list(units["start"]) == [text.index("Small"), text.rindex("Small")]
    assert list(units["section"]) == ["findings", "impression"]
    assert set(units["alignment"]) == {"exact"}
    assert set(units["finding_text"]) == {"effusion"}
    assert rejects == []


def test_a_normal_sentence_does_not_make_a_report_normal_that_states_something(tmp_path):
    units, rejects = _read(
        tmp_path, "Small right effusion. No acute disease.", "No pneumothorax. No acute disease.", "Clear."
    )
    assert list(zip(units["report_id"], units["finding"], strict=True)) == [
        ("r:0", "pleural_effusion"),
        ("r:1", "pneumothorax"),
        ("r:1", "no_finding"),
    ]
    (reject,) = rejects
    assert (reject["report_id"], reject["reason"]) == ("r:0", "contradicted_normal")
    assert reject["detail"] == "the report states pleural_effusion present"
    assert reject["unit"]["quote"] == "No acute disease."
