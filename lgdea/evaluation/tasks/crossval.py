"""Cross-validated class predictions of probes on image embeddings, patients kept together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lgdea.errors import DataError
from lgdea.evaluation.config import FeaturesConfig
from lgdea.evaluation.metrics.classification import macro
from lgdea.evaluation.tasks.classifiers import LinearProbe, Standardised, neighbour_classes

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class CrossValPredictions:
    """Predicted class of every image (N,) by each probe, and notes on the fits."""

    linear: Codes
    knn: Codes
    notes: list[str]


def patient_folds(codes: Codes, patients: NDArray[np.str_], folds: int, seed: int) -> Codes:
    """Fold of each image (N,): a patient's images share one, and classes are spread as evenly as that allows.

    Raises:
        DataError: There is one patient only.
    """
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold

    folds = min(folds, len(np.unique(patients)), int(np.bincount(codes).max()))
    if folds < 2:
        raise DataError("the images are of one patient", remedy="cross-validation by patient needs two")
    result = np.zeros(len(codes), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer images than folds is absent from some
        for fold, (_, rows) in enumerate(splitter.split(codes, codes, patients)):
            result[rows] = fold
    return result


def cross_val_predict_classes(
    vectors: Floats, codes: Codes, patients: NDArray[np.str_], folds: Codes, config: FeaturesConfig
) -> CrossValPredictions:
    """Predict the class of each image by a linear probe and by its neighbours, trained on the other folds.

    Args:
        vectors: (N, D) unit embeddings.
        codes: (N,) classes.
        patients: (N,) patient of each image.
        folds: (N,) as by :func:`patient_folds`.
        config: ``costs``, ``neighbours``, ``temperature``, ``folds`` and ``seed``.
    """
    linear, knn, probe = np.zeros_like(codes), np.zeros_like(codes), LinearProbe()
    for fold in np.unique(folds):
        rest, mine = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        scale = Standardised.of(vectors[rest])
        cost = _choose_cost(probe, vectors[rest], codes[rest], patients[rest], config)
        linear[mine] = next(probe.classes(scale(vectors[rest]), codes[rest], [scale(vectors[mine])], [cost]))[1][0]
        knn[mine] = neighbour_classes(vectors[rest], codes[rest], vectors[mine], config.neighbours, config.temperature)
    return CrossValPredictions(linear, knn, probe.notes)


def _choose_cost(
    probe: LinearProbe, vectors: Floats, codes: Codes, patients: NDArray[np.str_], config: FeaturesConfig
) -> float:
    """The cost with the best balanced accuracy on a fifth of the training patients; the smallest of equally good."""
    if len(config.costs) == 1 or len(np.unique(patients)) < 2:
        return config.costs[0]
    held = patient_folds(codes, patients, config.folds, config.seed) == 0
    scale = Standardised.of(vectors[~held])
    best, chosen = -1.0, config.costs[0]
    for cost, guesses in probe.classes(scale(vectors[~held]), codes[~held], [scale(vectors[held])], config.costs):
        right = guesses[0] == codes[held]
        accuracy = float(macro([right[codes[held] == c].mean() for c in np.unique(codes[held])]))
        if accuracy > best:
            best, chosen = accuracy, cost
    return chosen
