"""Training images and reports with the state of their link, image features, and findings of reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lgdea.errors import DataError, UsageError
from lgdea.evaluation.embed import read_embeddings
from lgdea.evaluation.encoders.protocol import ImageEncoder, as_image_encoder, frame_of
from lgdea.evaluation.encoders.registry import load_encoder
from lgdea.evaluation.images import ImageSource
from lgdea.evaluation.tasks.common import embed_images
from lgdea.evidence.coverage import require_all_reports
from lgdea.evidence.io import read_evidence
from lgdea.pretraining.corpus import training_states
from lgdea.records.archive import Archive
from lgdea.records.pairing import has_links, make_pairing, read_pairing
from lgdea.vocabulary import load_vocabulary
from lgdea.vocabulary.entailment import UNSPECIFIED
from lgdea.vocabulary.phrases import canonical_phrase

if TYPE_CHECKING:
    from lgdea.models.lgdea_model import LgdeaModel

BATCH = 64
STATE = "state"


@dataclass(frozen=True)
class TrainingItems:
    """Images and reports of the training split, and whether they are linked.

    Attributes:
        images: ``image_id, study_id, patient_id, state``, the archive's order.
        reports: ``report_id, study_id, patient_id, state``; a study's first report alone, the one that its images are
            linked to.
    """

    images: pd.DataFrame
    reports: pd.DataFrame


def open_pairing(archive: Archive, pairing: pd.DataFrame | str | Path | None) -> tuple[pd.DataFrame, Path]:
    """Return the pairing and the file that errors name; None keeps all links that the archive has.

    Raises:
        DataError: The studies have no split, or the file is no pairing.
        UsageError: There is no such file.
    """
    if isinstance(pairing, str | Path):
        return read_pairing(pairing), Path(pairing)
    if pairing is not None:
        return pairing, archive.folder
    return make_pairing(archive, fraction=1.0 if has_links(archive) else 0.0), archive.folder


def training_items(archive: Archive, pairing: pd.DataFrame | str | Path | None) -> TrainingItems:
    """List the training images and reports with the state of their study.

    Args:
        archive: Its studies must be split.
        pairing: Which links are kept: a frame, or its file; None: all that the archive has.

    Raises:
        DataError: The studies have no split, or the pairing is of another archive.
    """
    frame, file = open_pairing(archive, pairing)
    states = training_states(archive, frame, source=file)
    patients = archive.studies.set_index("study_id")["patient_id"]
    sides = []
    for rows, key in ((archive.images, "image_id"), (archive.reports.drop_duplicates("study_id"), "report_id")):
        kept = rows.loc[rows["study_id"].isin(states.index), [key, "study_id"]].reset_index(drop=True)
        study = kept["study_id"]
        sides.append(kept.assign(patient_id=study.map(patients).to_numpy(), state=study.map(states).to_numpy()))
    return TrainingItems(*sides)


def image_vectors(
    archive: Archive, images: pd.DataFrame, model: str | Path | ImageEncoder | LgdeaModel, *, workers: int = 4
) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Embed images, less their mean: what all pictures have in common tells none from another.

    Args:
        archive: The archive.
        images: Rows with ``image_id``.
        model: A model, its folder or name (:func:`~lgdea.evaluation.encoders.registry.load_encoder`), or a folder
            that ``lgdea embed`` made of this archive.
        workers: Threads that read images.

    Returns:
        The rows whose image could be read, and (N, D) vectors.

    Raises:
        UsageError: There is no such model.
        DataError: None of the images can be read, or the embeddings are of other images.
    """
    if isinstance(model, str | Path) and (Path(model) / "images.npy").exists():
        kept, vectors = _stored_vectors(images, Path(model))
    else:
        encoder = load_encoder(model) if isinstance(model, str | Path) else as_image_encoder(model)
        source = ImageSource(archive, workers=workers, frame=frame_of(encoder))
        kept, vectors = embed_images(encoder, source, images, BATCH)
    if kept.empty:
        raise DataError("none of the training images can be read", file=archive.folder, remedy="check image_root")
    return kept, vectors - vectors.mean(axis=0)


def _stored_vectors(images: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    vectors, ids = read_embeddings(folder, "image")
    place = pd.Series(np.arange(len(ids)), index=ids["image_id"])[ids["error"].isna().to_numpy()]
    row = images["image_id"].map(place)
    if row.isna().all():
        raise DataError("holds no embedding of this archive's images", file=folder, remedy="embed this archive")
    kept = images[row.notna().to_numpy()].reset_index(drop=True)
    return kept, np.asarray(vectors[row.dropna().to_numpy(np.int64)])


def archive_evidence(archive: Archive, evidence: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Read the evidence of all the archive's reports.

    Raises:
        UsageError: It is of other reports, or of a part of them.
    """
    if isinstance(evidence, pd.DataFrame):
        if len(evidence) and not evidence["report_id"].isin(archive.reports["report_id"]).any():
            raise UsageError("the evidence is of other reports than this archive's", remedy="extract this archive")
        return evidence
    require_all_reports(evidence, archive)
    return read_evidence(evidence)


@dataclass(frozen=True)
class StatedFindings:
    """Findings of reports, each in general and by side where one is said.

    Attributes:
        phrases: U canonical phrases, such as ``left pleural effusion``.
        findings: Vocabulary id of each.
        present: (N, U), 1 where a report states the finding as present.
    """

    phrases: list[str]
    findings: list[str]
    present: sparse.csr_array


def stated_findings(evidence: pd.DataFrame, report_ids: pd.Series) -> StatedFindings:
    """Tabulate which findings each report states as present.

    Args:
        evidence: Rows of ``Unit``.
        report_ids: N ids, the rows of the table.
    """
    rows = pd.Series(np.arange(len(report_ids)), index=report_ids.to_numpy())
    units = evidence[(evidence["assertion"] == "present") & evidence["report_id"].isin(rows.index)]
    sided = units[units["laterality"].isin(["left", "right"])]
    keys = pd.concat([units.assign(laterality=UNSPECIFIED), sided])[["report_id", "finding", "laterality"]]
    keys = keys.drop_duplicates()
    names = [
        canonical_phrase(finding, laterality=side)
        for finding, side in zip(keys["finding"], keys["laterality"], strict=True)
    ]
    codes, phrases = pd.factorize(np.array(names, dtype=object), sort=True)
    where = (rows[keys["report_id"]].to_numpy(), codes)
    present = sparse.csr_array((np.ones(len(keys)), where), shape=(len(report_ids), len(phrases)))
    present.data[:] = 1  # two findings may have one phrase
    of_phrase = dict(zip(names, keys["finding"], strict=True))
    return StatedFindings([str(phrase) for phrase in phrases], [of_phrase[phrase] for phrase in phrases], present)


def first_unrelated(order: Iterable[int], findings: Sequence[str], count: int) -> list[int]:
    """The first of some findings that are no kinds of each other: that a granuloma is a calcification tells nothing.

    Args:
        order: Places in ``findings``, most important first.
        findings: Vocabulary ids.
        count: How many to take at most.

    Example:
        >>> first_unrelated([0, 1, 2], ["calcified_granuloma", "granuloma", "edema"], 2)
        [0, 2]
    """
    vocabulary = load_vocabulary()
    taken: list[int] = []
    for place in order:
        finding = findings[place]
        known = finding in vocabulary.findings
        kin = vocabulary.ancestors(finding) | vocabulary.descendants(finding) if known else {finding}
        if not any(findings[other] in kin for other in taken):
            taken.append(int(place))
        if len(taken) == count:
            break
    return taken
