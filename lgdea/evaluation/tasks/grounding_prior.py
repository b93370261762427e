"""Pointing accuracy without looking at the image: of the best fixed place, and of the best one per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.errors import DataError
from lgdea.evaluation.config import GroundingConfig
from lgdea.evaluation.metrics import grounding as metrics
from lgdea.evaluation.tasks import common

if TYPE_CHECKING:
    from lgdea.records.archive import Archive

Floats = NDArray[np.float64]
FOLDS = 5
Place = tuple[float, float]


def add_prior(items: pd.DataFrame, boxes: pd.DataFrame, archive: Archive, config: GroundingConfig) -> list[str]:
    """Add ``pointing_prior`` and ``pointing_class_prior`` to ``items``; NaN where no place could be chosen.

    The places are chosen on the boxes of ``config.prior_splits`` without the patients that are scored. Where none are
    left, on the scored patients themselves in five folds, each with the places of the other four.

    Args:
        items: Scored (image, phrase) with ``image_id, phrase, patient_id, class``.
        boxes: Their boxes, of :func:`common.phrase_boxes`.
        archive: Has the boxes of the other splits.
        config: ``prior_splits``, ``pointing_tolerance_pixels`` and ``seed``.

    Returns:
        A note on where the places come from.
    """
    others = _other_boxes(archive, set(boxes["patient_id"]), config.prior_splits)
    if len(others):
        by_fold = {0: _places(*_shares(others, np.zeros(len(others), int)))}
        fold_of = dict.fromkeys(boxes["patient_id"].unique(), 0)
        note = f"pointing priors: places chosen on {len(others)} boxes of {' and '.join(config.prior_splits)}"
    else:
        patients = np.random.default_rng(config.seed).permutation(np.sort(boxes["patient_id"].unique().astype(str)))
        fold_of = {patient: i % FOLDS for i, patient in enumerate(patients)}
        shares, fold = _shares(boxes, boxes["patient_id"].map(fold_of).to_numpy(int))
        by_fold = {f: _places(shares, fold, without=f) for f in range(FOLDS)}
        note = f"pointing priors: places chosen on the scored boxes themselves, in {FOLDS} folds by patient"
    edges, sizes = boxes[common.BOX_EDGES].to_numpy(float), boxes[["height", "width"]].to_numpy(int)
    groups = boxes.reset_index(drop=True).groupby(["image_id", "phrase"], sort=False).indices
    found: dict[str, list[float]] = {"pointing_prior": [], "pointing_class_prior": []}
    for item in items[["image_id", "phrase", "patient_id", "class"]].to_dict("records"):
        rows, places = groups[item["image_id"], item["phrase"]], by_fold[fold_of[item["patient_id"]]]
        for column, key in (("pointing_prior", None), ("pointing_class_prior", item["class"])):
            height, width = sizes[rows[0]]
            found[column].append(
                float(metrics.point_hit(places[key], edges[rows], height, width, config.pointing_tolerance_pixels))
                if key in places
                else float("nan")
            )
    for column, hits in found.items():
        items[column] = hits
    return [note]


def _other_boxes(archive: Archive, patients: set[str], splits: tuple[str, ...]) -> pd.DataFrame:
    tables = []
    for split in splits:
        try:
            table = common.phrase_boxes(archive, split)
        except DataError:  # no image or no box there
            continue
        tables.append(table[~table["patient_id"].isin(patients)])
    return pd.concat(tables).drop_duplicates("box_id") if tables else pd.DataFrame()


def _shares(
    boxes: pd.DataFrame, folds: NDArray[np.int_]
) -> tuple[dict[tuple[int, str], Floats], dict[tuple[int, str], int]]:
    """Number of items that cover each cell, and by how many (image, phrase), for each fold and class."""
    covered: dict[tuple[int, str], Floats] = {}
    count: dict[tuple[int, str], int] = {}
    edges, sizes = boxes[common.BOX_EDGES].to_numpy(float), boxes[["height", "width"]].to_numpy(int)
    classes = boxes["finding"].to_numpy()
    for rows in boxes.reset_index(drop=True).groupby(["image_id", "phrase"], sort=False).indices.values():
        key = int(folds[rows[0]]), str(classes[rows[0]])
        mask = metrics.coverage(edges[rows], *sizes[rows[0]])
        covered[key] = np.add(covered.get(key, 0.0), mask)
        count[key] = count.get(key, 0) + 1
    return covered, count


def _places(
    covered: dict[tuple[int, str], Floats], count: dict[tuple[int, str], int], without: int | None = None
) -> dict[str | None, Place]:
    """The best place of each class, and under None that of all classes, which weigh the same; of all folds but one."""
    sums: dict[str, Floats] = {}
    numbers: dict[str, int] = {}
    for (fold, name), mask in covered.items():
        if fold != without:
            sums[name] = np.add(sums.get(name, 0.0), mask)
            numbers[name] = numbers.get(name, 0) + count[fold, name]
    if not sums:
        return {}
    shares = {name: total / numbers[name] for name, total in sums.items()}
    places: dict[str | None, Place] = {name: metrics.best_place(share) for name, share in shares.items()}
    return places | {None: metrics.best_place(np.mean(list(shares.values()), axis=0))}
