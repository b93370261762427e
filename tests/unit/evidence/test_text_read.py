"""What was read of the reports' text, and which headings were met."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from lgdea.evidence.backends.rules import RulesBackend
from lgdea.evidence.layout import lay_out
from lgdea.evidence.postprocess import ReportResult
from lgdea.evidence.quality import Quality
from lgdea.evidence.report_reader import RawReport
from lgdea.evidence.runner import extract
from lgdea.evidence.text_read import count_text, forget_rare, passed_over

TEXTS = {
    "r:1": "INDICATION: cough\nFINDINGS: Nodule.\nMr. Smith: no",
    "r:2": "HISTROY: cough\nWidgets: fine\n<b>IMPRESSION:</b> Mass.",
    "r:3": "INDICATION: pain\nWidgets: fine\nIMPRESSION: None.",
}


def _extract(out: Path, texts: dict[str, str], **more: object) -> dict[str, object]:
    frame = pd.DataFrame({"report_id": list(texts), "text": list(texts.values())})
    extract(frame, RulesBackend(), out, **more)
    return json.loads((out / "quality.json").read_text(encoding="utf-8"))


def test_shares_and_headings_of_a_run(tmp_path):
    counts = _extract(tmp_path / "e", TEXTS)
    read = sum(map(len, ["Nodule.", "Mr.Smith:no", "Widgets:fine", "Mass.", "Widgets:fine", "None."]))
    asked = sum(map(len, ["cough", "cough", "pain"]))
    assert counts["share_read"] == round(read / (read + asked), 6)
    assert counts["share_passed_over"] == {"indication": round(asked / (read + asked), 6)}
    assert counts["headings"] == [
        {"name": "IMPRESSION", "kind": "impression", "read": True, "reports": 2},
        {"name": "INDICATION", "kind": "indication", "read": False, "reports": 2},
        {"name": "WIDGETS", "kind": None, "read": True, "reports": 2},
        {"name": "FINDINGS", "kind": "findings", "read": True, "reports": 1},
        {"name": "HISTROY", "kind": "indication", "read": False, "reports": 1},
    ]  # a name that nobody knows is told only where two reports have it


def test_a_rejected_report_is_not_read(tmp_path):
    texts = {
        "r:1": "Nodule.",
        "r:2": "Die Lunge ist frei und das Herz ist nicht vergrößert, kein Erguss auf der linken Seite.",
    }
    counts = _extract(tmp_path / "e", texts, max_rejected=1.0)
    assert counts["rejected"] == 1
    assert counts["share_read"] + counts["share_passed_over"]["rejected"] == 1


def test_a_model_that_is_shown_whole_reports_reads_all():
    result = ReportResult(RawReport("r:1", TEXTS["r:1"]), questions=1, by_layout=False)
    quality = Quality()
    quality.add(result)
    counts = quality.to_dict()
    assert (counts["share_read"], counts["share_passed_over"], counts["headings"]) == (1.0, {}, None)


def test_counts_hold_every_character():
    for text in TEXTS.values():
        counts = count_text(text, by_layout=True, is_rejected=False)
        assert counts.total() == len("".join(text.split()))
        passed = sum(len("".join(text[a:b].split())) for a, b, _ in passed_over(lay_out(text)))
        assert counts["read"] == counts.total() - passed


def test_names_are_forgotten_where_there_are_too_many(monkeypatch):
    quality = Quality()
    for number in range(4):
        quality.add(ReportResult(RawReport(str(number), f"Name{number}: a\nWidgets: b")))
    headings = quality._headings
    forget_rare(headings)
    assert len(headings) == 5
    monkeypatch.setattr("lgdea.evidence.text_read._MOST_NAMES", 4)
    forget_rare(headings)
    assert headings == {("WIDGETS", ""): 4}
