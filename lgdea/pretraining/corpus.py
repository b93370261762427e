"""Training corpus: images and reports with their evidence, as arrays.

Only studies of the training split enter a corpus; validation items have a class of their own and no way into a batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.errors import DataError, UsageError
from lgdea.records.archive import Archive
from lgdea.vocabulary.entailment import ASSERTIONS, UNSPECIFIED, Key, PhraseTable

Ints = NDArray[np.int64]
AGE_BAND = 5
"""Years: dates of examination and report differ, and so do ages."""


@dataclass(frozen=True)
class Corpus:
    """The training side of an archive.

    Attributes:
        image_ids: N_I ids of images.
        report_ids: N_R ids of reports.
        report_texts: N_R texts.
        report_units: For each report, the ids of its unique units in ``phrases``.
        phrases: All phrases of the corpus.
        pairs: ``(M, 2)`` rows (image, report) of linked studies.
        hidden_pairs: ``(H, 2)`` rows of links that the pairing hides: never used in training, only to tell how good
            the propagated links are.
        unpaired_images: Rows of images without a link.
        unpaired_reports: Rows of reports without a link.
        image_groups: ``(N_I,)`` number of what an image's study has in common with others (:func:`group_numbers`).
        report_groups: ``(N_R,)`` the same of reports.
        image_patients: ``(N_I,)`` number of an image's patient.
    """

    image_ids: list[str]
    report_ids: list[str]
    report_texts: list[str]
    report_units: list[Ints]
    phrases: PhraseTable
    pairs: Ints
    hidden_pairs: Ints
    unpaired_images: Ints
    unpaired_reports: Ints
    image_groups: Ints
    report_groups: Ints
    image_patients: Ints

    def counts(self) -> dict[str, int]:
        """Numbers for the log and the model card."""
        return {
            "images": len(self.image_ids),
            "reports": len(self.report_texts),
            "linked pairs": len(self.pairs),
            "unlinked images": len(self.unpaired_images),
            "unlinked reports": len(self.unpaired_reports),
            "unique phrases": len(self.phrases),
        }


def build_corpus(
    archive: Archive, evidence: pd.DataFrame, pairing: pd.DataFrame, *, source: Path, within: Sequence[str] = ()
) -> Corpus:
    """Assemble the training items.

    Args:
        archive: Its studies must be split.
        evidence: Rows of ``Unit``.
        pairing: Rows of ``Pairing``.
        source: The pairing's file, named in errors.
        within: What an image and its report have in common, as in :func:`group_numbers`.

    Raises:
        DataError: As :func:`training_states`.
        UsageError: Nothing is left to train on.
    """
    train = training_states(archive, pairing, source=source)
    images = archive.images[archive.images["study_id"].isin(train.index)].reset_index(drop=True)
    reports = archive.reports[archive.reports["study_id"].isin(train.index)].reset_index(drop=True)
    if images.empty or reports.empty:
        missing = "images" if images.empty else "reports"
        raise UsageError(f"has no training {missing}", file=archive.folder, remedy="check the split and the pairing")
    units, report_units = _units(evidence, reports)
    rows = images.reset_index(names="image").merge(reports.reset_index(names="report"), on="study_id")
    state = rows["study_id"].map(train)
    groups = group_numbers(archive, within)
    patients = archive.studies.set_index("study_id")["patient_id"]
    linked_images = images["study_id"].map(train).eq("paired")
    linked_reports = reports["study_id"].map(train).eq("paired")
    return Corpus(
        image_ids=images["image_id"].tolist(),
        report_ids=reports["report_id"].tolist(),
        report_texts=reports["text"].tolist(),
        report_units=report_units,
        phrases=PhraseTable(units),
        pairs=_pairs(rows[state == "paired"]),
        hidden_pairs=_pairs(rows[state == "unlinked"]),
        unpaired_images=np.flatnonzero(~linked_images),
        unpaired_reports=np.flatnonzero(~linked_reports),
        image_groups=images["study_id"].map(groups).to_numpy(np.int64),
        report_groups=reports["study_id"].map(groups).to_numpy(np.int64),
        image_patients=pd.factorize(images["study_id"].map(patients))[0].astype(np.int64),
    )


def group_numbers(archive: Archive, within: Sequence[str]) -> pd.Series:
    """Number studies by what an image and its report have in common.

    Args:
        archive: Its studies.
        within: Of ``site``, ``sex`` and ``age``, in bands of five years. Missing values are one of their own.

    Returns:
        Numbers by study id; all 0 where ``within`` is empty.

    Raises:
        UsageError: No study has one of them.
    """
    studies = archive.studies
    for column in within:
        if column not in studies or studies[column].isna().all():
            raise UsageError(
                f"no study has a {column}",
                file=archive.folder / "studies.parquet",
                remedy=f"leave {column!r} out of transport.within",
            )
    keys = [studies[c] // AGE_BAND if c == "age" else studies[c] for c in within]
    numbers = studies.groupby(keys, dropna=False).ngroup() if keys else pd.Series(0, index=studies.index)
    return numbers.set_axis(studies["study_id"])


def without_images(corpus: Corpus, unreadable: set[str]) -> Corpus:
    """The corpus without images that could not be read."""
    if not unreadable:
        return corpus
    keep = np.array([image not in unreadable for image in corpus.image_ids])
    new = np.cumsum(keep) - 1

    def renumber(pairs: Ints) -> Ints:
        kept = pairs[keep[pairs[:, 0]]]
        return np.stack([new[kept[:, 0]], kept[:, 1]], axis=1)

    return Corpus(
        image_ids=[image for image, kept in zip(corpus.image_ids, keep, strict=True) if kept],
        report_ids=corpus.report_ids,
        report_texts=corpus.report_texts,
        report_units=corpus.report_units,
        phrases=corpus.phrases,
        pairs=renumber(corpus.pairs),
        hidden_pairs=renumber(corpus.hidden_pairs),
        unpaired_images=new[corpus.unpaired_images[keep[corpus.unpaired_images]]],
        unpaired_reports=corpus.unpaired_reports,
        image_groups=corpus.image_groups[keep],
        report_groups=corpus.report_groups,
        image_patients=corpus.image_patients[keep],
    )


def training_states(archive: Archive, pairing: pd.DataFrame, *, source: Path) -> pd.Series:
    """State of each training study, indexed by study id.

    Args:
        archive: Its studies must be split.
        pairing: Rows of ``Pairing``.
        source: The pairing's file, named in errors.

    Raises:
        DataError: The pairing is of another archive: it names a study that this one lacks, or lacks one of its training
            studies; or it links a study that is not in the training split.
    """
    split = archive.studies.set_index("study_id")["split"]
    unknown = ~pairing["study_id"].isin(split.index)
    if unknown.any():
        row = str(pairing.loc[unknown, "study_id"].iloc[0])
        raise DataError(
            f"names a study that the archive {archive.name!r} lacks", file=source, row=row, remedy="pair it again"
        )
    filled = archive.studies["study_id"].isin([*archive.images["study_id"], *archive.reports["study_id"]])
    needed = archive.studies.loc[filled & (archive.studies["split"] == "train"), "study_id"]
    missing = needed[~needed.isin(pairing["study_id"])]
    if len(missing):
        raise DataError(
            f"lacks {len(missing):,} training studies of the archive {archive.name!r}, first {missing.iloc[0]!r}",
            file=source,
            remedy="pair this archive",
        )
    side = pairing["study_id"].map(split)
    leak = (pairing["state"] == "paired") & (side != "train")
    if leak.any():
        row = str(pairing.loc[leak, "study_id"].iloc[0])
        raise DataError("links a study that is not in the training split", file=source, row=row, remedy="pair it again")
    return pairing[side == "train"].set_index("study_id")["state"]


def _units(evidence: pd.DataFrame, reports: pd.DataFrame) -> tuple[list[tuple[Key, int]], list[Ints]]:
    """The unique (key, status) of the reports' evidence, and each report's ids into them."""
    evidence = evidence[evidence["report_id"].isin(reports["report_id"])]
    ids: dict[tuple[Key, int], int] = {}
    of_report: dict[str, set[int]] = defaultdict(set)
    columns = [evidence[c] for c in ("report_id", "finding", "anatomy", "laterality", "severity", "assertion")]
    for report, finding, anatomy, side, severity, assertion in zip(*columns, strict=True):
        status = ASSERTIONS[assertion]
        # How severe something would be that is not there says nothing.
        key = (finding, anatomy if isinstance(anatomy, str) else None, side, severity if status > 1 else UNSPECIFIED)
        of_report[report].add(ids.setdefault((key, status), len(ids)))
    return list(ids), [np.array(sorted(of_report.get(r, ())), dtype=np.int64) for r in reports["report_id"]]


def _pairs(rows: pd.DataFrame) -> Ints:
    """(image, report); a study with several reports gives its first to each image."""
    return rows.drop_duplicates("image")[["image", "report"]].to_numpy(np.int64).reshape(-1, 2)
