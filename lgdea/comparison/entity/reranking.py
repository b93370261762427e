"""Fit of the reranker, when the embeddings are done: its reader of evidence tokens, then its weights.

Both fits are convex and have no step size or number of steps. The strengths from which the weights are learned are read
by a reader that has not seen the image's patient: of its own training images it would know too much.

Shapes: N training images, K evidence tokens, F numbers of an image's grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from lgdea.comparison.entity.ranking import EntityViews, GradedQueries
from lgdea.comparison.entity.reranker import EvidenceReader, PairReranker, strength
from lgdea.vocabulary.entailment import PRESENT, UNCERTAIN

PENALTIES = (0.03, 0.1, 0.3, 1.0)
"""Of the ridge regression, times F."""
FOLDS = 5
DOUBT = 0.5
"""Share of an entity that a report states with doubt."""
LEAST_PATIENTS = 10
"""Of fewer patients nothing is fitted."""


def fit_reader(reader: EvidenceReader, pooled: Tensor, status: NDArray[np.int8], patient: NDArray[np.int64]) -> Tensor:
    """Fit the reader by ridge regression; its penalty is the one that predicts other patients best.

    Args:
        reader: Its ``phrases`` are there; the others of its tensors are set.
        pooled: ``(N, F)``, of :meth:`EvidenceReader.pool`.
        status: ``(N, K)`` what the reports state of each entity.
        patient: ``(N,)`` number of each image's patient.

    Returns:
        Strengths (N, K) of the training images, each read without its patient; zeros if there are too few patients.
    """
    shares = np.select([status == PRESENT, status == UNCERTAIN], [1.0, DOUBT], 0.0)
    if len(np.unique(patient)) < LEAST_PATIENTS or not status.size:
        return torch.zeros(status.shape)
    base_rate, spread = shares.mean(axis=0), shares.var(axis=0) + 1e-6
    scaler = StandardScaler().fit(pooled.numpy())
    features = scaler.transform(pooled.numpy()) * pooled.shape[1] ** -0.5
    # There are many more numbers than images: the regression is solved in the products of images.
    products = (features @ features.T).astype(np.float64)
    ridges = [KernelRidge(alpha=penalty, kernel="precomputed") for penalty in PENALTIES]
    folds = GroupKFold(FOLDS)
    reads = [cross_val_predict(r, products, shares - base_rate, groups=patient, cv=folds) + base_rate for r in ridges]
    best = int(np.argmin([(np.square(read - shares) / spread).mean() for read in reads]))
    dual = ridges[best].fit(products, shares - base_rate).dual_coef_.astype(np.float32)
    weight = features.T @ dual * pooled.shape[1] ** -0.5
    values = {"mean": scaler.mean_, "scale": scaler.scale_, "weight": weight, "base_rate": base_rate}
    for name, value in values.items():
        getattr(reader, name).copy_(torch.as_tensor(value, dtype=torch.float32))
    return strength(torch.as_tensor(reads[best], dtype=torch.float32), reader.base_rate.cpu())


def fit_weights(reranker: PairReranker, views: EntityViews, graded: Sequence[GradedQueries], *, top: int) -> int:
    """Fit the reranker's weights by logistic regression of the grades of the first candidates of training images.

    A pair counts with its grade for and with the rest against agreement, an entity by the root of its queries' number.

    Args:
        reranker: Its ``weights`` are set; they stay where no two grades differ.
        views: Of the training images, with strengths that were read without their patients.
        graded: Entities with their queries.
        top: Candidates that are reranked.

    Returns:
        The number of pairs.
    """
    parts = [_pairs(reranker, views, one, top) for one in graded]
    parts = [part for part in parts if len(part[1])]
    if not parts:
        return 0
    features, grades, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    if grades.min() == grades.max():
        return len(grades)
    rows, answer = np.concatenate([features, features]), np.repeat([1, 0], len(grades))
    fitted = LogisticRegression(C=1e3, max_iter=1000).fit(
        rows, answer, sample_weight=np.concatenate([weights * grades, weights * (1 - grades)])
    )
    found = np.concatenate([fitted.coef_[0], fitted.intercept_])
    reranker.weights.copy_(torch.as_tensor(found, dtype=torch.float32))
    return len(grades)


def _pairs(
    reranker: PairReranker, views: EntityViews, one: GradedQueries, top: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What the first candidates of an entity's queries are compared by (n, 3), their grades, and weights, (n,)."""
    scores = np.where(one.known, views.similarity(one.entity, one.queries), -1.0)
    place = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    known = np.take_along_axis(one.known, place, axis=1).ravel()
    row, candidate = np.repeat(one.queries, place.shape[1])[known], place.ravel()[known]
    cpu = torch.device("cpu")
    query, other = (views.side(one.entity, rows, cpu) for rows in (row, candidate))
    features = reranker.compare(query, other, views.attention[one.entity]).double().numpy()
    grades = np.take_along_axis(one.grades, place, axis=1).ravel()[known].astype(np.float64)
    return features, grades, np.full(len(grades), max(len(one.queries), 1) ** -0.5)
