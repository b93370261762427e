"""What will be written is checked before the work."""

from __future__ import annotations

import pytest

from lgdea import outputs, runs
from lgdea.cli.outputs import claim
from lgdea.errors import UsageError
from lgdea.locks import locked
from lgdea.reporting.page_file import claim_page

MADE = ("set.jsonl", "report.json")


def _claim(folder, overwrite=False):
    outputs.claim_folder(folder, MADE, what="set", overwrite=overwrite)


@pytest.mark.parametrize("below", ["x.png", "deeper/x.png"])
def test_a_place_in_a_file_is_refused_by_all(tmp_path, below):
    file = tmp_path / "file"
    file.touch()
    for check in (outputs.require_place, outputs.require_folder, _claim, lambda out: claim(out, True)):
        with pytest.raises(UsageError, match="/file: the output lies in a file, not in a folder; choose another --out"):
            check(file / below)
    with pytest.raises(UsageError, match="the output lies in a file"):
        claim_page(file / below, [], False)
    with pytest.raises(UsageError, match="the output lies in a file"):
        runs.start(file / below, stage="s", config={}, inputs={})
    with pytest.raises(UsageError, match="the output lies in a file"), locked(file / below):
        pass


def test_a_place_where_nothing_can_be_written_is_refused():
    with pytest.raises(UsageError, match=r"/proc: nothing can be written here \(.+\); choose another --out"):
        outputs.require_place("/proc/deeper/x.png")


def test_what_can_be_written_is_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("x.png", "new/x.png", tmp_path, tmp_path / "a" / "b"):
        outputs.require_place(place)
    assert claim(tmp_path / "x.png", False) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_free_or_is_said_to_be_replaced(tmp_path):
    folder = tmp_path / "out"
    _claim(folder)
    folder.mkdir()
    (folder / ".set.jsonl.7.tmp").touch()  # of a killed process
    _claim(folder)
    (folder / "set.jsonl").touch()
    with pytest.raises(UsageError, match="holds a set already; choose another --out, or add --overwrite"):
        _claim(folder)
    _claim(folder, overwrite=True)
    (folder / "notes.txt").touch()
    _claim(folder, overwrite=True)
    (folder / "set.jsonl").unlink()
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="is not empty and holds no set; choose another --out"):
            _claim(folder, overwrite)
    with pytest.raises(UsageError, match=r"notes\.txt: the output is a file, not a folder"):
        _claim(folder / "notes.txt")
