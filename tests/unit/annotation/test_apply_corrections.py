"""Corrections put into evidence: reviewed reports as the reviewers left them, all else as it was."""

import csv
import json
import shutil

import pandas as pd
import pytest

import lgdea
from lgdea.annotation.corrections import import_corrections
from lgdea.annotation.export_review import write_review
from lgdea.errors import DataError, UsageError
from lgdea.evidence.coverage import require_all_reports
from lgdea.evidence.io import read_evidence
from lgdea.records.archive import Archive
from tests.helpers.command_line import run_lgdea

TEXTS = {
    "a": "Small left pleural effusion. No pneumothorax.",
    "b": "There is a nodule in the right upper lobe. Mild cardiomegaly.",
    "c": "Possible pneumonia. No pleural effusion.",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An archive, evidence of it by rules, and corrections of two of its reports."""
    folder = tmp_path_factory.mktemp("world")
    reports = pd.DataFrame({"study_id": list(TEXTS), "text": list(TEXTS.values())})
    archive = lgdea.build_archive("r", reports=reports, out=folder / "archive")
    lgdea.extract(archive, out=folder / "rules")
    write_review(folder / "rules", archive, folder / "review.csv", count=3)
    with (folder / "review.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        mine = (row["report_id"], row["row"], row["finding"])
        if row["row"] == "report" and row["report_id"] != "r:c":
            row["verdict"] = "others_correct"
        if mine == ("r:a", "unit", "pneumothorax"):
            row["verdict"] = "wrong"
        if mine == ("r:b", "unit", "nodule"):
            row.update(verdict="fixed", correct_assertion="uncertain")
        if mine[:2] == ("r:a", "missed"):
            row.update(correct_quote="Small left", correct_finding="atelectasis", correct_assertion="present")
    with (folder / "done.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=rows[0])
        writer.writeheader()
        writer.writerows(rows)
    import_corrections([folder / "done.csv"], archive, folder / "corrections")
    return folder


def _said(folder):
    return {(u.report_id, u.finding, u.assertion): u.run_id for u in read_evidence(folder).itertuples()}


def test_reviewed_reports_are_as_the_reviewer_left_them(world, tmp_path, capsys):
    out = tmp_path / "corrected"
    code, said, err = run_lgdea(
        capsys, "extract", "apply", world / "rules", world / "corrections", "--out", out, "--json"
    )
    assert (code, err) == (0, "")
    before, after = _said(world / "rules"), _said(out)
    document = json.loads(said)
    assert document["result"] == {"reports": 2, "kept": 2, "changed": 1, "added": 1, "removed": 1}
    assert document["written"] == [str(out)]
    wrong, new = {("r:a", "pneumothorax", "absent"), ("r:b", "nodule", "present")}, {
        ("r:a", "atelectasis", "present"),
        ("r:b", "nodule", "uncertain"),
    }  # fmt: skip
    assert set(after) == (set(before) - wrong) | new
    assert {after[key] for key in new} == {"corrections"}
    assert {key: run for key, run in after.items() if key not in new} == {
        k: before[k] for k in before if k not in wrong
    }
    assert [u.report_id for u in read_evidence(out).itertuples()] == sorted(u[0] for u in after)


def test_what_is_made_is_sealed_evidence_of_the_whole_archive(world, tmp_path, capsys):
    out, archive = tmp_path / "corrected", Archive.open(world / "archive")
    run_lgdea(capsys, "extract", "apply", world / "rules", world / "corrections", "--out", out)
    require_all_reports(out, archive)
    assert lgdea.verify_folder(out).problems == []
    record = json.loads((out / "run.json").read_text())
    assert set(record["input_hashes"]) == {"evidence", "corrections", "reports"}
    assert record["summary"]["corrections"]["reports"] == 2
    assert lgdea.load_evidence(out).score(str(world / "corrections"), archive).micro.f1 == 1.0
    assert lgdea.load_evidence(world / "rules").score(str(world / "corrections"), archive).micro.f1 < 1.0
    page = tmp_path / "page.html"
    assert run_lgdea(capsys, "extract", "page", out, "--archive", world / "archive", "--out", page)[0] == 0
    # Once more the same is the same; other corrections into the same folder are refused.
    assert run_lgdea(capsys, "extract", "apply", world / "rules", world / "corrections", "--out", out)[0] == 0
    assert run_lgdea(capsys, "extract", "apply", out, world / "corrections", "--out", out)[0] == 2
    again = tmp_path / "again"
    assert run_lgdea(capsys, "extract", "apply", out, world / "corrections", "--out", again)[0] == 0
    assert _said(again) == _said(out)


def test_folders_that_do_not_belong_together_are_refused(world, tmp_path, capsys):
    run = ("extract", "apply", world / "rules")
    code, _, err = run_lgdea(capsys, *run, world / "done.csv", "--out", tmp_path / "x")
    assert code == 2
    assert "lgdea extract corrections" in err
    reports = pd.DataFrame({"study_id": ["a"], "text": ["No pneumothorax."]})
    other = lgdea.build_archive("r", reports=reports, out=tmp_path / "other")
    with pytest.raises(UsageError, match="other reports than this archive"):
        from lgdea.annotation.apply_corrections import apply_corrections

        apply_corrections(world / "rules", world / "corrections", tmp_path / "x", other.folder)
    assert not (tmp_path / "x").exists()


def test_an_archive_that_has_moved_is_named(world, tmp_path, capsys):
    shutil.copytree(world, tmp_path / "moved")
    record = json.loads((world / "rules" / "run.json").read_text())
    here = tmp_path / "moved"
    shutil.move(world / "archive", world / "elsewhere")
    try:
        run = ("extract", "apply", here / "rules", here / "corrections")
        code, _, err = run_lgdea(capsys, *run, "--out", here / "out")
        assert code == 2
        assert "--archive" in err
        told = ("--archive", here / "archive", "--out", here / "out")
        assert run_lgdea(capsys, *run, *told)[0] == 0
    finally:
        shutil.move(world / "elsewhere", world / "archive")
    assert record["inputs"]["reports"].startswith(str(world))


def test_changed_corrections_are_refused(world, tmp_path):
    from lgdea.annotation.apply_corrections import apply_corrections

    shutil.copytree(world / "corrections", tmp_path / "corrections")
    file = tmp_path / "corrections" / "evidence.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="is not as it was written"):
        apply_corrections(world / "rules", tmp_path / "corrections", tmp_path / "out")
