"""Evidence in Python: a sequence of typed units that can be shown, tabulated, scored and saved."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import pandas as pd

from lgdea.errors import UsageError
from lgdea.evidence.io import (
    EVIDENCE,
    QUALITY,
    REJECTS,
    Reject,
    iter_rejects,
    read_evidence,
    rejects_writer,
    written_files,
)
from lgdea.evidence.report_reader import Reports
from lgdea.evidence.schema import Unit
from lgdea.records.streams import TableWriter
from lgdea.runs import atomic, finish, is_finished, record, start, write_json
from lgdea.vocabulary import Vocabulary, using_vocabulary
from lgdea.vocabulary.extension import vocabulary_of, write_lexicon

if TYPE_CHECKING:
    from lgdea.annotation.scoring import EvidenceScores
    from lgdea.records.archive import Archive

Uncertain = Literal["ignore", "present", "absent"]

_REPORTS_SHOWN = 5
_UNITS_SHOWN = 8
_SUMMARY = ("asked", "seconds", "reports_per_second", "tokens", "resumed", "verified")
"""Counts of a run that are not in its ``quality.json``."""


class Evidence(Sequence[Unit]):
    """The evidence of some reports: an immutable sequence of :class:`~lgdea.evidence.schema.Unit`.

    Made by :func:`lgdea.extract` and :func:`lgdea.load_evidence`. The units are rows of one table and become objects
    only when they are asked for. A slice is :class:`Evidence` too. In a notebook it shows itself as highlighted
    reports.

    Args:
        units: Rows of :class:`~lgdea.evidence.schema.Unit` in the order of the reports; None reads them from ``folder``
            when they are first needed.
        rejects: Statements and questions that are not among the units, each with its reason; None as for ``units``.
        manifest: What made them, as in ``run.json``: ``config``, ``input_hashes``, ``summary``, ``run_id``; None for a
            part of a run.
        reports: The reports that were read, None when their texts are not at hand.
        report_ids: Their ids, where they are not all of ``reports``.
        folder: The folder that holds this evidence, None when it is only in memory.
        vocabulary: What it was made with; None takes the folder's.

    Example:
        >>> evidence = lgdea.extract("FINDINGS: Small left pleural effusion. No pneumothorax.")
        >>> len(evidence), evidence[0].finding, evidence[0].laterality
        (2, 'pleural_effusion', 'left')
        >>> [unit.quote for unit in evidence if unit.assertion == "absent"]
        ['No pneumothorax']
        >>> evidence.findings()
        finding    pleural_effusion  pneumothorax
        report_id
        0                       1.0           0.0
    """

    def __init__(
        self,
        units: pd.DataFrame | None = None,
        rejects: Sequence[Reject] | None = None,
        *,
        manifest: Mapping[str, Any] | None = None,
        reports: Reports | None = None,
        report_ids: Sequence[str] | None = None,
        folder: Path | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self._given_vocabulary = vocabulary
        self._given = None if units is None else units.reset_index(drop=True)
        self._given_rejects = None if rejects is None else tuple(rejects)
        self._manifest = manifest
        self._reports = reports
        self._report_ids = None if report_ids is None else list(report_ids)
        self._folder = folder

    @property
    def folder(self) -> Path | None:
        """The folder that holds this evidence, None when it is only in memory."""
        return self._folder

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary that it was made with, which holds the site's lexicon if one was given."""
        return self._given_vocabulary or vocabulary_of(self._folder)

    @cached_property
    def rejects(self) -> tuple[Reject, ...]:
        """Statements and questions that are not among the units, each with its reason."""
        if self._given_rejects is not None:
            return self._given_rejects
        has_file = self._folder is not None and (self._folder / REJECTS).is_file()
        return tuple(iter_rejects(self._folder)) if self._folder is not None and has_file else ()

    @cached_property
    def _units(self) -> pd.DataFrame:
        if self._given is not None:
            return self._given
        assert self._folder is not None, "evidence has units or a folder"
        return read_evidence(self._folder)

    # -- a sequence of units -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._units)

    @overload
    def __getitem__(self, index: int) -> Unit: ...
    @overload
    def __getitem__(self, index: slice) -> Evidence: ...
    def __getitem__(self, index: int | slice) -> Unit | Evidence:
        if isinstance(index, slice):
            return Evidence(self._units.iloc[index], (), reports=self._reports, vocabulary=self.vocabulary)
        return next(_to_units(self._units.iloc[[index]]))

    def __iter__(self) -> Iterator[Unit]:
        return _to_units(self._units)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Evidence):
            return NotImplemented
        return self._units.equals(other._units) and self.rejects == other.rejects

    __hash__ = None  # type: ignore[assignment]  # equal by content, like a list

    # -- views ---------------------------------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the table: one row per unit, the fields of :class:`~lgdea.evidence.schema.Unit`."""
        return self._units.copy()

    def for_report(self, report_id: str) -> Evidence:
        """Return the evidence of one report, empty when it has none.

        Args:
            report_id: Id of the report.

        Raises:
            UsageError: No such report was read.
        """
        rows = self._rows_of.get(report_id, [])
        rejects = [reject for reject in self.rejects if reject.report_id == report_id]
        if not len(rows) and not rejects and report_id not in set(self.report_ids):
            raise UsageError(f"no report {report_id!r} in this evidence", remedy="see .report_ids")
        units = self._units.iloc[rows]
        return Evidence(units, rejects, reports=self._reports, report_ids=[report_id], vocabulary=self.vocabulary)

    def findings(self, uncertain: Uncertain = "ignore") -> pd.DataFrame:
        """Return which findings each report states, as labels.

        A report states a finding as its most certain unit does: present before uncertain before absent, as the CheXpert
        labeller aggregates mentions (Irvin et al., AAAI 2019). Findings are taken as stated: neither their kinds nor
        what they are a kind of are filled in.

        Args:
            uncertain: Value of a finding that is uncertain at best: ``ignore`` is NaN, as torchxrayvision reads
                CheXpert's -1; ``present`` and ``absent`` are 1 and 0, CheXpert's U-Ones and U-Zeros.

        Returns:
            Reports x findings, float64: 1 present, 0 absent, NaN no information. Rows are :attr:`report_ids`, columns
            the findings that some unit names, in the vocabulary's order.

        Raises:
            UsageError: ``uncertain`` is something else.
        """
        values = {"ignore": float("nan"), "present": 1.0, "absent": 0.0}
        if uncertain not in values:
            raise UsageError(f"uncertain is {uncertain!r}", remedy=f"write one of {', '.join(values)}")
        rank = self._units["assertion"].map({"absent": 0, "uncertain": 1, "present": 2})
        best = rank.groupby([self._units["report_id"], self._units["finding"]]).max().unstack()
        named = set(best.columns)
        columns = pd.Index([key for key in self.vocabulary.findings if key in named], name="finding")
        labels = best.replace({0: 0.0, 1: values[uncertain], 2: 1.0}).astype(float)
        return labels.reindex(index=pd.Index(self.report_ids, name="report_id"), columns=columns)

    @cached_property
    def report_ids(self) -> list[str]:
        """Ids of the reports that were read; of a part, or without the texts, those that have a unit or a reject."""
        if self._report_ids is not None:
            return self._report_ids
        if self._manifest is not None and self._reports is not None:
            return [report.report_id for report in self._reports]
        known = dict.fromkeys(self._units["report_id"].astype(str))
        return list(known | dict.fromkeys(reject.report_id for reject in self.rejects))

    @cached_property
    def reports(self) -> dict[str, str] | None:
        """Raw text per report id, None when the texts are not at hand (give them to :func:`lgdea.load_evidence`)."""
        return None if self._reports is None else {report.report_id: report.text for report in self._reports}

    @property
    def summary(self) -> dict[str, Any]:
        """Counts of the run: reports, units, rejects by reason, alignment, units per finding, speed, tokens."""
        return dict((self._manifest or {}).get("summary") or {})

    @property
    def run_id(self) -> str | None:
        """Hash of what made the evidence: the same reports, backend and prompt have the same."""
        return (self._manifest or {}).get("run_id")

    # -- scores and files ----------------------------------------------------------------------------------------

    def score(self, gold: str | Path | Evidence, archive: Archive | str | Path | None = None) -> EvidenceScores:
        """Score the evidence against a gold standard.

        Args:
            gold: ``openi-14``, ``openi-mesh`` or ``phantom``, which the archive holds; a folder of corrections; or
                other evidence of the same reports, which is taken for true.
            archive: The archive that was extracted; may be left out when :func:`lgdea.extract` was given it, or
                where ``gold`` is evidence.

        Returns:
            Precision, recall and F1 with 95% intervals per class, micro and macro; see
            :mod:`lgdea.annotation.scoring`.

        Raises:
            UsageError: The gold is unknown, the archive does not hold it or has other reports, or this is a part of a
                run, whose missing units would count as missed.
        """
        from lgdea.annotation.scoring import score, score_against_units
        from lgdea.records.archive import Archive

        self._require_run("scored")
        if isinstance(gold, Evidence):
            with using_vocabulary(self.vocabulary):
                return score_against_units(self._units, gold._units, *self._reports_shared_with(gold))
        archive = archive if archive is not None else self._archive_folder
        if archive is None:
            raise UsageError(f"the gold {str(gold)!r} needs its archive", remedy="give the archive that was extracted")
        archive = archive if isinstance(archive, Archive) else Archive.open(archive)
        if self._folder is not None:
            return score(self._folder, str(gold), archive)
        self._require_same_reports(archive)
        with using_vocabulary(self.vocabulary):
            return score(self._units, str(gold), archive, asked=self.report_ids)

    def save(self, folder: str | Path) -> Path:
        """Save the evidence as a folder that every command takes (``pretrain``, ``report``, ``extract page``, ...).

        Evidence of a folder is copied with its raw answers; those of an extraction in memory are not kept.

        Args:
            folder: A folder that does not exist, or that holds this evidence already.

        Returns:
            The folder.

        Raises:
            UsageError: The folder holds something else, or this is a part of a run.
        """
        manifest = self._require_run("saved")
        folder = Path(folder)
        if is_finished(folder) and Evidence(folder=folder) == self:
            return folder
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError("exists and holds something else", file=folder, remedy="choose a new folder")
        with atomic(folder) as temporary:
            if self._folder is not None:
                shutil.copytree(self._folder, temporary)
            else:
                self._write(temporary, manifest)
            if folder.exists():
                folder.rmdir()
        return folder

    def _write(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        start(folder, stage=manifest["stage"], config=manifest["config"], inputs={})
        write_lexicon(self.vocabulary.site, folder)
        with TableWriter(folder / EVIDENCE, Unit) as table:
            for unit in self:
                table.write([unit])
        with rejects_writer(folder / REJECTS) as write_rejects:
            write_rejects(self.rejects)
        write_json(folder / QUALITY, {k: v for k, v in self.summary.items() if k not in _SUMMARY})
        record(folder, inputs=manifest["inputs"], input_hashes=manifest["input_hashes"])
        finish(folder, written_files(folder), summary=self.summary, run_id=self.run_id)

    # -- shown ---------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        from lgdea.annotation.compare_runs import describe

        backend = (self._manifest or {}).get("config", {}).get("backend", {})
        made_by = " ".join(str(backend[key]) for key in ("backend", "model", "version") if backend.get(key))
        head = ", ".join(self._counts())
        lines = [f"Evidence({head}{f'; {made_by}' if made_by else ''})"]
        lines += [f"  {unit.report_id}  {unit.finding}  {describe(unit)}" for unit in self[:_UNITS_SHOWN]]
        if len(self) > _UNITS_SHOWN:
            lines.append(f"  ... {len(self) - _UNITS_SHOWN:,} more")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from lgdea.reporting.notebook import evidence_html

        ids = list(dict.fromkeys(self._units["report_id"]))[:_REPORTS_SHOWN]
        ids = ids or self.report_ids[:_REPORTS_SHOWN]
        texts = self._find_texts(ids)
        shown = [(key, texts.get(key), self._units.iloc[self._rows_of.get(key, [])]) for key in ids]
        counts = [*self._counts(), *([f"{len(ids):,} shown"] if len(ids) < len(self.report_ids) else [])]
        return evidence_html(", ".join(counts), shown)

    # -- what the above share ------------------------------------------------------------------------------------

    def _counts(self) -> list[str]:
        counts = {"report": len(self.report_ids), "unit": len(self), "reject": len(self.rejects)}
        return [f"{count:,} {what}{'' if count == 1 else 's'}" for what, count in counts.items()]

    @cached_property
    def _rows_of(self) -> dict[Any, Any]:
        return dict(self._units.groupby("report_id", sort=False).indices)

    def _find_texts(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the texts of a few reports without reading all."""
        wanted = set(ids)
        reports = iter(self._reports or ())
        return {r.report_id: r.text for r in islice((r for r in reports if r.report_id in wanted), len(wanted))}

    @property
    def _archive_folder(self) -> Path | None:
        file = None if self._reports is None else self._reports.inputs.get("reports")
        return None if file is None else Path(file).parent

    def _require_run(self, purpose: str) -> Mapping[str, Any]:
        if self._manifest is None:
            raise UsageError(f"a part of a run cannot be {purpose}", remedy="take the whole Evidence")
        return self._manifest

    def _require_same_reports(self, archive: Archive) -> None:
        known = self.reports or {}
        if sum(known.get(report.report_id) == report.text for report in Reports(archive)) < len(known):
            raise UsageError(
                "the evidence was extracted from other reports than this archive's",
                file=archive.folder,
                remedy="give the archive that was extracted, or extract this one",
            )

    def _reports_shared_with(self, gold: Evidence) -> tuple[list[str], dict[str, str]]:
        """Return the reports that both have read, without those of which the gold has lost a part, and the texts."""
        gold._require_run("a gold standard")
        mine, theirs = self.reports or {}, gold.reports or {}
        known = set(gold.report_ids) - {reject.report_id for reject in gold.rejects if reject.unit is None}
        shared = [key for key in self.report_ids if key in known]
        if not shared or any(mine[key] != theirs[key] for key in shared if key in mine and key in theirs):
            raise UsageError("the gold is evidence of other reports", remedy="extract both from the same reports")
        return shared, {**theirs, **mine}


def _to_units(table: pd.DataFrame) -> Iterator[Unit]:
    for at in range(0, len(table), 4096):  # rows that exist twice at a time
        part = table.iloc[at : at + 4096].astype(object)
        for row in part.where(part.notna(), None).to_dict("records"):
            yield Unit.model_validate(row)
