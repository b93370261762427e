"""Patients' ids as keyed hashes (HMAC-SHA256, RFC 2104), made with a key that never stands in an archive.

A plain hash of an id hides nothing: hashing all numbers of seven digits takes a minute. Without the key a keyed one can
be neither computed nor tried; with it the same patient has the same hash in every archive.
"""

from __future__ import annotations

import hmac
import logging
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from lgdea.errors import UsageError
from lgdea.reading import require_file

log = logging.getLogger(__name__)

KEYED = "keyed hashes"
"""What ``info.patient_ids`` of an archive says where patients' ids are hashes of this module."""

_LEAST_BYTES, _MOST_BYTES, _LEAST_DISTINCT = 32, 4096, 8
_HASH_DIGITS, _MARK_DIGITS = 24, 16
_KEY = re.compile(rb"[!-~]{%d,%d}" % (_LEAST_BYTES, _MOST_BYTES))
_FLOAT = re.compile(r"(-?\d+)\.0+")
_SHORT_ID = 5  # characters; a shorter one stands in a report by chance
_REMEDY = "name a file that does not exist yet, and a key is made there"


class PatientKey:
    """A secret that makes hashes of patients' ids.

    Args:
        secret: The key, at least 32 bytes that nobody can guess.

    Example:
        >>> key = PatientKey(b"0123456789abcdef0123456789abcdef")
        >>> key.hash_id("4711") == key.hash_id(" 4711 ") == key.hash_id("4711.0")
        True
        >>> len(key.hash_id("4711")), len(key.fingerprint)
        (24, 16)
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @property
    def fingerprint(self) -> str:
        """What tells keys apart and does not give them away; archives hold it."""
        return self._digest("lgdea patient key")[:_MARK_DIGITS]

    def hash_id(self, patient: str, *, as_written: bool = False) -> str:
        """Hash a patient's id, without prefix.

        Args:
            patient: The id; blanks around it, and the ``.0`` that spreadsheets put behind numbers, do not count.
            as_written: Whether ``10`` and ``10.0`` are two patients.
        """
        text = unicodedata.normalize("NFKC", patient).strip("\0 \t\r\n")
        number = None if as_written else _FLOAT.fullmatch(text)
        return self._digest("patient\x1f" + (number[1] if number else text))[:_HASH_DIGITS]

    def __repr__(self) -> str:
        return f"PatientKey({self.fingerprint})"

    def _digest(self, text: str) -> str:
        return hmac.new(self._secret, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def load_patient_key(file: str | Path, *, outside: str | Path | None, make: bool = True) -> PatientKey:
    """Read a key, or make one where the file does not exist; that is logged.

    Args:
        file: The key's file, which its owner alone may read.
        outside: Folder of the archive, in which no key may lie; None where it is not known yet.
        make: If false, a missing key is not written, and the one that is returned is forgotten.

    Raises:
        UsageError: The file lies in the archive, others may read it, it holds no key, or it is no file.
    """
    file = Path(file).expanduser()
    if outside is not None and file.resolve().is_relative_to(Path(outside).resolve()):
        problem = "the patient key lies inside the archive that it protects"
        raise UsageError(problem, file=file, remedy="keep it elsewhere, such as ~/.config/lgdea/patient.key")
    if not file.exists() and not file.is_symlink():
        if not file.parent.is_dir():
            raise UsageError("no such folder", file=file.parent, remedy="make it, or correct the key's path")
        if not make:
            return PatientKey(secrets.token_bytes(_LEAST_BYTES))
        _write_new(file)
    require_file(file, what="patient key", remedy=_REMEDY)
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", file=file, remedy="check its owner and mode") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        problem = f"the patient key can be read or changed by others (mode {stat.S_IMODE(mode):03o})"
        raise UsageError(problem, file=file, remedy=f"run chmod 600 {file}")
    secret = content.strip()
    if not _KEY.fullmatch(secret) or len(set(secret)) < _LEAST_DISTINCT:
        problem = "holds no patient key (one line of at least 32 random letters and digits)"
        raise UsageError(problem, file=file, remedy=_REMEDY)
    return PatientKey(secret)


def _write_new(file: Path) -> None:
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", file=file, remedy="choose another file") from None
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(_LEAST_BYTES) + "\n")
    log.warning("made a new patient key: %s; keep it safe, patients of later archives are known by it alone", file)


def count_plain_ids(patients: Mapping[str, str], tables: Mapping[str, pd.DataFrame]) -> dict[str, int]:
    """Count where patients' ids, which an archive is to hide, still stand.

    Args:
        patients: A study's id to the id of its patient, as the source writes it.
        tables: The archive's tables by name.

    Returns:
        Studies, image ids, image paths and reports in which their own patient's id stands; those with none left out.
    """
    places = (
        ("study ids", "studies", "study_id", 1),
        ("image ids", "images", "image_id", 1),
        ("image paths", "images", "path", 1),
        ("report ids", "reports", "report_id", 1),
        ("reports", "reports", "text", _SHORT_ID),
    )
    found: dict[str, int] = {}
    for name, table, column, least in places:
        frame = tables.get(table)
        if frame is None or column not in frame:
            continue
        rows = zip(frame["study_id"], frame[column], strict=True)
        number = sum(_stands(patients.get(study, ""), str(text), least) for study, text in rows)
        if number:
            found[name] = number
    return found


def _stands(patient: str, text: str, least: int) -> bool:
    return len(patient) >= least and any(_is_apart(text, *span) for span in _spans(patient, text))


def _spans(part: str, text: str) -> Iterator[tuple[int, int]]:
    at = text.find(part)
    while at >= 0:
        yield at, at + len(part)
        at = text.find(part, at + 1)


def _is_apart(text: str, start: int, end: int) -> bool:
    """Whether what stands there is no part of a longer number or word."""

    def same(a: str, b: str) -> bool:
        return (a.isdigit() and b.isdigit()) or (a.isalpha() and b.isalpha())

    before = start > 0 and same(text[start - 1], text[start])
    return not before and not (end < len(text) and same(text[end - 1], text[end]))


def describe_plain_ids(found: Mapping[str, int]) -> list[str]:
    """Say where patients' ids still stand, and what helps; no line where they stand nowhere."""
    if not found:
        return []
    places = " and in ".join(f"{number:,} {place}" for place, number in found.items())
    return [
        f"ids of patients seem to stand in {places}, which stay as they are: take study and image ids that hold none, "
        "rename such files, and let `lgdea data scrub` mask the reports"
    ]
