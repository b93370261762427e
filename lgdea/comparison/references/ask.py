"""Ask a vision-language model about queries alone and beside references, through a backend of extraction.

Answers are on disk before they are looked at, and the same call asks only what is missing; retries, limits and patience
with a server are those of :mod:`lgdea.evidence.backends`.
"""

from __future__ import annotations

import hashlib
import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea import runs
from lgdea.comparison.pictures import Pictures
from lgdea.comparison.references import answers as files
from lgdea.comparison.references.prompt import ANSWERS, NO, YES, ComparePrompt
from lgdea.comparison.references.triples import TABLE as TRIPLES
from lgdea.comparison.references.triples import read_triples
from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.answer_log import answering
from lgdea.evidence.backends.base import ExtractorBackend
from lgdea.evidence.backends.choices import read_choice
from lgdea.evidence.io import RAW, RawRecord
from lgdea.evidence.request_loop import PendingRequest, Progress, Questions, is_unanswered, run_requests
from lgdea.evidence.response import InvalidResponse
from lgdea.imaging.occlusion import filling, occluded, to_png
from lgdea.imaging.unreadable import unreadable_notes

_CACHED = 4096  # pictures; a reference stands beside many queries


@dataclass(frozen=True)
class Setting:
    """One question: a finding of a query, the references beside it, and the hidden cell of the query, if any."""

    query_id: str
    finding: str
    label: float
    strategy: str
    k: int
    query_path: str
    reference_paths: tuple[str, ...]
    cell: int | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """All its pictures."""
        return (self.query_path, *self.reference_paths)

    def key(self, prompt: ComparePrompt, side: int | None, grid: int) -> str:
        """Hash of all that decides the answer, but for the pictures' contents: 24 hexadecimal digits."""
        hidden = [] if self.cell is None else [self.cell, grid]
        content = [prompt.files_sha256, side, self.finding, self.query_path, *self.reference_paths, hidden]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


