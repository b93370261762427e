"""A cheap zero-shot check on the validation split while training; `lgdea eval` gives the numbers that count."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from lgdea.models.inference import score_phrases
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.records.archive import Archive
from lgdea.statistics.roc import auroc
from lgdea.vocabulary.phrases import class_texts

MIN_PER_SIDE = 3
"""A class needs this many positive and as many negative images to be counted."""
BATCH = 128


@dataclass(frozen=True)
class ValidationSet:
    """Validation images and their labels.

    Attributes:
        image_ids: N ids.
        classes: C finding ids.
        labels: ``(N, C)`` 1, 0 or NaN.
    """

    image_ids: list[str]
    classes: list[str]
    labels: NDArray[np.float64]


def validation_set(archive: Archive, evidence: pd.DataFrame, *, max_images: int, seed: int) -> ValidationSet | None:
    """Validation images with labels, from the archive's labels or, where it has none, from the reports' evidence.

    Returns:
        None when the archive has no validation image with a label.
    """
    studies = archive.studies.loc[archive.studies["split"] == "val", "study_id"]
    images = archive.images[archive.images["study_id"].isin(studies)]
    if len(images) > max_images:
        images = images.sample(max_images, random_state=seed)
    values = _labels(archive, evidence)
    values = values[values["study_id"].isin(images["study_id"]) & values["value"].isin([0.0, 1.0])]
    if images.empty or values.empty:
        return None
    matrix = values.pivot_table(index="study_id", columns="finding", values="value", aggfunc="max")
    labels = matrix.reindex(images["study_id"]).to_numpy(float)
    enough = ((labels == 1).sum(0) >= MIN_PER_SIDE) & ((labels == 0).sum(0) >= MIN_PER_SIDE)
    if not enough.any():
        return None
    classes = [str(c) for c, keep in zip(matrix.columns, enough, strict=True) if keep]
    return ValidationSet(images["image_id"].tolist(), classes, labels[:, enough])


def zero_shot_auroc(model: LgdeaModel, images: Tensor, data: ValidationSet) -> float:
    """Macro AUROC over classes.

    Args:
        model: The model, on any device.
        images: ``(N, 1, size, size)`` preprocessed, row by row ``data.image_ids``.
        data: Labels.
    """
    texts = [class_texts(finding) for finding in data.classes]
    scores = _scores(model, images, [positive for positive, _ in texts])
    if model.scoring != "presence":
        scores = scores - _scores(model, images, [negative for _, negative in texts])
    values = [auroc(scores[:, c], data.labels[:, c]) for c in range(len(data.classes))]
    return float(np.mean(values))


def _scores(model: LgdeaModel, images: Tensor, texts: list[list[str]]) -> NDArray[np.float32]:
    flat = [text for group in texts for text in group]
    rows = [score_phrases(model, chunk, flat).float().cpu() for chunk in torch.split(images, BATCH)]
    scores = torch.cat(rows).numpy()
    ends = np.cumsum([0, *(len(group) for group in texts)])
    return np.stack([scores[:, a:b].mean(axis=1) for a, b in pairwise(ends)], axis=1)


def _labels(archive: Archive, evidence: pd.DataFrame) -> pd.DataFrame:
    if len(archive.labels):
        return archive.labels[["study_id", "finding", "value"]]
    units = evidence.merge(archive.reports[["report_id", "study_id"]], on="report_id")
    value = units["assertion"].map({"present": 1.0, "absent": 0.0})
    return units.assign(value=value)[["study_id", "finding", "value"]]
