"""The plug-in of ``examples/dataset_plugin``, installed into an environment of its own and used; and broken ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "dataset_plugin"


def _lgdea(site: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "lgdea", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of packages that only the commands of these tests see."""
    site = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(EXAMPLE, source)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("the build backend hatchling cannot be fetched here")
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    folder = tmp_path / "hospital"
    folder.mkdir()
    rows = ["study_id,patient_id,image,report,effusion"]
    for i in range(4):
        Image.new("L", (32, 32), 40 * i).save(folder / f"{i}.png")
        rows.append(f"S{i},P{i},{i}.png,Small left pleural effusion.,{i % 2}")
    (folder / "studies.csv").write_text("\n".join(rows))
    return folder


def _declare(site: Path, name: str, entry: str, code: str) -> None:
    """Put a package with an entry point into ``site``."""
    (site / f"{name}.py").write_text(code)
    info = site / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[lgdea.datasets]\n{name} = {entry}\n")


def test_the_example_has_its_card_and_builds_an_archive(site: Path, hospital: Path, tmp_path: Path) -> None:
    listed = json.loads(_lgdea(site, "data", "list", "--json").stdout)["result"]
    assert listed["my-dataset"]["title"] == "My dataset, an example of a plug-in"
    assert "studies.csv" in _lgdea(site, "data", "card", "my-dataset").stdout
    out = tmp_path / "archive"
    done = _lgdea(site, "data", "build", "my-dataset", hospital, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)["result"]
    assert (counts["studies"], counts["images"], counts["reports"], counts["labels"]) == (4, 4, 4, 4)
    assert _lgdea(site, "extract", out, "--out", tmp_path / "evidence").returncode == 0


def test_broken_plug_ins_stand_in_no_ones_way(tmp_path: Path, hospital: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    _declare(site, "raises", "raises:A", "raise RuntimeError('no licence')\n")
    _declare(site, "lacks", "lacks:nothing_here", "")
    _declare(site, "fails", "fails:A", "class A:\n    def __init__(self):\n        raise ValueError('no key')\n")
    _declare(site, "other", "other:A", "A = 3\n")
    _declare(
        site, "bare", "bare:A",
        "class A:\n    name, card = 'bare', 'nowhere'\n    def build(self, source, out):\n        1 / 0\n",
    )  # fmt: skip
    done = _lgdea(site, "data", "list", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)["result"]
    assert "title" in listed["openi"]
    assert "no licence" in listed["raises"]["error"]
    assert "no key" in listed["fails"]["error"]
    assert "is no dataset adapter" in listed["other"]["error"]
    assert "data card cannot be read" in listed["bare"]["error"]
    assert "lacks" in listed
    assert _lgdea(site, "data", "card", "openi").returncode == 0
    for name in ("raises", "bare"):
        failed = _lgdea(site, "data", "build", name, hospital, "--out", tmp_path / name)
        assert failed.returncode != 0
        assert failed.stderr.count("\n") == 1, failed.stderr
