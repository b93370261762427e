"""Baselines without images: what the text alone gives away, and what position and length of the options do.

A set whose questions can be answered without looking measures nothing. Both baselines learn from a set made in the same
way of other patients, or by cross-validation, and must be at chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import isnan

import numpy as np
from numpy.typing import NDArray

from lgdea.comparison.questions.question import Question
from lgdea.statistics.bootstrap import cluster_bootstrap, weighted_mean

FOLDS = 5
Features = Callable[[Question, str], dict[str, float]]


@dataclass(frozen=True)
class Baseline:
    """Accuracy of a baseline on the questions of one kind and form, with its 95% interval by patient."""

    name: str
    questions: str
    accuracy: float
    low: float
    high: float
    chance: float
    n: int

    @property
    def at_chance(self) -> bool:
        """Whether the interval does not lie above chance."""
        return not self.low > self.chance

    def to_json(self) -> dict[str, object]:
        """Plain data; an end of an interval that a few patients do not give is None."""
        plain = {
            name: None if isinstance(value, float) and isnan(value) else value for name, value in asdict(self).items()
        }
        return plain | {"at_chance": self.at_chance}


def baselines(
    questions: list[Question], trained_on: list[Question] | None = None, *, seed: int = 0, replicates: int = 1000
) -> list[Baseline]:
    """Answer every question from its text alone, and from position and length alone.

    Args:
        questions: A set; questions of one kind and form are answered together.
        trained_on: A set about other patients that the baselines learn from; None: the set itself, cross-validated by
            patient. Cross-validation on a set that is balanced as a whole falls below chance: of what is right in a
            fold the other folds have less.
        seed: Seed of folds and bootstrap.
        replicates: Bootstrap replicates.
    """
    groups: dict[tuple[str, str], list[Question]] = defaultdict(list)
    for question in questions:
        groups[question.kind, question.form].append(question)
    found = []
    for (kind, form), group in sorted(groups.items()):
        patients = np.array([patient_of(question) for question in group])
        chance = 1 / len(group[0].options) if form == "choice" else 1 / len({question.answer for question in group})
        for name, features in (("text only", text_features), ("position and length", form_features)):
            others = None if trained_on is None else [q for q in trained_on if (q.kind, q.form) == (kind, form)]
            right = _answer(group, others, features, patients, seed)
            interval = cluster_bootstrap(weighted_mean(right), patients, replicates=replicates, seed=seed)
            value, low, high = (float(part) for part in interval)
            found.append(Baseline(name, f"{kind}/{form}", value, low, high, chance, len(group)))
    return found


def patient_of(question: Question) -> str:
    """The patient by whom a question is drawn; the first one by name where there are two."""
    return min(question.patients)


def text_features(question: Question, answer: str) -> dict[str, float]:
    """What a reader without images has: the words of question and candidate answer, alone and together."""
    words = question.question.lower().split()
    said = answer.lower()
    single = {f"q {word}": 1.0 for word in words} | {f"a {said}": 1.0}
    listed = {f"option {option} a {said}": 1.0 for option in question.options}
    return single | {f"{word} a {said}": 1.0 for word in words} | listed | {f"{question.question} a {said}": 1.0}


def form_features(question: Question, answer: str) -> dict[str, float]:
    """Position of the candidate answer, its length and the rank of its length; the length of the question."""
    lengths = [len(option) for option in question.options]
    size = float(len(answer))
    features = {"length": size / 20, f"asked {len(question.question) // 8} size {int(size)}": 1.0}
    if answer in question.options:
        position = question.options.index(answer)
        features |= {f"position {position}": 1.0, f"rank {sorted(lengths).index(len(answer))}": 1.0}
    return features


class _Candidates:
    """Every candidate answer of some questions: features, its question, and whether it is right."""

    def __init__(self, group: list[Question], answers: list[str], features: Features) -> None:
        self.rows: list[dict[str, float]] = []
        owner, right = [], []
        for i, question in enumerate(group):
            for j, candidate in enumerate(question.options or answers):
                owner.append(i)
                self.rows.append(features(question, candidate))
                right.append(("ABCDE"[j] if question.options else candidate) == question.answer)
        self.owner, self.right = np.array(owner), np.array(right)


def _answer(
    group: list[Question], others: list[Question] | None, features: Features, patients: NDArray[np.str_], seed: int
) -> NDArray[np.float64]:
    """1 where the most probable candidate is right, ties shared."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    answers = sorted({question.answer for question in group})
    mine = _Candidates(group, answers, features)
    score = np.zeros(len(mine.owner))
    if others is not None:
        theirs = _Candidates(others, answers, features)
        if others:
            vectors = DictVectorizer()
            model = LogisticRegression(max_iter=500).fit(vectors.fit_transform(theirs.rows), theirs.right)
            score = model.decision_function(vectors.transform(mine.rows))
    else:
        table, names = DictVectorizer().fit_transform(mine.rows), np.unique(patients)
        places = np.random.default_rng(seed).permutation(len(names)) % FOLDS
        folds = places[np.searchsorted(names, patients)][mine.owner]
        for fold in range(FOLDS):
            held = folds == fold
            if held.any() and len(np.unique(mine.right[~held])) == 2:
                model = LogisticRegression(max_iter=500).fit(table[~held], mine.right[~held])
                score[held] = model.decision_function(table[held])
    best = np.full(len(group), -np.inf)
    np.maximum.at(best, mine.owner, score)
    chosen = score >= best[mine.owner] - 1e-9
    hits = np.bincount(mine.owner, weights=chosen & mine.right, minlength=len(group))
    return np.asarray(hits / np.bincount(mine.owner, weights=chosen, minlength=len(group)))
