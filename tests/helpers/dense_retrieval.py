"""Retrieval with whole matrices of similarities, right answers and grades: slow, plain, and not the product's code."""

from __future__ import annotations

from itertools import groupby
from math import comb

import numpy as np
import pandas as pd


def rank_densely(gallery, direction, config) -> pd.DataFrame:
    """What :func:`lgdea.evaluation.tasks.ranking.rank` gives, query by query over lists."""
    scores = gallery.image_vectors @ gallery.text_vectors[gallery.report_text].T
    texts_of: dict[int, set[int]] = {}
    for study, text in zip(gallery.report_study, gallery.report_text, strict=True):
        texts_of.setdefault(study, set()).add(text)
    right = np.array([[t in texts_of[s] for t in gallery.report_text] for s in gallery.image_study])
    pairs = [[(i, r) for r in gallery.report_study] for i in gallery.image_study]
    if direction == "report_to_image":
        scores, right = scores.T, right.T
        pairs = [[(r, i) for i in gallery.image_study] for r in gallery.report_study]
    grades = (
        None if gallery.facts is None else [[overlap(*(gallery.facts[s] for s in p)) for p in row] for row in pairs]
    )
    rows = []
    for number, row in enumerate(scores):
        grade = None if grades is None else grades[number]
        rows.append(one_query(row.tolist(), right[number].tolist(), grade, config))
    return pd.DataFrame(rows)


def overlap(a, b) -> float:
    one, two = set(np.flatnonzero(a)), set(np.flatnonzero(b))
    return float(np.float32(len(one & two)) / np.float32(len(one | two))) if one | two else 0.0


def one_query(scores, right, grades, config) -> dict[str, float]:
    total, hits_in_all = len(scores), sum(right)
    order = sorted(range(total), key=lambda i: -scores[i])
    groups = [list(g) for _, g in groupby(order, key=lambda i: scores[i])]
    above = 0
    for group in groups:
        tied, hits = len(group), sum(right[i] for i in group)
        if hits:
            break
        above += tied
    found = {"n_positive": hits_in_all, "first_positive_rank": above + (tied + 1) / (hits + 1)}
    for k in config.recall_at:
        places = min(max(k - above, 0), tied)
        found[f"recall@{k}"] = 1 - comb(tied - hits, places) / comb(tied, places)
        places = min(k, total)
        found[f"recall_chance@{k}"] = 1 - comb(total - hits_in_all, places) / comb(total, places)
    if grades is not None:
        gains = [np.mean([grades[i] for i in group]) for group in groups for _ in group]
        ideal, mean = sorted(grades, reverse=True), np.mean(grades)
        for k in config.evidence_at:
            discount = 1 / np.log2(np.arange(2, min(k, total) + 2))
            best = float(np.dot(ideal[:k], discount))
            known = best > 0
            found[f"evidence_precision@{k}"] = np.mean(gains[:k]) if known else np.nan
            found[f"evidence_precision_chance@{k}"] = mean if known else np.nan
            found[f"evidence_ndcg@{k}"] = np.dot(gains[:k], discount) / best if known else np.nan
            found[f"evidence_ndcg_chance@{k}"] = mean * discount.sum() / best if known else np.nan
    return found
