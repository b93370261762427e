"""Ranking every image for every report and every report for every image, block by block in bounded memory.

Of a block of queries only the similarities are dense. Right answers are sparse, evidence is graded for no more pairs
than can stand among the first k, and what the best order, a random one and the best that is the same for every query
would gain is worked out once for each distinct set of evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from lgdea.evaluation.config import RetrievalConfig
from lgdea.evaluation.metrics import retrieval as metrics
from lgdea.progress import track
from lgdea.statistics.overlap import jaccard, jaccard_of_pairs

Bools = NDArray[np.bool_]
Codes = NDArray[np.int64]
Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
Direction = Literal["image_to_report", "report_to_image"]
DIRECTIONS: tuple[Direction, ...] = ("image_to_report", "report_to_image")
_CELLS = 8_000_000  # similarities held at once, twice: 64 MB
_PAIRS = 500_000  # pairs graded at once


@dataclass(frozen=True)
class Gallery:
    """Both sides of a split; T distinct texts, S studies, F facts."""

    image_vectors: Vectors
    """(images, D)."""
    text_vectors: Vectors
    """(T, D)."""
    image_study: Codes
    """(images,) row of each image's study."""
    report_study: Codes
    """(reports,)."""
    report_text: Codes
    """(reports,) row of each report's text."""
    facts: Bools | None
    """(S, F) what is present in each study; None when nothing is graded."""


