"""Extraction in Python: reports in, :class:`~lgdea.api.evidence.Evidence` out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from lgdea.api.evidence import Evidence
from lgdea.config import load_config
from lgdea.errors import LgdeaError, UsageError
from lgdea.evidence.backends.base import GROUP
from lgdea.evidence.config import ExtractConfig
from lgdea.evidence.io import EVIDENCE, MADE_BY, iter_rejects, read_evidence
from lgdea.evidence.language_check import list_languages
from lgdea.evidence.limits import rejected_shares
from lgdea.evidence.prompts import shipped_prompts
from lgdea.evidence.report_reader import Reports
from lgdea.evidence.runner import extract_from_config
from lgdea.evidence.schema import Unit
from lgdea.manifests import read_manifest
from lgdea.records.archive import Archive
from lgdea.records.streams import TableReader
from lgdea.runs import MANIFEST, check_output, fingerprint, require_finished
from lgdea.shipped import config_files
from lgdea.vocabulary.extension import vocabulary_of

ReportSource = str | Path | Iterable[str] | Mapping[str, str] | pd.DataFrame | Archive

_LONGEST_PATH = 1024  # characters
_TAKEN = "give a text, texts, a mapping from id to text, a data frame with report_id and text, or an archive"


def extract(
    reports: ReportSource,
    backend: str | None = None,
    model: str | None = None,
    url: str | None = None,
    prompt: str | Path | None = None,
    out: str | Path | None = None,
    *,
    lexicon: str | Path | None = None,
    config: str | Path | Sequence[str | Path] | None = None,
    max_rejected: float | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    **settings: Any,
) -> Evidence:
    """Extract evidence from radiology reports.

    Args:
        reports: One report's text; texts, whose ids are then ``"0"``, ``"1"``, ...; a mapping from report id to text; a
            data frame with the columns ``report_id`` and ``text``, and ``language`` if known; an archive or its folder.
        backend: Name of the backend: ``rules`` (default; English chest reports, no model needed), ``vllm``, ``http``,
            ``replay`` or an installed plug-in's, see :func:`lgdea.list_backends`.
        model: Language model: a hub name or folder (``vllm``), a served name (``http``).
        url: Server of the ``http`` backend, e.g. ``http://127.0.0.1:8000/v1``.
        prompt: Id or folder of a prompt for a language model (default ``evidence-v2``), see
            :func:`lgdea.list_prompts`.
        out: Evidence folder to write; an unfinished one is resumed. None keeps the evidence in memory, without the
            raw answers.
        lexicon: ``lexicon.yaml`` of the site: its headings, words and findings. A copy stays with the evidence, where
            scores, pretraining and all else read it.
        config: Configuration files, or names of shipped ones (``vllm``, ``http``), later ones win.
        max_rejected: Allowed share of rejected reports, lost questions and unaligned units, in [0, 1]; more is an
            error (the folder ``out`` is written all the same). By default the configuration's 0.05; in memory, where an
            error would lose the answers, more is only a warning.
        progress: Called as (what is being done, reports done, all reports).
        settings: Further keys of :class:`~lgdea.evidence.config.ExtractConfig`: ``limit=100``, ``workers=4``
            (processes, of the rules), ``options={"max_tokens": 4096}``, ``runner="ray"``, ``ray={"workers": 4}``.

    Returns:
        The evidence; what was left out stands with its reason in its ``rejects``, counts in its ``summary``.

    Raises:
        UsageError: The reports, the backend, the prompt or a setting do not exist, ``out`` holds another run, or the
            backend reads no report's language.
        DataError: A column is missing, or a report id is used twice.
        EvidenceError: The backend does not start, broke, or left questions unanswered.
        RejectedShareError: More was rejected than ``max_rejected``.

    Example:
        >>> evidence = lgdea.extract(["Mild cardiomegaly.", "No acute disease."])
        >>> evidence
        Evidence(2 reports, 2 units, 0 rejects; rules ...)
          0  cardiomegaly  present mild: Mild cardiomegaly
          1  no_finding  present: No acute disease.
        >>> lgdea.extract(archive, out="evidence/rules", limit=20).folder.name
        'rules'
    """
    options = {"model": model, "url": url}
    named: dict[str, Any] = {
        "backend": backend,
        "prompt": None if prompt is None else str(prompt),
        "options": {key: value for key, value in options.items() if value is not None},
        "lexicon": lexicon,
        "max_rejected": max_rejected,
    }
    names = [config] if isinstance(config, str | Path) else list(config or ())
    given = {key: value for key, value in named.items() if value is not None}
    loaded = load_config(ExtractConfig, config_files("extract", [str(name) for name in names]), [settings, given])
    source = _to_source(reports)
    if out is not None:
        extract_from_config(loaded, source, Path(out), progress)
        return _open(Path(out), Reports(source, loaded.limit))
    # An error would lose the answers, so rejects only warn unless a limit was asked for.
    mild = loaded.model_copy(
        update={"accept_unanswered": True, **({} if max_rejected is not None else {"max_rejected": 1})}
    )
    with TemporaryDirectory(prefix="lgdea-extract-") as temporary:
        folder = Path(temporary) / "evidence"
        summary = extract_from_config(mild, source, folder, progress)
        for what, share in rejected_shares(summary).items():
            if share > loaded.max_rejected:
                foreign = list_languages(summary.get("rejected_languages", {}))
                why = f" (not English: {foreign})" if foreign else ""
                warnings.warn(f"{share:.1%} of the {what} were rejected{why}; see .rejects and .summary", stacklevel=2)
        return Evidence(
            read_evidence(folder),
            tuple(iter_rejects(folder)),
            manifest=read_manifest(folder / MANIFEST),
            reports=Reports(source, loaded.limit),
            vocabulary=vocabulary_of(folder),
        )


def load_evidence(folder: str | Path, reports: ReportSource | None = None) -> Evidence:
    """Load the evidence of a finished extraction.

    Args:
        folder: Evidence folder, or a folder of corrections.
        reports: The reports that were extracted, in any form that :func:`lgdea.extract` takes, for highlighting and
            scores. None looks for the archive where it was at extraction, and takes it if its reports are the same.

    Returns:
        The evidence.

    Raises:
        UsageError: There is no such folder, it is unfinished, or ``reports`` are not those that were extracted.
        DataError: A table is damaged or of another version.

    Example:
        >>> saved = lgdea.extract(archive).save("evidence/saved")
        >>> evidence = lgdea.load_evidence(saved)
        >>> evidence == lgdea.extract(archive)
        True
        >>> evidence.for_report(evidence.report_ids[0])
        Evidence(1 report, ...
    """
    folder = require_finished(folder, what="evidence", made_by=MADE_BY)
    TableReader(
        check_output(folder / EVIDENCE), Unit, ["unit_id"]
    )  # the table is read when it is needed, but checked now
    manifest = read_manifest(folder / MANIFEST)
    if reports is None:
        return _open(folder, _find_reports(manifest))
    texts = Reports(_to_source(reports), manifest.get("config", {}).get("limit"))
    evidence = _open(folder, texts)
    _check_reports(evidence, texts)
    return evidence


def list_backends() -> list[str]:
    """List the names of the extraction backends that are installed, plug-ins included.

    Example:
        >>> lgdea.list_backends()
        ['http', 'replay', 'rules', 'vllm']
    """
    return sorted(entry.name for entry in metadata.entry_points(group=GROUP))


def list_prompts() -> list[str]:
    """List the ids of the prompts for language models that ship with lgdea.

    Example:
        >>> lgdea.list_prompts()
        ['evidence-multilingual-v1', 'evidence-multilingual-v2', 'evidence-v1', ..., 'sentence-v1', 'sentence-v2']
    """
    return shipped_prompts()


def _open(folder: Path, reports: Reports | None) -> Evidence:
    return Evidence(manifest=read_manifest(folder / MANIFEST), reports=reports, folder=folder)


def _to_source(reports: ReportSource) -> Archive | pd.DataFrame:
    """Return an archive, or a table with ``report_id`` and ``text``."""
    if isinstance(reports, Archive | pd.DataFrame):
        return reports
    if isinstance(reports, Path) or (isinstance(reports, str) and _is_path(reports)):
        return Archive.open(reports)
    if isinstance(reports, pd.Series | Mapping):
        texts: dict[str, Any] = {str(key): text for key, text in reports.items()}
    elif isinstance(reports, str):
        texts = {"0": reports}
    elif isinstance(reports, Iterable):
        texts = {str(n): text for n, text in enumerate(reports)}
    else:
        raise UsageError(f"{type(reports).__name__} holds no reports", remedy=_TAKEN)
    strange = next((key for key, text in texts.items() if not isinstance(text, str)), None)
    if strange is not None:
        raise UsageError(f"report {strange!r} is {type(texts[strange]).__name__}, not text", remedy=_TAKEN)
    return pd.DataFrame({"report_id": list(texts), "text": list(texts.values())}, dtype=object)


def _is_path(text: str) -> bool:
    """Return whether a string is a folder's path: it has no blank but a separator, or such a folder exists."""
    if not text or "\n" in text:
        return False
    looks_like_path = not any(map(str.isspace, text)) and any(sign in text for sign in ("/", os.sep))
    return looks_like_path or (len(text) < _LONGEST_PATH and Path(text).is_dir())


def _find_reports(manifest: Mapping[str, Any]) -> Reports | None:
    """Return the archive's reports if they are where they were at extraction, and still the same."""
    file = Path(manifest.get("inputs", {}).get("reports") or "")
    if not file.is_file() or fingerprint(file) != manifest.get("input_hashes", {}).get("reports"):
        return None
    try:
        return Reports(Archive.open(file.parent), manifest.get("config", {}).get("limit"))
    except LgdeaError:
        return None


def _check_reports(evidence: Evidence, reports: Reports) -> None:
    """Raise if some unit's quote does not stand in its report, or if there are more or fewer reports."""
    texts = {report.report_id: report.text for report in reports}
    units = evidence.to_frame()
    places = zip(units["report_id"], units["start"], units["end"], units["quote"], strict=True)
    is_same = all(texts.get(report, "")[start:end] == quote for report, start, end, quote in places)
    if not is_same or len(texts) != evidence.summary.get("reports", len(texts)):
        raise UsageError(
            "was extracted from other reports than these", file=evidence.folder, remedy="give those that were extracted"
        )
