"""How far image and report of a linked pair agree, under heads that have not seen the link.

The idea is confident learning's (Northcutt, Jiang, Chuang 2021), with pairs in the place of labels: a model that has
not seen an example judges its label. Here the label is a whole report, so that its pieces of evidence are judged
together: the score of a pair is the log likelihood ratio of the report's evidence, given this image against given any.
The same reports beside images of other patients say what the score of a wrong link looks like.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from lgdea.errors import DataError
from lgdea.evaluation.tasks.classifiers import Standardised
from lgdea.pretraining.corpus import Corpus
from lgdea.statistics.roc import auroc
from lgdea.vocabulary.entailment import PRESENT, UNCERTAIN
from lgdea.vocabulary.phrases import canonical_phrase

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PENALTIES = (0.01, 0.1, 1.0, 10.0)
"""Of the ridge, per pair and feature of deviation 1."""
NEWTON_STEPS = 8
MOST = 20.0
"""Bound of Platt's coefficients: a column that is all of one kind has no maximum."""
LEAST = 10
"""Linked pairs that must state a finding, and as many that must not, for heads to learn it."""
CLIP = 1e-3
"""No head is surer than this: it saw few examples, and a slip of one finding is not yet a wrong link."""
REPAIRED = 20
TAIL = 0.1
"""Share of the re-paired scores, the lowest, by which the share of wrong links is bounded."""


@dataclass(frozen=True)
class Statements:
    """What the reports of M linked pairs say of U findings.

    Attributes:
        phrases: U phrases, a finding in general or on one side.
        findings: Vocabulary id of each.
        status: (M, U) statuses of :mod:`lgdea.vocabulary.entailment`.
    """

    phrases: list[str]
    findings: list[str]
    status: NDArray[np.int8]

    @property
    def labels(self) -> Floats:
        """(M, U) 1 present, 0 absent or not mentioned, NaN uncertain."""
        return np.where(self.status == UNCERTAIN, np.nan, self.status == PRESENT)


def statements(corpus: Corpus) -> Statements:
    """Tabulate what the reports of the linked pairs say of findings that enough of them state.

    Raises:
        DataError: There is no such finding.
    """
    table = corpus.phrases
    status = table.status([corpus.report_units[report] for report in corpus.pairs[:, 1]])
    # Without place and severity: there are too few linked pairs for heads that tell those apart.
    plain = [
        text == canonical_phrase(finding, laterality=side)
        for text, (finding, _, side, _) in zip(table.texts, table.keys, strict=True)
    ]
    present = (status == PRESENT).sum(axis=0)
    other = ((status != PRESENT) & (status != UNCERTAIN)).sum(axis=0)
    kept = np.flatnonzero(np.array(plain, dtype=bool) & (present >= LEAST) & (other >= LEAST))
    if not len(kept):
        raise DataError(
            f"the reports of {len(status):,} linked pairs state no finding {LEAST} times or more",
            remedy="link more studies; heads cannot learn from so few",
        )
    return Statements([table.texts[i] for i in kept], [table.keys[i][0] for i in kept], status[:, kept])


def cross_fit(vectors: Floats, labels: Floats, folds: Ints) -> Floats:
    """Probability of each finding in each image, by heads that know nothing of the pairs of its fold.

    Heads are ridge regressions, all findings at once, whose scores a logistic function of each finding's own brings to
    probabilities (Platt 2000). That function and the penalty are chosen inside the other folds, by heads that lack one
    more of them: scores of heads that had learned from the judged fold would carry its labels into the slope.

    Args:
        vectors: (M, D) image features.
        labels: (M, U) of 1, 0 and NaN.
        folds: (M,) fold of each pair, 3 or more of them; all pairs of a patient are in one.

    Returns:
        (M, U) probabilities.
    """
    heads = _Ridge(vectors, np.nan_to_num(labels, nan=0.5), folds)
    result = np.zeros(labels.shape)
    for fold in np.unique(folds):
        test = folds == fold
        inner = {other: folds == other for other in np.unique(folds) if other != fold}
        best, least = None, np.inf
        for penalty in PENALTIES:
            scores = np.zeros(labels.shape)
            for other, held in inner.items():
                scores[held] = heads.score(held, {fold, other}, penalty)
            own = heads.score(test, {fold}, penalty)
            loss = _log_loss(platt(scores[~test], labels[~test], scores[~test]), labels[~test])
            if loss < least:
                best, least = platt(scores[~test], labels[~test], own), loss
        assert best is not None
        result[test] = best
    return result.clip(CLIP, 1 - CLIP)


class _Ridge:
    """Ridge regressions on all folds but some; what each fold adds to the normal equations is summed once."""

    def __init__(self, vectors: Floats, targets: Floats, folds: Ints) -> None:
        x = Standardised.of(vectors)(vectors)
        self._x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        self._parts = {
            fold: (self._x[folds == fold].T @ self._x[folds == fold], self._x[folds == fold].T @ targets[folds == fold])
            for fold in np.unique(folds)
        }

    def score(self, rows: NDArray[np.bool_], without: set[np.int64], penalty: float) -> Floats:
        """Scores (R, U) of some rows by heads that lack these folds."""
        kept = [part for fold, part in self._parts.items() if fold not in without]
        gram, cross = sum(part[0] for part in kept), sum(part[1] for part in kept)
        ridge = penalty * gram[-1, -1] * np.eye(len(gram))
        ridge[-1, -1] = 0  # the intercept
        return np.asarray(self._x[rows] @ np.linalg.solve(gram + ridge, cross))


