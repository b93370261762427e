"""The walk-through of docs/data.md, typed in an empty folder."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest

from lgdea.cli import main
from lgdea.records.adapters import base
from lgdea.records.archive import Archive
from tests.helpers import dataset_layouts as layouts

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_walk_through_does_what_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    entry = EntryPoint("table", "lgdea.records.adapters.table.adapter:ADAPTER", base.GROUP)
    monkeypatch.setattr(base, "entry_points", lambda group, name=None: EntryPoints([entry]))
    (tmp_path / "pa").mkdir()
    rng = np.random.default_rng(0)
    for name in ("X1", "X2", "X3"):
        layouts.picture(tmp_path / "pa" / f"{name}.png", rng, 40, 30)
    said, compared, names = "", 0, {}
    for language, content in re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL):
        if language == "csv":
            Path("export.csv").write_text(content, encoding="utf-8")
        elif language == "yaml":
            Path("columns.yaml").write_text(content, encoding="utf-8")
        elif language == "bash":
            said = ""
            for line in content.strip().splitlines():
                with pytest.raises(SystemExit):
                    main(shlex.split(line)[1:])
                said += "".join(capsys.readouterr())
        elif language == "python":
            exec(compile(content, "docs/data.md", "exec"), names)
            said = "".join(capsys.readouterr())
        else:
            for line in content.strip("\n").splitlines():
                assert line in said, said
                compared += 1
    assert compared == 18
    archive = Archive.open("archives/klinik")
    assert archive.studies["day"].tolist() == [0, 14, 0, 0]
    assert archive.reports["text"].tolist()[0] == "FINDINGS: Kleiner Erguss links.\nIMPRESSION: Erguss links."
    assert [(p["kind"], p["rows"]) for p in archive.info["left_out"]] == [("missing-image", [4])]


def test_the_links_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", PAGE):
        assert (Path(__file__).resolve().parents[3] / "docs" / target).exists(), target
