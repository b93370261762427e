from __future__ import annotations

import json
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from lgdea.records.adapters import base
from lgdea.records.archive import Archive
from tests.helpers.command_line import run_lgdea
from tests.helpers.table_source import BOXES, ROWS, export


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """The adapters as pyproject.toml declares them, whatever is installed."""

    def found(group: str, name: str | None = None) -> EntryPoints:
        points = EntryPoints(
            EntryPoint(n, v, group)
            for n, v in [
                ("table", "lgdea.records.adapters.table.adapter:ADAPTER"),
                ("openi", "lgdea.records.adapters.openi:ADAPTER"),
            ]
        )
        return points if name is None else points.select(name=name)

    monkeypatch.setattr(base, "entry_points", found)


def _run(capsys, *arguments):
    return run_lgdea(capsys, "data", "build", *arguments)


def test_a_dry_run_explains_and_writes_nothing(tmp_path, capsys):
    file = export(tmp_path / "ours")
    (file.parent / "boxes.csv").write_text(BOXES)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = _run(capsys, "table", file, "--dry-run")
    assert (code, err) == (0, "")
    for words in ("5 rows, dataset 'studies'", "Accession: 5 filled, 4 distinct", "4 named, 4 found",
                  "Problems\n  none", "2 rows in pixels",
                  "4 studies, 4 images, 3 reports, 2 boxes, 7 labels"):  # fmt: skip
        assert words in out
    code, out, _ = _run(capsys, "table", file, "--dry-run", "--json")
    assert json.loads(out)["result"]["archive"]["split"] == {"train": 2, "test": 1, "val": 1}
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_of_a_table_with_problems_leaves_with_1(tmp_path, capsys):
    file = export(tmp_path / "ours", (*ROWS, "P4;A5;07.03.2021;F;30;AP;img/gone.png;Clear.;;0;0;train"))
    code, out, err = _run(capsys, "table", file, "--dry-run")
    assert code == 1
    assert "missing-image: 1 x" in out
    assert "on_problem=leave_out" in err
    assert err.count("\n") == 1
    code, out, _ = _run(capsys, "table", file, "--dry-run", "--json", "--option", "on_problem=leave_out")
    assert code == 0
    assert json.loads(out)["result"]["would_build"]


def test_build_with_options(tmp_path, capsys):
    file = export(tmp_path / "ours")
    (tmp_path / "columns.yaml").write_text("dataset: ours\nsections: {BEFUND: Findings}\n")
    arguments = ["--out", tmp_path / "out", "--option", f"mapping={tmp_path / 'columns.yaml'}",
                 "--option", "constants.modality=DX", "--option", "study=[Patient ID, Accession]",
                 "--json"]  # fmt: skip
    code, out, _ = _run(capsys, "table", file, *arguments)
    assert code == 0
    assert json.loads(out)["result"]["studies"] == 4
    archive = Archive.open(tmp_path / "out")
    assert archive.studies["study_id"].tolist()[0] == "ours:P1-A1"
    assert archive.reports["text"].tolist()[0] == "BEFUND: Small left effusion."
    assert set(archive.images["modality"]) == {"DX"}


def test_requests_that_make_no_sense(tmp_path, capsys):
    file = export(tmp_path / "ours")
    for arguments, words in [
        (["table", file], "Missing option '--out'"),
        (["openi", tmp_path, "--dry-run"], "the dataset openi has no dry run"),
        (["table", file, "--dry-run", "--option", "study"], "write it as key=value"),
        (["table", tmp_path / "none.csv", "--dry-run"], "no such file or folder"),
    ]:
        code, _, err = _run(capsys, *arguments)
        assert code == 2
        assert words in err
        assert err.count("\n") == 1