def rank(gallery: Gallery, direction: Direction, config: RetrievalConfig) -> pd.DataFrame:
    """Rank all candidates for every query.

    Reports that are identical word for word are one vector here, so that their similarities are equal to the last bit.

    Returns:
        One row per query: ``n_positive``, ``first_positive_rank`` and one column per metric.
    """
    sizes = len(gallery.image_study), len(gallery.report_study)
    queries, candidates = sizes if direction == "image_to_report" else sizes[::-1]
    step = max(1, _CELLS // candidates)
    starts = range(0, queries, step)
    grader = None if gallery.facts is None else _Grader.build(gallery, direction, config.evidence_at)
    blocks = [
        _score_block(scores, right, rows, grader, config)
        for scores, right, rows in track(
            _blocks(gallery, direction, queries, step), f"ranking {direction.replace('_', ' ')}", len(starts)
        )
    ]
    return pd.concat(blocks, ignore_index=True)


def _blocks(
    gallery: Gallery, direction: Direction, queries: int, step: int
) -> Iterator[tuple[Vectors, csr_matrix, slice]]:
    """Similarities, right answers and the queries of each block."""
    studies = max(gallery.image_study.max(), gallery.report_study.max()) + 1
    texts_of = _incidence(gallery.report_study, gallery.report_text, (studies, len(gallery.text_vectors)))
    if direction == "image_to_report":
        number = np.arange(len(gallery.report_text))
        reports_of = _incidence(gallery.report_text, number, (len(gallery.text_vectors), len(number)))
        for start in range(0, queries, step):
            rows = slice(start, start + step)
            scores = (gallery.image_vectors[rows] @ gallery.text_vectors.T).take(gallery.report_text, axis=1)
            # Right answers: image -> its study -> the study's texts -> every report with one of these texts.
            yield scores, texts_of[gallery.image_study[rows]] @ reports_of, rows
        return
    number = np.arange(len(gallery.image_study))
    images_of = texts_of.T.tocsr() @ _incidence(gallery.image_study, number, (studies, len(number)))
    for start in range(0, queries, step):
        rows = slice(start, start + step)
        text = gallery.report_text[rows]
        yield gallery.text_vectors[text] @ gallery.image_vectors.T, images_of[text], rows


@dataclass(frozen=True)
class _Grader:
    """Evidence overlap of queries and candidates."""

    sets: Bools  # (E, F) distinct sets of facts
    own: Codes  # (queries,) set of each query
    others: Codes  # (candidates,)
    ideal: Floats  # (E, k) of :func:`ideal_gains`, k the largest
    chance: Floats  # (E, k)
    prior: dict[str, Floats]  # (E, k') by metric, `precision@k'` and `ndcg@k'`: the best list for all queries at once

    @classmethod
    def build(cls, gallery: Gallery, direction: Direction, depths: Sequence[int]) -> _Grader:
        assert gallery.facts is not None
        sets, of_study = np.unique(gallery.facts, axis=0, return_inverse=True)
        of_study = of_study.reshape(-1)
        sides = of_study[gallery.image_study], of_study[gallery.report_study]
        own, others = sides if direction == "image_to_report" else sides[::-1]
        counts = np.bincount(others, minlength=len(sets))
        asked = np.bincount(own, minlength=len(sets))
        lists = [(name, depth) for name in metrics.GRADED for depth in depths]
        step, k = max(1, _CELLS // len(sets)), max(depths)
        ideal, chance, worth = [], [], np.zeros((len(lists), len(sets)))
        for start in range(0, len(sets), step):
            part = slice(start, start + step)
            grades = jaccard(sets[part], sets)
            ideal.append(metrics.ideal_gains(grades, k, counts))
            chance.append(metrics.chance_gains(grades, k, counts))
            # A candidate's gain for all queries at once is its grade times each query's weight, summed over the queries
            # that ask with the same set.
            each = [metrics.marginal_gain_weights(ideal[-1], *one) for one in lists]
            worth += asked[part] * np.stack(each) @ grades
        prior = {}
        for (name, depth), order in zip(lists, np.argsort(-worth, axis=1, kind="stable"), strict=True):
            # The best list for all: candidates by falling gain, each set as often as candidates have it.
            first = np.repeat(order, counts[order])[:depth]
            prior[f"{name}@{depth}"] = jaccard(sets, sets[first]).astype(np.float64)
        return cls(sets, own, others, np.concatenate(ideal), np.concatenate(chance), prior)

    def grades(self, queries: NDArray[np.intp], candidates: NDArray[np.intp]) -> Vectors:
        """Grades of pairs: (M,), (M,) to (M,)."""
        found = np.empty(len(queries), np.float32)
        for start in range(0, len(queries), _PAIRS):
            part = slice(start, start + _PAIRS)
            own, others = self.own[queries[part]], self.others[candidates[part]]
            found[part] = jaccard_of_pairs(self.sets[own], self.sets[others])
        return found


def _score_block(
    scores: Vectors, right: csr_matrix, rows: slice, grader: _Grader | None, config: RetrievalConfig
) -> pd.DataFrame:
    n_positive = np.diff(right.indptr)
    ties = metrics.ties_at_best_positive(scores, right)
    columns: dict[str, NDArray[Any]] = {
        "n_positive": n_positive,
        "first_positive_rank": metrics.first_positive_rank(*ties),
    }
    for k in config.recall_at:
        columns[f"recall@{k}"] = metrics.recall_from_ties(*ties, k)
        columns[f"recall_chance@{k}"] = metrics.recall_chance(n_positive, scores.shape[1], k)
    if grader is not None:
        depth = min(max(config.evidence_at), scores.shape[1])
        query, candidate = metrics.top_pairs(scores, depth)
        grades = grader.grades(query + rows.start, candidate)
        gains = metrics.gains_of_pairs(query, scores[query, candidate], grades, len(scores), depth)
        ideal, chance = grader.ideal[grader.own[rows]], grader.chance[grader.own[rows]]
        for k in config.evidence_at:
            for name, score in metrics.GRADED.items():
                prior = grader.prior[f"{name}@{k}"][grader.own[rows]]
                for level, gained in (("", gains), ("_chance", chance), ("_prior", prior)):
                    columns[f"evidence_{name}{level}@{k}"] = score(gained, ideal, k)
    return pd.DataFrame(columns)


def _incidence(rows: Codes, columns: Codes, shape: tuple[int, int]) -> csr_matrix:
    return csr_matrix((np.ones(len(rows), bool), (rows, columns)), shape=shape, dtype=bool)
