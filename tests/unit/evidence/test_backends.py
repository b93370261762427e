"""Backends by name, and what to install when one of them cannot be loaded."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from lgdea.errors import UsageError
from lgdea.evidence.backends.base import get_backend

ROOT = Path(__file__).resolve().parents[3]
ADVICE = re.compile(r"pip install '?lgdea\[(?P<extras>[a-z, ]+)\]")


def _plug_in(folder: Path, extras: tuple[str, ...]) -> None:
    """Lay an installed package with two backends, both of which import a package that does not exist."""
    (folder / "their_reader.py").write_text("import a_package_that_nobody_has\n")
    info = folder / "their_reader-1.0.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: their-reader", "Version: 1.0", *(f"Provides-Extra: {e}" for e in extras)]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    (info / "entry_points.txt").write_text("[lgdea.backends]\nbig = their_reader:create\nsmall = their_reader:create\n")


@pytest.mark.parametrize(
    ("name", "remedy"), [("big", "pip install 'their-reader[big]'"), ("small", "pip install their-reader")]
)
def test_a_missing_package_is_named_with_an_install_command_that_exists(
    name: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _plug_in(tmp_path, extras=("big",))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError) as error:
        get_backend(name)
    assert str(error.value) == f"backend {name!r} needs a_package_that_nobody_has; {remedy}"


def test_an_unknown_backend_is_answered_with_the_installed_ones() -> None:
    with pytest.raises(UsageError, match=r"no backend 'rule'; installed: .*\brules\b"):
        get_backend("rule")


def test_a_checkout_that_is_not_installed_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lgdea.evidence.backends.base.metadata.entry_points", lambda **_: [])
    with pytest.raises(UsageError, match=r"no backend 'rules'; this lgdea is a folder .* pip install -e \."):
        get_backend("rules")


def test_options_that_a_backend_does_not_take_are_named() -> None:
    with pytest.raises(UsageError, match=r"'rules' does not take these options \(.*'model'"):
        get_backend("rules", model="x")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("http", "backend 'http' needs url; give the address of its server: --url, or --set options.url=URL"),
        ("replay", "backend 'replay' needs responses; give it: --set options.responses=VALUE"),
    ],
)
def test_an_option_that_a_backend_needs_is_asked_for(name: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        get_backend(name)
    assert str(error.value) == told
    with pytest.raises(UsageError, match="does not take these options"):
        get_backend(name, colour="red")


def test_every_extra_that_code_or_docs_advise_exists() -> None:
    real = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    files = [*(ROOT / "lgdea").rglob("*.py"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")]
    advised = {
        extra.strip()
        for file in files
        for found in ADVICE.finditer(file.read_text(encoding="utf-8"))
        for extra in found["extras"].split(",")
    }
    assert {"vllm", "ray", "nifti"} <= advised
    assert advised <= real
