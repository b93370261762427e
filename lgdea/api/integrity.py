"""Whole folders compared with the hashes that they were written with."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgdea.errors import LgdeaError, UsageError
from lgdea.evidence.io import RAW, RAW_HASHES, check_raw, hash_raw, scan_shard
from lgdea.imaging.frames import LOG, RECIPE, ImageCache
from lgdea.imaging.sniff import kind_of
from lgdea.manifests import FILES, SEAL, changed_files, hash_file, missing_files, read_lines, read_manifest, seal
from lgdea.reading import read_bytes, read_json
from lgdea.records.pairing import is_pairing, read_pairing
from lgdea.runs import DESCRIBED, SUCCESS, write_json
from lgdea.training.feature_cache import FEATURES, check_features
from lgdea.training.feature_cache import RECIPE as FEATURE_RECIPE


@dataclass(frozen=True)
class FolderReport:
    """Outcome of :func:`verify_folder`.

    Attributes:
        checked: Number of files that were compared.
        problems: Path relative to the folder, and what is wrong there.
    """

    checked: int
    problems: list[tuple[str, str]]


def verify_folder(folder: str | Path) -> FolderReport:
    """Compare every file below a folder with what lgdea wrote there; PNG files by the checksums in them.

    Args:
        folder: What any stage wrote (archive, evidence, run, model, embeddings, results), or a folder of several.

    Returns:
        How many files were compared and which are changed, damaged or missing.

    Raises:
        UsageError: There is no such folder, or nothing in it can be compared.

    Example:
        >>> model = lgdea.create_model("test_resnet", texts=["No pneumothorax."], image_size=64, hidden=32)
        >>> place = lgdea.save_model(model, folder / "sealed")
        >>> lgdea.verify_folder(place).problems
        []
        >>> _ = (place / "preprocess.json").write_text("{}")
        >>> lgdea.verify_folder(place).problems
        [('preprocess.json', 'is not as it was written')]
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError("no such folder", file=folder, remedy="check the path")
    found: dict[str, str] = {}  # by path: a run and its model may seal the same file
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        check = _CHECKS.get(file.suffix)
        for name, problem in check(file) if check else ():
            path = str((file.parent / name).relative_to(folder))
            found[path] = found.get(path) or problem
    if not found:
        raise UsageError("holds nothing that lgdea has sealed", file=folder, remedy="check the path")
    return FolderReport(len(found), [(path, problem) for path, problem in found.items() if problem])


def accept_changes(folder: str | Path) -> list[str]:
    """Seal manifests anew whose own content, or whose files, were changed on purpose.

    Args:
        folder: As of :func:`verify_folder`.

    Returns:
        The manifests that were written, relative to the folder.

    Raises:
        UsageError: There is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError("no such folder", file=folder, remedy="check the path")
    written = []
    # The innermost first: a run seals its model's manifest.
    for file in sorted(folder.rglob("*.json"), key=lambda file: -len(file.parts)):
        content = _read(file)
        if isinstance(content, dict) and SEAL in content:
            kept = [name for name in content.get(FILES, {}) if (file.parent / name).is_file()]
            new = {**content, **({FILES: {}} if FILES in content else {})}
            described = content.get(DESCRIBED, {})
            if described:
                there = (name for name in described if (file.parent / name).is_file())
                new[DESCRIBED] = {name: hash_file(file.parent / name) for name in there}
            if RAW_HASHES in content:
                new[RAW_HASHES] = hash_raw(file.parent)
            new = seal(new, file.parent, kept)
            if new != content:
                write_json(file, new)
                written.append(str(file.relative_to(folder)))
    return written


Found = Iterator[tuple[str, str]]
"""Names relative to the checked file's folder, and what is wrong; nothing where all is well."""


def _check_json(file: Path) -> Found:
    content = _read(file)
    if content is None:
        yield file.name, "is no JSON, it was cut or damaged"
    if not isinstance(content, dict) or SEAL not in content:
        return
    try:
        read_manifest(file)
    except LgdeaError as error:
        yield file.name, error.problem
        return
    yield file.name, ""
    missing, changed = missing_files(content, file.parent), changed_files(content, file.parent)
    described = {FILES: content.get(DESCRIBED, {})}
    for name in described[FILES]:
        yield name, "is not as it was written" if name in changed_files(described, file.parent) else ""
    for name in content.get(FILES, {}):
        yield name, "is missing" if name in missing else "is not as it was written" if name in changed else ""
    if RAW_HASHES in content:
        try:
            check_raw(file.parent)
        except LgdeaError as error:
            yield str(Path(error.file or file).relative_to(file.parent)), error.problem
    if file.name == RECIPE and not missing and not changed:
        yield from _checked("pixels.npy", lambda: ImageCache(file.parent)[:])
    if file.name == FEATURE_RECIPE and (file.parent / SUCCESS).exists():
        yield from _checked(FEATURES, lambda: check_features(file.parent))


def _check_shard(file: Path) -> Found:
    if file.parent.name.startswith(RAW):
        yield from _checked(file.name, lambda: sum(1 for _ in scan_shard(file)))
    elif file.name == LOG and (file.parent / RECIPE).exists() and (file.parent / SUCCESS).exists():
        yield from _checked(file.name, lambda: read_lines(read_bytes(file)))


def _check_picture(file: Path) -> Found:
    yield from _checked(file.name, lambda: _check_png(file))


def _check_png(file: Path) -> None:
    """Compare the checksums of a PNG file's chunks; a JPEG or DICOM file of that name has none.

    Raises:
        ValueError: One differs, or the file ends early.
        ImageError: The file is empty or cannot be opened.
    """
    kind = kind_of(file)
    if kind != "PNG":
        if kind is None:
            raise ValueError("it does not begin like a picture")
        return
    content, at, name = file.read_bytes(), 8, b""
    while name != b"IEND":
        length, name = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(content):
            raise ValueError("it ends early")
        if zlib.crc32(content[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end]):
            raise ValueError("a checksum differs")
        at = end


def _check_checkpoint(file: Path) -> Found:
    def read() -> None:
        with zipfile.ZipFile(file) as records:
            if records.testzip() is not None:
                raise ValueError("a checksum differs")

    yield from _checked(file.name, read)


def _check_table(file: Path) -> Found:
    if is_pairing(file):
        yield from _checked(file.name, lambda: read_pairing(file))


def _checked(name: str, read: Callable[[], Any]) -> Found:
    try:
        read()
    except LgdeaError as error:
        yield name, error.problem
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        yield name, f"cannot be read ({error})"
    else:
        yield name, ""


def _read(file: Path) -> Any:
    try:
        return read_json(file)
    except LgdeaError:
        return None


_CHECKS: dict[str, Callable[[Path], Found]] = {
    ".json": _check_json,
    ".jsonl": _check_shard,
    ".png": _check_picture,
    ".ckpt": _check_checkpoint,
    ".parquet": _check_table,
}