def _log_loss(probability: Floats, labels: Floats) -> float:
    p = probability.clip(CLIP, 1 - CLIP)
    return float(-np.where(labels == 1, np.log(p), np.log1p(-p))[~np.isnan(labels)].mean())


def platt(scores: Floats, labels: Floats, queries: Floats) -> Floats:
    """Bring scores to probabilities, sigmoid(a + b s) for each column, fitted to labels by Newton's method.

    The slope has a unit Gaussian prior in deviations of the scores and is not negative: a head that knows nothing says
    the base rate.

    Args:
        scores: (M, U).
        labels: (M, U) of 1, 0 and NaN; each column has both.
        queries: (Q, U) scores.

    Returns:
        (Q, U) probabilities.
    """
    scale = Standardised.of(scores)
    s, weight = scale(scores), (~np.isnan(labels)).astype(np.float64)
    y = np.nan_to_num(labels)
    rate = ((weight * y).sum(axis=0) + 0.5) / (weight.sum(axis=0) + 1)
    intercept, slope = np.log(rate / (1 - rate)), np.zeros(scores.shape[1])
    for _ in range(NEWTON_STEPS):
        p = expit(intercept + slope * s)
        error, curve = weight * (p - y), weight * p * (1 - p)
        g0, g1 = error.sum(axis=0), (error * s).sum(axis=0) + slope
        h00, h01, h11 = curve.sum(axis=0) + 1e-6, (curve * s).sum(axis=0), (curve * s * s).sum(axis=0) + 1
        determinant = h00 * h11 - h01**2
        intercept = (intercept - (h11 * g0 - h01 * g1) / determinant).clip(-MOST, MOST)
        slope = (slope - (h00 * g1 - h01 * g0) / determinant).clip(0, MOST)
    result: Floats = expit(intercept + slope * scale(queries))
    return result


@dataclass(frozen=True)
class Agreement:
    """How far image and report of each linked pair agree.

    Attributes:
        score: (M,) log likelihood ratio of the report's evidence, given its own image against given any.
        repaired: (R,) the same of reports beside images of other patients.
        by_finding: (M, U) each finding's part of ``score``.
    """

    score: Floats
    repaired: Floats
    by_finding: Floats

    @property
    def auroc(self) -> float:
        """Chance that a linked pair agrees better than a re-paired one: 0.5 when the features know nothing."""
        labels = np.repeat([1.0, 0.0], [len(self.score), len(self.repaired)])
        return float(auroc(np.concatenate([self.score, self.repaired]), labels))


def agreement(probability: Floats, labels: Floats, patients: Ints, folds: Ints, rng: np.random.Generator) -> Agreement:
    """Score linked pairs, and as what they would be if they were wrong, the same pairs with reports exchanged.

    Findings count as independent given the image, and a finding that a report does not mention as absent.

    Args:
        probability: (M, U) of :func:`cross_fit`.
        labels: (M, U) what the reports say.
        patients: (M,) codes.
        folds: (M,) fold of each pair; reports are exchanged inside a fold, where no head has seen them.
        rng: Draws the exchanges.
    """
    rate = np.nanmean(labels, axis=0).clip(CLIP, 1 - CLIP)
    present, absent = np.log(probability / rate), np.log((1 - probability) / (1 - rate))

    def parts(said: Floats) -> Floats:
        return np.where(np.isnan(said), 0, np.where(said == 1, present, absent))

    own, repaired = parts(labels), []
    for _ in range(REPAIRED):
        partner = np.arange(len(labels))
        for test in _tests(folds):
            partner[test] = rng.permutation(partner[test])
        other = patients[partner] != patients
        repaired.append(parts(labels[partner])[other].sum(axis=1))
    return Agreement(own.sum(axis=1), np.concatenate(repaired), own)


def probability_wrong(scores: Floats, repaired: Floats, share: float) -> Floats:
    """Probability that each link is wrong, if this share of the links is, by its score beside those of wrong links.

    Definition: pi f0(s) / f(s), the local false discovery rate (Efron 2001), with pi the share, f0 the density of
    re-paired scores, f that of the links; their ratio falls with s (isotonic regression).

    Args:
        scores: (M,) of the links.
        repaired: (R,) of re-paired links.
        share: pi, in (0, 1).

    Returns:
        (M,) probabilities.
    """
    kind = np.repeat([0.0, 1.0], [len(scores), len(repaired)])
    weight = np.repeat([1 / len(scores), 1 / len(repaired)], [len(scores), len(repaired)])
    fit = IsotonicRegression(increasing=False, out_of_bounds="clip")
    fit.fit(np.concatenate([scores, repaired]), kind, sample_weight=weight)
    null = np.asarray(fit.predict(scores)).clip(0, 1 - 1e-9)
    return np.minimum(1.0, share * null / (1 - null))


def most_wrong(scores: Floats, repaired: Floats) -> float:
    """Bound of the share of wrong links: what it would be if none of the right ones scored among the lowest.

    Wrong links score as re-paired ones do, a tenth of them below the lowest tenth of these. How many of the links score
    there therefore bounds the share of wrong ones; it cannot be estimated without assuming how right ones score.

    Args:
        scores: (M,) of the links.
        repaired: (R,) of re-paired links.
    """
    edge = np.quantile(repaired, TAIL)
    return min(1.0, float((scores <= edge).mean() / (repaired <= edge).mean()))


def _tests(folds: Ints) -> Iterator[NDArray[np.bool_]]:
    for fold in np.unique(folds):
        yield folds == fold
