from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lgdea.errors import DataError, UsageError
from lgdea.locks import locked


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = "import sys, time; from lgdea.locks import locked\n"
    code += "with locked(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    first = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="another process is writing into this folder"), locked(folder):
            pass
    finally:
        first.kill()
        first.communicate()
    with locked(folder):
        pass
    assert list(tmp_path.iterdir()) == []  # and nothing is left


def test_what_was_removed_meanwhile_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "run", Path("run")):
        with pytest.raises(DataError, match=r"run/a.csv: was removed while the folder was written"), locked(folder):
            (folder / "a.csv").read_text()
    with pytest.raises(FileNotFoundError), locked(tmp_path / "run"):
        (tmp_path / "other").read_text()
