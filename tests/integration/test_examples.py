"""The notebooks of ``examples/`` run from top to bottom in an empty folder, and leave the pictures that they say."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_and_saves_its_pictures(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(file, as_version=4)
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = set(re.findall(r"pictures/[\w-]+\.png", "".join(cell.source for cell in book.cells)))
    assert pictures
    for picture in pictures:
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG"), picture
        assert (ROOT / "examples" / picture).exists(), f"{picture} is not kept beside the notebook"


def test_the_notebooks_are_kept_with_their_output() -> None:
    assert len(NOTEBOOKS) == 4
    for file in NOTEBOOKS:
        cells = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
        assert any(cell.outputs for cell in cells), file.name
        assert all(cell.execution_count for cell in cells), file.name
