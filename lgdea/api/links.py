"""Links for Python users: which to make next, bringing in those that were made, and which to doubt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from lgdea.api.evidence import Evidence
from lgdea.linking import doubt, suggest
from lgdea.records import links
from lgdea.records.archive import Archive
from lgdea.records.csv_io import write_spreadsheet

if TYPE_CHECKING:
    from lgdea.evaluation.encoders.protocol import ImageEncoder
    from lgdea.models.lgdea_model import LgdeaModel

EvidenceSource = Evidence | pd.DataFrame | str | Path


def suggest_links(
    archive: Archive | str | Path,
    budget: int,
    *,
    model: str | Path | ImageEncoder | LgdeaModel | None = None,
    evidence: EvidenceSource | None = None,
    pairing: pd.DataFrame | str | Path | None = None,
    strategy: suggest.Strategy | None = None,
    seed: int = 0,
    out: str | Path | None = None,
) -> pd.DataFrame:
    """Suggest which training studies to link next: those whose image, or report, stands for the most.

    Only training studies without a link are suggested, each patient once before any is suggested twice. What is linked
    counts as covered.

    Args:
        archive: Archive or its folder; its studies must be split.
        budget: Number of studies to suggest.
        model: What embeds the images: a model, its folder, a name that ``lgdea eval`` takes, or a folder of
            ``lgdea embed``. It needs no training on this archive.
        evidence: Evidence of the archive's reports, or its folder.
        pairing: Links that are there; None: all that the archive has.
        strategy: ``images``: facility location over the images' neighbours; ``k-centre``: images farthest from all
            linked ones; ``rare``: reports whose findings few links show, rare ones first, and between them as many by
            chance; ``both``: such reports, and between them as many of ``images``; ``random``. None: ``both``,
            ``images`` or ``rare``, by what is given.
        seed: Seed of ``random`` and of the random links that the coverage is compared with.
        out: CSV file to write, in which the empty one of ``image_id`` and ``report_id`` is to be filled in; then
            :func:`link_archive`, or `lgdea data pair --links`, reads it.

    Returns:
        Rows ``rank, patient_id, study_id, image_id, report_id, reason``; ``attrs["coverage"]`` lists what links cover
        ``before`` and ``after``, and after as many ``random`` ones.

    Raises:
        UsageError: There are fewer studies without a link than ``budget``, the strategy lacks its model or evidence, or
            the evidence is of another archive.
        DataError: The studies have no split, or the pairing is of another archive.

    Example:
        >>> few = lgdea.make_pairing(archive, fraction=0.1)
        >>> rows = lgdea.suggest_links(archive, 2, evidence=lgdea.extract(archive), pairing=few, out="make.csv")
        >>> list(rows["rank"]), bool((rows["image_id"] == "").all())  # reports whose image is to be found
        ([1, 2], True)
        >>> [row["measure"] for row in rows.attrs["coverage"]][0]
        'findings with 1 linked report or more'
    """
    table = suggest.suggest_links(
        _open(archive),
        budget,
        model=model,
        evidence=None if evidence is None else _frame(evidence),
        pairing=pairing,
        strategy=strategy,
        seed=seed,
    )
    if out is not None:
        _write_rows(out, table)
    return table


def link_archive(archive: Archive | str | Path, files: str | Path | Sequence[str | Path], out: str | Path) -> Archive:
    """Write an archive with links that somebody has made: linked images stand in the study of their report.

    Args:
        archive: Archive or its folder; it stays as it is.
        files: Spreadsheets with ``image_id`` and ``report_id``, such as :func:`suggest_links` writes; rows in which one
            of the two is empty are passed over. The archive's name in front of an id may be left out.
        out: Folder of the new archive. Evidence of the old one's reports is that of the new one too.

    Returns:
        The new archive.

    Raises:
        UsageError: No row is filled in, or ``out`` holds another archive.
        DataError: An id is unknown or linked twice, a study has the other side already, or the link would join two
            known patients or two sides of the split; the message names file and row.

    Example:
        >>> images = pd.DataFrame({"study_id": [1], "path": [archive.image_path(archive.images["image_id"][0])]})
        >>> reports = pd.DataFrame({"study_id": [2], "text": ["Small left effusion."]})
        >>> apart = lgdea.build_archive("apart", images=images, reports=reports, out=folder / "apart")
        >>> rows = pd.DataFrame({"image_id": apart.images["image_id"], "report_id": apart.reports["report_id"]})
        >>> rows.to_csv(folder / "filled.csv", index=False)
        >>> lgdea.link_archive(apart, folder / "filled.csv", folder / "linked").studies["study_id"].tolist()
        ['apart:2']
    """
    named = [files] if isinstance(files, str | Path) else list(files)
    return links.link_archive(_open(archive), named, out)[0]


def doubt_links(
    archive: Archive | str | Path,
    evidence: EvidenceSource,
    model: str | Path | ImageEncoder | LgdeaModel,
    *,
    pairing: pd.DataFrame | str | Path | None = None,
    folds: int = 5,
    wrong_share: float = 0.05,
    seed: int = 0,
    out: str | Path | None = None,
) -> pd.DataFrame:
    """Rank the linked training pairs by how far image and report disagree, the most doubtful first.

    Linear heads on the model's image embeddings learn the reports' findings from the other folds' patients, so that no
    pair is judged by heads that have seen it. What wrong links look like is known from the same reports beside images
    of other patients.

    Args:
        archive: Archive or its folder; its studies must be split.
        evidence: Evidence of the archive's reports, or its folder.
        model: What embeds the images, as of :func:`suggest_links`. A model that was pretrained on the links that it is
            to judge is refused; where that cannot be known it is logged.
        pairing: Links to judge; None: all that the archive has.
        folds: Parts, by patient, of which each is judged by heads trained on the others.
        wrong_share: Share of links that you think are wrong; it scales ``p_wrong`` and changes no rank.
        seed: Seed of folds and re-pairings.
        out: CSV file to write; `lgdea data pair --except` hides the links whose column ``wrong`` is filled in.

    Returns:
        A row per linked image, ``rank, patient_id, study_id, image_id, report_id, p_wrong, disagreement, reason,
        wrong``: ``p_wrong`` is the probability that the link is wrong if ``wrong_share`` of all are; ``disagreement``
        the share of re-paired links that agree better, evenly spread in [0, 1] for wrong links; ``reason`` the
        findings that disagree most. ``attrs``: ``separation``, the AUROC of linked against re-paired pairs (0.5: the
        embeddings tell nothing), and ``most_wrong``, a bound of the share of wrong links.

    Raises:
        UsageError: There are no links, the model has seen them, or the evidence is of another archive.
        DataError: There are too few links to learn from, or the pairing is of another archive.

    Example:
        >>> rows = lgdea.doubt_links(archive, lgdea.extract(archive), model, folds=3, out="doubts.csv")
        >>> list(rows["rank"][:3]), rows["disagreement"].is_monotonic_decreasing
        ([1, 2, 3], True)
    """
    table = doubt.doubt_links(
        _open(archive),
        _frame(evidence),
        model,
        pairing=pairing,
        folds=folds,
        wrong_share=wrong_share,
        seed=seed,
    )
    if out is not None:
        _write_rows(out, table)
    return table


def _write_rows(file: str | Path, table: pd.DataFrame) -> None:
    """Write a table as a spreadsheet."""
    rows = ({str(key): value for key, value in row.items()} for row in table.to_dict("records"))
    write_spreadsheet(file, [str(column) for column in table], rows)


def _open(archive: Archive | str | Path) -> Archive:
    return archive if isinstance(archive, Archive) else Archive.open(archive)


def _frame(evidence: EvidenceSource) -> pd.DataFrame | str | Path:
    if not isinstance(evidence, Evidence):
        return evidence
    return evidence.folder if evidence.folder is not None else evidence.to_frame()
