"""Manifests: JSON files that hold their own sha256 and those of the files that belong to them.

A bit that flips on a disk or on the way to one changes a weight, a coordinate or a word, and no format that lgdea
writes would tell. So what a stage writes is sealed: ``run.json``, ``archive.json``, a model's ``config.json`` and a
result each have ``files`` (sha256 by path, relative to the manifest) and ``sha256``, the hash of all else in the
manifest. Readers compare; ``lgdea verify`` compares everything in a folder. A manifest without ``sha256`` was written
by an earlier lgdea and is taken as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lgdea.errors import DataError, UsageError, first_line
from lgdea.reading import parse_json, read_bytes, require_file

SEAL = "sha256"
FILES = "files"
_LINE_CRC = re.compile(rb', "(?:line_)?crc": "([0-9a-f]{8})"\}\s*$')
REMEDY = "restore it from a copy or make it again; after a change on purpose: `lgdea verify FOLDER --accept`"


def hash_file(file: str | Path) -> str:
    """Compute the sha256 of a file, as hexadecimal digits.

    Raises:
        UsageError: It is no file, or cannot be read to its end.
    """
    try:
        with require_file(file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", file=file, remedy="restore it from a copy") from None


def seal(content: Mapping[str, Any], folder: str | Path | None = None, files: Iterable[str] = ()) -> dict[str, Any]:
    """Add hashes to a manifest.

    Args:
        content: The manifest, as JSON can hold it; a seal that it has already is replaced.
        folder: Where the files are, and the manifest is to be.
        files: Paths relative to ``folder``; with none the manifest keeps the ``files`` that it has.

    Returns:
        A copy with ``files`` and ``sha256``.
    """
    plain: dict[str, Any] = json.loads(json.dumps(dict(content), default=str))
    plain.pop(SEAL, None)
    names = sorted(set(files))
    if folder is not None and names:
        plain[FILES] = {name: hash_file(Path(folder) / name) for name in names}
    return {**plain, SEAL: _digest(plain)}


def read_manifest(file: str | Path, *, what: str = "manifest", remedy: str = REMEDY) -> dict[str, Any]:
    """Read a manifest and compare it with its seal; its files are compared when they are read (:func:`check_file`).

    Args:
        file: The JSON file.
        what: What it describes, for the message.
        remedy: What helps when it is damaged.

    Raises:
        DataError: It is missing, is no JSON object, or is not as it was written.
    """
    file = Path(file)
    if not file.exists():
        raise DataError(f"the {what} is missing", file=file, remedy=remedy)
    try:
        content = parse_json(read_bytes(file, what=what, remedy=remedy))
    except UsageError as error:
        raise DataError(error.problem, file=file, remedy=remedy) from None
    except ValueError as error:
        raise DataError(f"the {what} cannot be read ({first_line(error)})", file=file, remedy=remedy) from None
    if not isinstance(content, dict):
        raise DataError(f"the {what} must hold a JSON object", file=file, remedy=remedy)
    if SEAL in content and content[SEAL] != _digest({key: value for key, value in content.items() if key != SEAL}):
        raise DataError(f"the {what} is not as it was written", file=file, remedy=remedy)
    return content


def check_file(file: str | Path, manifest: Mapping[str, Any], folder: str | Path) -> None:
    """Compare a file with its manifest.

    Args:
        file: A file in ``folder`` or below.
        manifest: Of :func:`read_manifest`; where it does not list the file, nothing is compared.
        folder: The manifest's folder.

    Raises:
        DataError: The file is not as it was written.
    """
    listed = manifest.get(FILES)
    expected = listed.get(Path(file).relative_to(folder).as_posix()) if isinstance(listed, dict) else None
    if expected is not None and Path(file).exists() and hash_file(file) != expected:
        raise DataError("is not as it was written (its sha256 differs)", file=file, remedy=REMEDY)


def seal_line(record: Mapping[str, Any], key: str = "crc") -> bytes:
    """Write a record as a line of JSON that ends with the CRC-32 of what is before it.

    Args:
        record: It has a key already.
        key: Of the checksum: ``crc`` or ``line_crc``.
    """
    text = json.dumps(record, ensure_ascii=True).encode()
    return b'%s, "%s": "%08x"}\n' % (text[:-1], key.encode(), zlib.crc32(text[:-1]))


def read_line(line: bytes) -> Any:
    """Read a line of :func:`seal_line`; one without a checksum was written by an earlier lgdea.

    Raises:
        ValueError: Its checksum differs, or it is no JSON.
    """
    found = _LINE_CRC.search(line)
    if found is not None and zlib.crc32(line[: found.start()]) != int(found[1], 16):
        raise ValueError("its checksum differs")
    return parse_json(line)


def read_lines(content: bytes) -> list[Any]:
    """Read lines of :func:`seal_line`; where one has a checksum, all have, so that a damaged one is no older line.

    Raises:
        ValueError: The last line is cut, a checksum differs or is not there, or a line is no JSON.
    """
    lines = content.splitlines(keepends=True)
    sealed = [_LINE_CRC.search(line) is not None for line in lines]
    if lines and not lines[-1].endswith(b"\n"):
        raise ValueError("its last line is cut")
    if any(sealed) and not all(sealed):
        raise ValueError(f"line {sealed.index(False) + 1} has no checksum")
    return [read_line(line) for line in lines]


def missing_files(manifest: Mapping[str, Any], folder: str | Path) -> list[str]:
    """List the files of a manifest that are not there."""
    return [name for name in manifest.get(FILES, {}) if not (Path(folder) / name).is_file()]


def changed_files(manifest: Mapping[str, Any], folder: str | Path) -> list[str]:
    """List the files of a manifest that are there and not as they were written."""
    files = ((name, Path(folder) / name, expected) for name, expected in manifest.get(FILES, {}).items())
    return [name for name, file, expected in files if file.is_file() and hash_file(file) != expected]


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
