"""Everything that the README tells a newcomer to type, typed in an empty folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.pages import blocks_of

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def _blocks(page: str, language: str) -> list[str]:
    return [block.content for block in blocks_of(ROOT / page) if block.language == language and not block.not_run]


def _run(command: list[str], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every shell command of the README was run, in order; the installation is this one."""
    folder = tmp_path_factory.mktemp("newcomer")
    for block in _blocks("README.md", "bash"):
        _run(["bash", "-euc", f'PATH="{BIN}:$PATH"\n{block}'], folder)
    return folder


def test_the_demo_shows_what_the_readme_says(folder: Path) -> None:
    assert (folder / "demo" / "report.html").stat().st_size > 100_000

    def metric(objective: str, task: str, name: str) -> dict[str, float]:
        return json.loads((folder / "demo" / "results" / objective / f"{task}.json").read_text())["metrics"][name]

    for task, name in (
        ("zero-shot", "auroc_macro"),
        ("retrieval", "image_to_report/evidence_ndcg@10"),
        ("grounding", "cnr_macro"),
    ):
        lgdea, clip = metric("lgdea", task, name), metric("clip", task, name)
        # Clearly ahead: each value lies outside the other's 95% interval.
        assert lgdea["low"] > clip["value"], (task, name)
        assert lgdea["value"] > clip["high"], (task, name)


def test_the_python_lines_run(folder: Path) -> None:
    first, second = _blocks("README.md", "python")
    shown = _run([sys.executable, "-c", first], folder)
    for finding in ("cardiomegaly", "pleural_effusion", "nodule", "pneumothorax", "pneumonia"):
        assert finding in shown
    assert "macro AUROC" in _run([sys.executable, "-c", second], folder)
    assert (folder / "effusion.png").read_bytes().startswith(b"\x89PNG")


def test_the_first_page_says_the_same(folder: Path) -> None:
    assert _blocks("docs/index.md", "bash") == _blocks("README.md", "bash")
    (folder / "effusion.png").unlink(missing_ok=True)
    _run([sys.executable, "-c", "".join(_blocks("docs/index.md", "python"))], folder)
    assert (folder / "effusion.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("command", sorted(set(re.findall(r"\| `(lgdea [a-z]+)`", README))))
def test_the_verbs_of_the_table_exist(command: str, tmp_path: Path) -> None:
    _run([str(BIN / "lgdea"), *command.split()[1:], "--help"], tmp_path)


def test_the_links_and_the_picture_exist() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