def ask(
    folder: str | Path,
    backend: ExtractorBackend,
    out: str | Path,
    *,
    prompt: ComparePrompt,
    counts: Sequence[int],
    side: int | None = None,
    image_root: str | Path | None = None,
    attribution: int = 0,
    grid: int = 6,
    max_attempts: int = 2,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Ask about every query and finding of a folder of triples, alone and beside K references.

    Args:
        folder: Folder of triples.
        backend: Who answers; one whose model reads images.
        out: Folder of answers; an unfinished one is resumed.
        prompt: What is said around the images.
        counts: Numbers K of references.
        side: Longest side of the pictures that are sent, pixels; None for their own.
        image_root: Where the pictures stand; where they stood when the triples were made, by default.
        attribution: Findings that are present, of which the query is also asked with each cell hidden, alone and beside
            the most references of the first strategy.
        grid: Cells along each side of the query.
        max_attempts: Number of times that a question is asked whose answer cannot be read.
        progress: Called with what is being done, done and all questions.

    Returns:
        Summary: ``model``, ``questions`` (answers about whole pictures), ``asked``, ``unread`` (answers that are
        neither yes nor no), ``unreadable`` (``{"id", "reason"}`` of each picture that cannot be read, whose questions
        are left out), ``share_yes``, ``with_probabilities``, ``notes``.

    Raises:
        UsageError: There are no triples, fewer references than asked for, a backend that reads no images, or the model
            takes fewer images in one message.
        DataError: No question has pictures that can all be read.
        EvidenceError: The backend broke, or failed on some questions, or no answer is yes or no; what it answered is
            kept.
    """
    triples, report = read_triples(folder)
    most = int(triples["rank"].max())
    if max(counts) > most:
        raise UsageError(
            f"holds {most} references of each query, {max(counts)} are needed", file=folder,
            remedy="make triples with more (-k), or ask for fewer",
        )  # fmt: skip
    if not backend.needs_prompt:
        raise UsageError(f"backend {backend.name!r} reads no images", remedy="use --backend vllm or http")
    root, out = Path(image_root or report["image_root"]), Path(out)
    described = backend.describe()
    config = {"backend": described, "prompt": prompt.describe(), "counts": sorted(counts), "side": side,
              "attribution": attribution, "grid": grid}  # fmt: skip
    settings = settings_of(triples, counts)
    settings += hidden_cells(settings, attribution, grid)
    settings.sort(key=lambda s: -s.k)  # the most images come first, and with them any refusal
    pictures = Pictures(root, side, _CACHED)
    asker = _Asker(pictures, prompt, side, grid)
    asked_of = {"triples": Path(folder) / TRIPLES}
    with answering(out, RAW, stage="compare ask", config=config, inputs=asked_of) as log:
        questions = Questions(
            lambda: map(asker.requests, settings), len(settings), prompt.json_schema(), "asking", ANSWERS
        )
        run_requests(backend, questions, log, max_attempts=max_attempts, progress=progress)
        settings = [s for s in settings if pictures.all_readable(s.paths)]
        if not settings:
            raise pictures.nothing_readable()
        records = [log.read(asker.key(s)) for s in settings]
    table = _table(settings, records)
    failed = [r for r in records if r is None or is_unanswered(r)]
    unread = [r for r in records if r is not None and not is_unanswered(r) and _choice(r) is None]
    summary = _summary(table, described, log.appended, unread, pictures.skipped)
    with runs.atomic(out / files.TABLE) as temporary:
        table[table["cell"].isna()][files.COLUMNS].to_parquet(temporary, index=False)
    with runs.atomic(out / files.HIDDEN) as temporary:
        table[table["cell"].notna()][[*files.COLUMNS, "cell"]].to_parquet(temporary, index=False)
    if failed:
        runs.record(out, summary=summary)
        raise EvidenceError(
            f"the backend failed on {len(failed)} questions", file=out,
            remedy="run the same command again to ask only these",
        )  # fmt: skip
    if table.empty:
        runs.record(out, summary=summary)
        raise EvidenceError(
            f"none of {len(unread)} answers is {YES} or {NO}{_first(unread)}", file=out,
            remedy="ask another model, or with another --prompt, into another folder",
        )  # fmt: skip
    runs.finish(out, [files.TABLE, files.HIDDEN], summary=summary)
    return summary


def settings_of(triples: pd.DataFrame, counts: Sequence[int]) -> list[Setting]:
    """Each finding of each query alone, once for all strategies, and beside the first K references of each strategy.

    Args:
        triples: Rows of :func:`~lgdea.comparison.references.triples.make_triples`.
        counts: Numbers K; a query with fewer references is not asked.
    """
    found: list[Setting] = []
    alone: set[tuple[str, str]] = set()
    for names, group in triples.sort_values("rank").groupby(["strategy", "class", "query_id"], sort=False):
        strategy, finding, query = map(str, names)  # type: ignore[arg-type]  # one name per column
        paths = tuple(group["reference_path"])
        label, path = float(group["label"].iloc[0]), str(group["query_path"].iloc[0])
        if (query, finding) not in alone:
            alone.add((query, finding))
            found.append(Setting(query, finding, label, strategy, 0, path, ()))
        found += [
            Setting(query, finding, label, strategy, k, path, paths[:k])
            for k in sorted(set(counts) - {0}) if k <= len(paths)
        ]  # fmt: skip
    return found


def hidden_cells(settings: Sequence[Setting], most: int, grid: int) -> list[Setting]:
    """The questions with each cell hidden, of the first findings that are present.

    Args:
        settings: Questions about whole pictures.
        most: Findings.
        grid: Cells along each side.
    """
    if not most:
        return []
    strategy = settings[0].strategy
    largest = max(s.k for s in settings)
    whole = [s for s in settings if s.label == 1 and s.strategy == strategy and s.k in (0, largest)]
    both = pd.Series([(s.query_id, s.finding) for s in whole]).value_counts()
    chosen = sorted(both.index[both == 2])[:most]
    return [
        Setting(s.query_id, s.finding, s.label, s.strategy, s.k, s.query_path, s.reference_paths, cell)
        for s in whole if (s.query_id, s.finding) in chosen for cell in range(grid * grid)
    ]  # fmt: skip


class _Asker:
    """Makes the requests; pictures are read when they are needed."""

    def __init__(self, pictures: Pictures, prompt: ComparePrompt, side: int | None, grid: int) -> None:
        self._pictures, self._prompt, self._side, self._grid = pictures, prompt, side, grid

    def key(self, setting: Setting) -> str:
        return setting.key(self._prompt, self._side, self._grid)

    def requests(self, setting: Setting) -> list[PendingRequest]:
        """The request of a question; none where one of its pictures cannot be read."""
        if not self._pictures.can_read(setting.paths):
            return []
        references = [self._pictures.png(path) for path in setting.reference_paths]
        query = self._pictures.png(setting.query_path) if setting.cell is None else self._hide(setting)
        messages = self._prompt.messages(setting.finding, references, query)
        return [PendingRequest(self.key(setting), setting.query_id, "", messages, _parse)]

    def _hide(self, setting: Setting) -> bytes:
        pixels = self._pictures.pixels(setting.query_path)
        fill = filling(pixels, [self._pictures.pixels(path) for path in setting.reference_paths])
        return to_png(list(occluded(pixels, fill, self._grid))[setting.cell or 0], self._side)


def _choice(record: RawRecord | None) -> str | None:
    return None if record is None or record.text is None else read_choice(record.text, ANSWERS)


def _first(unread: Sequence[RawRecord]) -> str:
    """The beginning of the first answer that is neither yes nor no."""
    text = next((r.text.strip() for r in unread if r.text and r.text.strip()), None)
    return "" if text is None else f", first {textwrap.shorten(text, 40, placeholder=' ...')!r}"


def _parse(text: str) -> str:
    choice = read_choice(text, ANSWERS)
    if choice is None:
        raise InvalidResponse(f"is neither {YES} nor {NO}")
    return choice


def _table(settings: Sequence[Setting], records: Sequence[RawRecord | None]) -> pd.DataFrame:
    rows = []
    for s, record in zip(settings, records, strict=True):
        answer = _choice(record)
        if record is None or answer is None:
            continue
        odds = None if record.logprobs is None else record.logprobs[YES] - record.logprobs[NO]
        score = float(answer == YES) if odds is None else 1 / (1 + math.exp(min(-odds, 700.0)))
        rows.append((s.query_id, s.finding, s.label, s.strategy, s.k, answer, score, s.cell, odds is not None))
    return pd.DataFrame(rows, columns=[*files.COLUMNS, "cell", "has_probability"])


def _summary(
    table: pd.DataFrame,
    described: dict[str, Any],
    asked: int,
    unread: Sequence[RawRecord],
    skipped: list[dict[str, str]],
) -> dict[str, Any]:
    whole = table[table["cell"].isna()]
    share = float(table["has_probability"].mean()) if len(table) else 0.0
    yes = whole["answer"].eq(YES)
    notes = unreadable_notes(skipped, "picture")
    if unread:
        notes.append(f"{len(unread)} of {len(table) + len(unread)} answers are neither {YES} nor {NO}{_first(unread)}")
    if len(table) and share < 1:
        notes.append(f"{1 - share:.0%} of the answers have no log-probabilities: their scores are 0 or 1")
    if len(whole) and yes.nunique() == 1:
        notes.append(f"every answer is {whole['answer'].iloc[0]}")
    return {
        "model": str(described.get("model", described.get("backend"))),
        "questions": len(whole),
        "asked": asked,
        "unread": len(unread),
        "unreadable": skipped,
        "share_yes": round(float(yes.mean()), 4) if len(whole) else None,
        "with_probabilities": round(share, 4),
        "notes": notes,
    }
