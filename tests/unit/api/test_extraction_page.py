"""The Python blocks of docs/extraction.md, run in order in an empty folder, print what the page says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

import lgdea

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "extraction.md").read_text(encoding="utf-8")


def test_the_python_blocks_do_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    printed, ran, compared = "", 0, 0
    for language, content in re.findall(r"```(python|text)\n(.*?)```", PAGE, flags=re.DOTALL):
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(content, "docs/extraction.md", "exec"), names)
            printed, ran = out.getvalue(), ran + 1
            continue
        lines = [line.rstrip() for line in printed.splitlines()]
        for line in content.strip("\n").splitlines():
            assert line.replace("rules 0.1.0", f"rules {lgdea.__version__}") in lines, printed
            compared += 1
    assert (ran, compared) == (4, 15)
    assert (tmp_path / "evidence" / "two-reports" / "_SUCCESS").is_file()
