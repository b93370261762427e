"""Classifiers on frozen embeddings: logistic regression and nearest neighbours, for several labels or for one.

Letters: N training items, Q queries, D dimensions, C labels. Labels are 1 present, 0 absent, NaN unknown (the item is
left out for that label). A label of which the training items know only one kind cannot be learnt: its scores are all
0, which ranks by chance.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_CELLS = 4_000_000  # similarities held at once: about 32 MB
_ITERATIONS = 1000


def nested_subsets(patients: ArrayLike, fractions: Sequence[float], draws: int, seed: int) -> dict[float, list[Bools]]:
    """Training subsets by patient: within a draw each fraction's patients are among those of every larger one.

    Args:
        patients: (N,) patient of each training item.
        fractions: Shares of the patients, in (0, 1]; at least one patient is taken.
        draws: Random orders of the patients; a fraction of 1 has one subset, since there is nothing to draw.
        seed: Of the orders.

    Returns:
        Fraction to its subsets, masks (N,).
    """
    names, codes = np.unique(np.asarray(patients), return_inverse=True)
    subsets: dict[float, list[Bools]] = {fraction: [] for fraction in fractions}
    for draw in range(draws):
        place = np.random.default_rng([seed, draw]).permutation(len(names))
        for fraction in fractions:
            if fraction < 1 or draw == 0:
                subsets[fraction].append(place[codes] < max(1, round(fraction * len(names))))
    return subsets


@dataclass
class Standardised:
    """Features with mean 0 and deviation 1 over the items it was made from; a constant feature is only centred."""

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, vectors: Floats) -> Standardised:
        """Fit to ``vectors`` (N, D)."""
        deviation = vectors.std(axis=0)
        # A feature that is constant but for rounding must not be blown up to deviation 1.
        floor = 1e-6 * max(float(np.abs(vectors).max(initial=0)), 1e-30)
        return cls(vectors.mean(axis=0), np.where(deviation > floor, deviation, 1.0))

    def __call__(self, vectors: Floats) -> Floats:
        """The same scaling of other items (Q, D)."""
        return np.asarray((vectors - self.mean) / self.deviation)


@dataclass
class LinearProbe:
    """Logistic regression with an L2 penalty, one per label or, for classes, one for all (multinomial).

    ``tried`` and ``stopped`` count the fits and those that the limit of iterations ended.
    """

    tried: int = 0
    stopped: int = 0

    def label_scores(
        self, vectors: Floats, labels: Floats, queries: Sequence[Floats], costs: Sequence[float]
    ) -> Iterator[tuple[float, list[Floats]]]:
        """Scores of the queries under each cost, smallest first.

        Args:
            vectors: (N, D) standardised.
            labels: (N, C) of 1, 0 and NaN.
            queries: Arrays (Q, D).
            costs: Inverse penalties, sklearn's ``C``.

        Yields:
            The cost and, per array of queries, log-odds (Q, C).
        """
        vectors, queries = self._rotate(vectors, queries)
        models: dict[int, Any] = {}
        for cost in sorted(costs):
            scores = [np.zeros((len(query), labels.shape[1])) for query in queries]
            for c in range(labels.shape[1]):
                known = ~np.isnan(labels[:, c])
                if len(np.unique(labels[known, c])) < 2:
                    continue
                self._fit(models.setdefault(c, _regression()), vectors[known], labels[known, c], cost)
                for score, query in zip(scores, queries, strict=True):
                    score[:, c] = models[c].decision_function(query)
            yield cost, scores

    def classes(
        self, vectors: Floats, targets: NDArray[np.int64], queries: Sequence[Floats], costs: Sequence[float]
    ) -> Iterator[tuple[float, list[NDArray[np.int64]]]]:
        """Classes of the queries (Q,) under each cost, smallest first; all classes weigh the same in training."""
        vectors, queries = self._rotate(vectors, queries)
        model = _regression(class_weight="balanced")
        for cost in sorted(costs):
            if len(np.unique(targets)) < 2:
                yield cost, [np.full(len(query), targets[0]) for query in queries]
                continue
            self._fit(model, vectors, targets, cost)
            yield cost, [np.asarray(model.predict(query), np.int64) for query in queries]

    def _rotate(self, vectors: Floats, queries: Sequence[Floats]) -> tuple[Floats, list[Floats]]:
        """The same problem in at most N dimensions: with an L2 penalty the weights lie in the span of the items."""
        if vectors.shape[1] <= len(vectors):
            return vectors, list(queries)
        _, _, axes = np.linalg.svd(vectors, full_matrices=False)
        return vectors @ axes.T, [query @ axes.T for query in queries]

    def _fit(self, model: Any, vectors: Floats, labels: NDArray[Any], cost: float) -> None:
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.set_params(C=cost).fit(vectors, labels)
        self.tried += 1
        self.stopped += any(issubclass(w.category, ConvergenceWarning) for w in caught)

    @property
    def notes(self) -> list[str]:
        """Notes on the fits."""
        if not self.stopped:
            return []
        return [f"{self.stopped} of {self.tried} logistic regressions were stopped after {_ITERATIONS} iterations"]


def neighbour_scores(
    vectors: Floats, labels: Floats, queries: Floats, neighbours: Sequence[int], temperature: float
) -> list[Floats]:
    """Share of the votes of the k nearest labelled items, each voting exp(cosine / temperature).

    As the k-NN of DINO (Caron et al. 2021, appendix E; Wu et al. 2018), as a share, so that it serves several labels.

    Args:
        vectors: (N, D) unit length.
        labels: (N, C) of 1, 0 and NaN.
        queries: (Q, D) unit length.
        neighbours: Values of k; fewer items than k are all taken.
        temperature: DINO's is 0.07.

    Returns:
        For each k, scores (Q, C) in [0, 1].
    """
    result = [np.zeros((len(queries), labels.shape[1])) for _ in neighbours]
    for known, columns in _group_equal_columns(~np.isnan(labels)):
        kinds = labels[known][:, columns]
        if not known.any():
            continue
        two_kinds = (kinds != kinds[0]).any(axis=0)
        for rows, order, similar in _nearest(vectors[known], queries, max(neighbours)):
            # Less the highest cosine: shares do not change, and exp cannot overflow at a small temperature.
            votes = np.exp((similar - similar[:, :1]) / temperature)
            for score, k in zip(result, neighbours, strict=True):
                near = votes[:, :k, None] * kinds[order[:, :k]]
                share = near.sum(axis=1) / votes[:, :k].sum(axis=1)[:, None]
                score[rows, np.array(columns)[:, None]] = np.where(two_kinds, share, 0.0).T
    return result


def neighbour_classes(
    vectors: Floats, targets: NDArray[np.int64], queries: Floats, neighbours: int, temperature: float
) -> NDArray[np.int64]:
    """Class (Q,) with the most votes of :func:`neighbour_scores`, divided by the class's number of training items."""
    classes, codes, counts = np.unique(targets, return_inverse=True, return_counts=True)
    one_hot = (codes[:, None] == np.arange(len(classes))).astype(np.float64)
    if len(classes) < 2:
        return np.full(len(queries), classes[0])
    share = neighbour_scores(vectors, one_hot, queries, [neighbours], temperature)[0]
    return np.asarray(classes[np.argmax(share / counts, axis=1)])


