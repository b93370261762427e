"""An archive with masks in the place of likely identifiers in its reports."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.deidentification.detect import find_identifiers, mask
from lgdea.deidentification.names import known_names
from lgdea.deidentification.words import load_words
from lgdea.errors import DataError, UsageError
from lgdea.evidence.language import detect_language
from lgdea.processes import make_pool
from lgdea.records.archive import IMAGE_BITS, Archive, write_archive

SCRUBBED = "scrubbed"
"""Entry of ``archive.json``, and name of the table of counts."""

_BATCH = 500  # texts that a process is given at once
_NO_TEXT = frozenset({IMAGE_BITS})
_NOT_COPIED = frozenset({"left_out", SCRUBBED})  # rows that the build refused may hold anything
_PHRASES = "phrase", "label"

Progress = Callable[[int, int], None]


def scrub_text(text: str, language: str = "en", known: Sequence[str] = ()) -> tuple[str, Counter[str]]:
    """Mask likely identifiers in a text.

    Args:
        text: A report.
        language: Language that is stated; ``en``, which archives state by default, is checked against the text.
        known: Identifiers that are known beforehand.

    Returns:
        The text with masks, and the number of masks by type.
    """
    stated = language.lower()[:2]
    told = detect_language(text) if stated in ("", "en") else stated
    found = find_identifiers(text, "en" if told == "und" else told, _finder(tuple(known)))
    return mask(text, found), Counter(identifier.type for identifier in found)


def scrub_archive(
    archive: Archive,
    out: str | Path,
    *,
    known: Sequence[str] = (),
    name: str | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Archive:
    """Write an archive whose reports, phrases of boxes and extra tables have masks for likely identifiers.

    Its table ``scrubbed`` counts masks by report and type; nothing holds what was masked. Images stay where they are,
    ids stay as they are, and the rows that the build had left out are not copied.

    Args:
        archive: The archive.
        out: Folder of the new one.
        known: Identifiers that are known beforehand, such as the names of a hospital's staff.
        name: Of the new archive; the old one's by default.
        workers: Processes.
        progress: Called with done and all reports.

    Raises:
        UsageError: philter-lite is not installed, or ``out`` is the archive itself or another one.
    """
    if Path(out).resolve() == archive.folder.resolve():
        raise UsageError("is the archive itself", file=out, remedy="choose another --out")
    lists = load_words()
    reports = archive.reports
    texts = list(zip(reports["text"].fillna(""), reports["language"].fillna(""), strict=True))
    scrubbed = _scrub_all(texts, tuple(known), workers, progress)
    counts = pd.DataFrame(
        [
            (report, kind, number)
            for report, (_, found) in zip(reports["report_id"], scrubbed, strict=True)
            for kind, number in sorted(found.items())
        ],
        columns=["report_id", "type", "count"],
    )
    clean = _Cells(tuple(known))
    boxes = archive.boxes.assign(**{column: archive.boxes[column].map(clean) for column in _PHRASES})
    extra = {table: archive.extra(table) for table in archive.extra_names if table not in _NOT_COPIED}
    tables = {
        "studies": archive.studies,
        "images": archive.images,
        "reports": reports.assign(text=[text for text, _ in scrubbed]),
        "boxes": boxes,
        "labels": archive.labels,
    }
    kept = {table: _clean_frame(frame, table, clean) for table, frame in extra.items() if frame is not None}
    names = len(lists.first_names | lists.last_names)
    facts = {
        "reports": len(reports),
        "reports_with_masks": int(counts["report_id"].nunique()),
        "masks": {kind: int(number) for kind, number in counts.groupby("type")["count"].sum().items()},
        "known": len(set(known)),
        "names_from": f"philter-lite {metadata.version('philter-lite')}, {names:,} names",
    }
    info = {"scrubbed_from": archive.name, "notes": archive.info.get("notes", []), SCRUBBED: facts}
    kept[SCRUBBED], keys = counts, archive.patient_keys
    return write_archive(out, name or archive.name, tables, archive.image_root, info, kept, keys)


def read_known(file: str | Path) -> list[str]:
    """Read a list of identifiers, one a line.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        problem = "is not UTF-8 text" if isinstance(error, ValueError) else f"cannot be read ({error.strerror})"
        raise UsageError(problem, file=file, remedy="give a UTF-8 file with a name a line") from None
    return [line.strip() for line in lines if line.strip()]


@lru_cache(maxsize=1)
def _finder(known: tuple[str, ...]) -> Callable[[str], Iterator[Any]] | None:
    return known_names(known) if known else None


def _scrub_all(
    texts: list[tuple[str, str]], known: tuple[str, ...], workers: int, progress: Progress | None
) -> list[tuple[str, Counter[str]]]:
    batches = [texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH)]
    result: list[tuple[str, Counter[str]]] = []
    for part in _in_turn(batches, known, min(workers, len(batches), os.cpu_count() or 1)):
        result += part
        if progress is not None:
            progress(len(result), len(texts))
    return result


def _in_turn(
    batches: list[list[tuple[str, str]]], known: tuple[str, ...], workers: int
) -> Iterable[list[tuple[str, Counter[str]]]]:
    if workers < 2:
        yield from (_scrub_batch(batch, known) for batch in batches)
        return
    with make_pool(workers, context="spawn") as pool:
        yield from pool.map(_scrub_batch, batches, [known] * len(batches))


def _scrub_batch(batch: list[tuple[str, str]], known: tuple[str, ...]) -> list[tuple[str, Counter[str]]]:
    return [scrub_text(text, language, known) for text, language in batch]


class _Cells:
    """Masks cells of text; each distinct one is looked at once."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known
        self._seen: dict[str, str] = {}

    def __call__(self, cell: Any) -> Any:
        if not isinstance(cell, str):
            return cell
        if cell not in self._seen:
            self._seen[cell] = scrub_text(cell, "en", self._known)[0]
        return self._seen[cell]


def _clean_frame(frame: pd.DataFrame, name: str, clean: _Cells) -> pd.DataFrame:
    """An extra table with masks in its columns of text; ids stay, as they tie tables together."""
    if name in _NO_TEXT:
        return frame
    odd = [column for column in frame if frame[column].map(lambda cell: isinstance(cell, list | dict | bytes)).any()]
    if odd:
        raise DataError(f"the extra table {name!r} holds nested cells ({odd[0]})", remedy="remove it from the archive")
    texts = [column for column in frame if not str(column).endswith("_id")]
    return frame.assign(**{str(column): frame[column].map(clean) for column in texts})
