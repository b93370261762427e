"""Which links to doubt: linked pairs whose image and report disagree under heads that have not seen the link."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.errors import DataError, UsageError
from lgdea.evaluation.encoders.protocol import model_name
from lgdea.linking.agreement import Statements, agreement, cross_fit, most_wrong, probability_wrong, statements
from lgdea.linking.inputs import archive_evidence, first_unrelated, image_vectors, open_pairing, training_items
from lgdea.linking.seen import refuse_seen_links
from lgdea.pretraining.corpus import Corpus, build_corpus, without_images

if TYPE_CHECKING:
    from lgdea.evaluation.encoders.protocol import ImageEncoder
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive

COLUMNS = ("rank", "patient_id", "study_id", "image_id", "report_id", "p_wrong", "disagreement", "reason", "wrong")
SHOWN = 3
UNRELIABLE = 0.6
_log = logging.getLogger(__name__)


def doubt_links(
    archive: Archive,
    evidence: str | Path | pd.DataFrame,
    model: str | Path | ImageEncoder | LgdeaModel,
    *,
    pairing: pd.DataFrame | str | Path | None = None,
    folds: int = 5,
    wrong_share: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank the linked training pairs by how far image and report disagree; see :func:`lgdea.doubt_links`."""
    if not 0 < wrong_share < 1:
        raise UsageError(f"a share of {wrong_share} wrong links is not in (0, 1)", remedy="0.05 means 5%")
    if folds < 3:
        raise UsageError(f"{folds} folds are too few to judge and to calibrate", remedy="give at least 3")
    links, source = open_pairing(archive, pairing)
    images = training_items(archive, pairing).images
    images = images[images["state"] == "paired"].reset_index(drop=True)
    if images.empty:
        raise UsageError("has no linked training study", file=archive.folder, remedy="there is nothing to doubt")
    if isinstance(model, str | Path):
        unknown = refuse_seen_links(model, archive, set(images["study_id"]))
        if unknown is not None:
            _log.warning("%s: %s; what it has been trained on is doubted too little", model_name(model), unknown)
        if str(model).endswith("@random"):
            _log.warning("%s: random weights know nothing of images: give a trained model", model)
    rows = archive_evidence(archive, evidence)
    corpus = build_corpus(archive, rows, links, source=source)
    kept, vectors = image_vectors(archive, images, model)
    readable = dict(zip(kept["image_id"], range(len(kept)), strict=True))
    corpus = without_images(corpus, set(corpus.image_ids) - set(readable))
    order = np.array([readable[corpus.image_ids[image]] for image in corpus.pairs[:, 0]], dtype=np.int64)
    kept = kept.iloc[order].reset_index(drop=True)
    kept = kept.assign(report_id=[corpus.report_ids[report] for report in corpus.pairs[:, 1]])
    return judge_pairs(kept, corpus, vectors[order], folds=folds, wrong_share=wrong_share, seed=seed)


def judge_pairs(
    pairs: pd.DataFrame,
    corpus: Corpus,
    vectors: np.ndarray,
    *,
    folds: int = 5,
    wrong_share: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank linked pairs whose image features are known.

    Args:
        pairs: M rows ``image_id, study_id, patient_id, report_id``, in the order of ``corpus.pairs``.
        corpus: Training items and their evidence.
        vectors: (M, D) features of the pairs' images.
        folds: See :func:`lgdea.doubt_links`.
        wrong_share: See :func:`lgdea.doubt_links`.
        seed: Seed of folds and re-pairings.

    Returns:
        Columns :data:`COLUMNS`; ``attrs`` holds ``separation`` and ``most_wrong``.
    """
    patients = pd.factorize(pairs["patient_id"])[0]
    if (count := int(patients.max(initial=-1)) + 1) < 2 * folds:
        raise DataError(
            f"{count} linked patients are too few for {folds} folds, which take {2 * folds}",
            remedy="link more studies" + (f", or take at most {count // 2} folds" if count >= 4 else ""),
        )
    said = statements(corpus)
    rng = np.random.default_rng(seed)
    fold = rng.permutation(patients.max() + 1)[patients] % folds
    probability = cross_fit(np.asarray(vectors, np.float64), said.labels, fold)
    found = agreement(probability, said.labels, patients, fold, rng)
    sorted_null = np.sort(found.repaired)
    table = pairs.assign(
        score=found.score,
        p_wrong=probability_wrong(found.score, found.repaired, wrong_share).round(4),
        disagreement=(1 - np.searchsorted(sorted_null, found.score, side="right") / len(sorted_null)).round(4),
        reason=_reasons(found.by_finding, probability, said),
        wrong="",
    )
    table = table.sort_values("score", kind="stable").reset_index(drop=True)
    table["rank"] = range(1, len(table) + 1)
    table = table[list(COLUMNS)]
    table.attrs = {
        "links": len(table),
        "findings": len(said.phrases),
        "separation": round(found.auroc, 4),
        "most_wrong": round(most_wrong(found.score, found.repaired), 4),
        "wrong_share": wrong_share,
    }
    if found.auroc < UNRELIABLE:
        _log.warning(
            "the image features hardly tell links from re-paired ones (AUROC %.2f, chance is 0.5): give another model",
            found.auroc,
        )
    return table


def _reasons(by_finding: NDArray[np.float64], probability: NDArray[np.float64], said: Statements) -> list[str]:
    """The findings that disagree most: what the report says, and how probable the image makes it."""
    labels, rate, reasons = said.labels, np.nanmean(said.labels, axis=0), []
    for parts, p, stated in zip(by_finding, probability, labels, strict=True):
        worst = np.argsort(parts, kind="stable")[: (parts < 0).sum()]
        told = [
            f"{said.phrases[u]} {'stated' if stated[u] == 1 else 'not stated'}, image {p[u]:.0%} (usual {rate[u]:.0%})"
            for u in first_unrelated(worst, said.findings, SHOWN)
        ]
        reasons.append("; ".join(told) or "nothing disagrees")
    return reasons
