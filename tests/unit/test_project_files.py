"""The files around the package say the same as the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from lgdea.evidence.schema import SCHEMA_VERSION as EVIDENCE_VERSION
from lgdea.graph.archive_graph import FORMAT_VERSION as GRAPH_VERSION
from lgdea.models.migrations import FORMAT_VERSION as MODEL_VERSION
from lgdea.pretraining.module import CHECKPOINT_FORMAT_VERSION
from lgdea.records.schema import SCHEMA_VERSION as ARCHIVE_VERSION
from lgdea.version import __version__

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
PYTHON = "Programming Language :: Python :: "
PYTHONS = [word.removeprefix(PYTHON) for word in PROJECT["classifiers"] if word.startswith(PYTHON)]


def _pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split(";")[0].strip().split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pins}


def test_no_extra_asks_for_a_package_under_the_gpl() -> None:
    asked = [Requirement(line).name for part in PROJECT["optional-dependencies"].values() for line in part]
    assert "pylibjpeg-libjpeg" not in map(canonicalize_name, asked)


@pytest.mark.parametrize("line", REQUIREMENTS)
def test_every_requirement_has_a_pin_that_satisfies_it(line: str) -> None:
    requirement = Requirement(line)
    pin = _pins()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin)
    assert pin.local is None  # a build such as +cu130 is on no ordinary package index


def test_ci_runs_every_python_that_is_supported() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]["check"]
    assert job["strategy"]["matrix"]["python-version"] == PYTHONS
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]


def test_the_changelog_has_this_version_and_what_comes_next() -> None:
    titles = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert titles[:2] == ["Unreleased", __version__]


def test_the_changelog_states_the_versions_of_what_lies_on_disk() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| ([a-z, ]+?) \| (\d+) \|", text, flags=re.MULTILINE))
    assert stated == {
        "archive tables": ARCHIVE_VERSION,
        "evidence, pairing, rejects": EVIDENCE_VERSION,
        "model folder": str(MODEL_VERSION),
        "archive graph": str(GRAPH_VERSION),
        "checkpoints": str(CHECKPOINT_FORMAT_VERSION),
    }


@pytest.mark.parametrize("file", sorted((ROOT / "pipelines").glob("*.py")), ids=lambda file: file.stem)
def test_every_pipeline_runs_when_it_is_started(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    last = text.partition('if __name__ == "__main__":\n')[2]
    assert re.search(r"\b(main|run)\(|\(main\)", last)
