"""``lgdea verify`` tells one changed byte in any file that it promises to compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lgdea
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.runner import extract
from lgdea.imaging.cache import build_cache


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive, its evidence and an image cache."""
    root = tmp_path_factory.mktemp("written")
    archive = lgdea.build_archive("phantom", "default", root / "archive", studies=3, size=64)
    extract(archive, get_backend("rules"), root / "evidence")
    build_cache([(path, root / "archive" / path) for path in archive.images["path"][:3]], root / "cache", 16, 1)
    assert lgdea.verify_folder(root).problems == []
    return root


def test_one_changed_byte_in_any_file_is_told(written: Path) -> None:
    files = sorted(file for file in written.rglob("*") if file.is_file() and file.stat().st_size)
    assert {".png", ".parquet", ".json", ".jsonl", ".npy", ".yaml"} <= {file.suffix for file in files}
    for file in files:
        whole = file.read_bytes()
        for at in np.random.default_rng(0).integers(0, len(whole), 12):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert lgdea.verify_folder(written).problems, f"{file}: byte {at}"
        file.write_bytes(whole)


def test_raw_answers_that_end_early_are_told_and_none_at_all_are_not(written: Path, tmp_path: Path) -> None:
    file = next((written / "evidence" / "raw").iterdir())
    whole = file.read_bytes()
    for cut in (b"", b"".join(whole.splitlines(keepends=True)[:-1])):
        file.write_bytes(cut)
        problem = ("evidence/raw/part-00000.jsonl", "is not as it was written")
        assert lgdea.verify_folder(written).problems == [problem]
    file.rename(tmp_path / "kept")
    assert lgdea.verify_folder(written).problems == []
    file.write_bytes(whole)


def test_a_jpeg_by_the_name_of_a_png_has_no_checksums(written: Path) -> None:
    file = written / "archive" / "images" / "other.png"
    Image.new("L", (8, 8)).save(file, "JPEG")
    assert lgdea.verify_folder(written).problems == []
    file.write_bytes(b"no picture")
    assert [path for path, _ in lgdea.verify_folder(written).problems] == ["archive/images/other.png"]
    file.unlink()
