"""What a report or a path holds never steers the terminal, and report text is shown only when it was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from lgdea.records.adapters.openi import LABELLER
from lgdea.records.archive import write_archive
from lgdea.records.schema import Label, Report, Study
from tests.helpers.command_line import run_lgdea

TEXT = "FINDINGS: Small left effusion \x1b]0;owned\x07 [/x] here."


@pytest.fixture
def scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Score evidence that misses a labelled finding, in a report that would set the terminal's title."""
    folder = tmp_path / "archive"
    write_archive(
        folder,
        "openi",
        {
            "studies": [Study(study_id="openi:1", patient_id="openi:p", dataset="openi")],
            "reports": [Report(report_id="openi:1", study_id="openi:1", text=TEXT)],
            "labels": [Label(study_id="openi:1", finding="atelectasis", value=1.0, labeller=LABELLER)],
        },
        image_root=folder,
    )
    evidence = tmp_path / "evidence"
    assert run_lgdea(capsys, "extract", str(folder), "--out", str(evidence))[0] == 0
    return ["extract", "score", str(evidence), "--gold", "openi-14", "--archive", str(folder)]


def test_score_shows_sentences_only_when_asked_and_never_obeys_them(
    scored: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_lgdea(capsys, *scored)
    assert code == 0, err
    assert "effusion \N{REPLACEMENT CHARACTER}" not in out
    code, out, err = run_lgdea(capsys, *scored, "--worst", "5")
    assert code == 0, err
    assert "Small left effusion \N{REPLACEMENT CHARACTER}]0;owned\N{REPLACEMENT CHARACTER} [/x] here." in " ".join(
        out.split()
    )
    assert "\x1b" not in out


def test_an_escape_sequence_in_a_path_is_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run_lgdea(capsys, "data", "verify", "none\x1b]0;owned\x07")
    assert code == 2
    assert "\x1b" not in err
    assert "owned" in err
