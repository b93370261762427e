"""The wheel, installed where only its dependencies are: the command line works and the shipped files are there."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _run(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(c) for c in command], check=False, cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the built wheel; torch and the other dependencies are reused from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", ROOT, cwd=folder)
    (wheel,) = (folder / "dist").glob("lgdea-*.whl")
    _run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    _run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=folder)
    site = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    # A path line makes the packages importable but does not read their .pth files: the checkout stays invisible.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_package_comes_from_the_wheel(python: Path, tmp_path: Path) -> None:
    where = _run(python, "-c", "import lgdea; print(lgdea.__file__)", cwd=tmp_path).strip()
    assert where.startswith(str(python.parents[1]))


def test_help_and_data_list(python: Path, tmp_path: Path) -> None:
    lgdea = python.parent / "lgdea"
    help_text = _run(lgdea, "--help", cwd=tmp_path)
    for verb in ("demo", "data", "extract", "pretrain", "eval", "report", "doctor"):
        assert verb in help_text
    names = _run(lgdea, "data", "list", cwd=tmp_path)
    for name in ("openi", "nih-cxr14", "covid-chestxray", "hannover-covid", "phantom"):
        assert name in names


def test_a_prompt_and_a_configuration_load(python: Path, tmp_path: Path) -> None:
    code = "from lgdea.evidence.prompts import load_prompt; p = load_prompt('evidence-v1'); print(len(p.system))"
    assert int(_run(python, "-c", code, cwd=tmp_path)) > 100
    assert "objective" in _run(python.parent / "lgdea", "config", "show", "--config", "demo-lgdea", cwd=tmp_path)


def test_the_demos_tower_is_in_the_wheel(python: Path, tmp_path: Path) -> None:
    code = "from lgdea.demo import starting_tower; print(starting_tower()[0])"
    assert "_shipped" in _run(python, "-c", code, cwd=tmp_path)


def test_import_and_help_cost_no_torch(python: Path, tmp_path: Path) -> None:
    code = "import sys, lgdea, lgdea.cli; print(sorted({'torch', 'pandas', 'numpy', 'lightning'} & set(sys.modules)))"
    assert _run(python, "-c", code, cwd=tmp_path).strip() == "[]"