def nearest_mean(vectors: Floats, targets: NDArray[np.int64], queries: Floats) -> NDArray[np.int64]:
    """Class (Q,) of the nearest class mean, Euclidean."""
    classes = np.unique(targets)
    means = np.stack([vectors[targets == c].mean(axis=0) for c in classes])
    distance = np.square(means).sum(axis=1) - 2 * queries @ means.T
    return np.asarray(classes[np.argmin(distance, axis=1)])


def _regression(**options: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    # Started from the solution under the next smaller cost, a fit takes a fraction of the iterations.
    return LogisticRegression(max_iter=_ITERATIONS, warm_start=True, **options)


def _group_equal_columns(known: Bools) -> list[tuple[Bools, list[int]]]:
    """Columns of ``known`` (N, C) grouped by equality: (column (N,), its indices)."""
    groups: dict[bytes, list[int]] = {}
    for c in range(known.shape[1]):
        groups.setdefault(known[:, c].tobytes(), []).append(c)
    return [(known[:, columns[0]], columns) for columns in groups.values()]


def _nearest(vectors: Floats, queries: Floats, most: int) -> Iterator[tuple[NDArray[np.int64], Any, Floats]]:
    """Blocks of (query rows, the nearest items' rows (q, k), their cosines), nearest first."""
    most = min(most, len(vectors))
    step = max(1, _CELLS // max(len(vectors), 1))
    for start in range(0, len(queries), step):
        similar = queries[start : start + step] @ vectors.T
        if most < len(vectors):
            order = np.argpartition(-similar, most - 1, axis=1)[:, :most]
        else:
            order = np.broadcast_to(np.arange(len(vectors)), similar.shape)
        found = np.take_along_axis(similar, order, axis=1)
        by_rank = np.argsort(-found, axis=1, kind="stable")
        rows = np.arange(start, start + len(similar))
        yield rows, np.take_along_axis(order, by_rank, axis=1), np.take_along_axis(found, by_rank, axis=1)
