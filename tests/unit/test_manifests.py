from __future__ import annotations

import json
from pathlib import Path

import pytest

from lgdea import runs
from lgdea.errors import DataError, LgdeaError
from lgdea.manifests import changed_files, check_file, missing_files, read_manifest, seal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "units.txt").write_text("left effusion")
    runs.write_json(tmp_path / "run.json", seal({"stage": "x", "n": 0.1}, tmp_path, ["units.txt"]))
    return tmp_path


def test_what_was_sealed_is_read_back(folder: Path) -> None:
    manifest = read_manifest(folder / "run.json")
    assert (manifest["stage"], manifest["n"]) == ("x", 0.1)
    check_file(folder / "units.txt", manifest, folder)
    check_file(folder / "other.txt", manifest, folder)  # not listed, not compared
    assert missing_files(manifest, folder) == changed_files(manifest, folder) == []


def test_every_flipped_bit_of_a_manifest_is_an_error_or_has_no_effect(folder: Path) -> None:
    file = folder / "run.json"
    whole, content = file.read_bytes(), read_manifest(file)
    content.pop("sha256")
    for at in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        file.write_bytes(flipped)
        try:
            read = read_manifest(file)
        except LgdeaError:
            continue
        # Without its seal a manifest is that of an earlier version; then all else must still be right.
        assert content.items() <= read.items(), at


def test_a_changed_file_is_refused_and_a_missing_one_is_listed(folder: Path) -> None:
    manifest = read_manifest(folder / "run.json")
    (folder / "units.txt").write_text("left effusioN")
    with pytest.raises(DataError, match=r"units.txt: is not as it was written .*--accept"):
        check_file(folder / "units.txt", manifest, folder)
    assert changed_files(manifest, folder) == ["units.txt"]
    (folder / "units.txt").unlink()
    assert missing_files(manifest, folder) == ["units.txt"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_manifest_is_one_line_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(DataError, match=r"run\.json: the manifest (cannot be read|must hold)"):
        read_manifest(tmp_path / "run.json")


def test_a_manifest_of_an_earlier_version_has_no_seal(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"stage": "x"}))
    assert read_manifest(tmp_path / "run.json") == {"stage": "x"}
