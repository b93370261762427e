"""Paired differences of two results, by task: statistics of weighted items, and their tests."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.evaluation.metrics import answers as answer_metrics
from lgdea.evaluation.metrics import change as change_metrics
from lgdea.evaluation.metrics import classification as metrics
from lgdea.evaluation.results.result import Result
from lgdea.statistics.bootstrap import (
    PairedTest,
    Statistic,
    class_means,
    permutation_test,
    side_by_side,
    swap_tests,
    weighted_mean,
    weighted_median,
)
from lgdea.statistics.roc import auroc_of_ranks, weighted_auroc

Floats = NDArray[np.float64]
Name = tuple[str, str]
"""Class and metric; class ``""`` is the value over all classes."""

NO_SCORE = ("chance", "_prior", "_whole", "_centre", "_false")
"""Parts of the names of references, equal for every model, and of counts where lower is better: not compared."""

DifferenceGroup = tuple[list[Name], Statistic, NDArray[np.object_], list[int], dict[Name, PairedTest]]
"""Names (M,), weights (R, N) to their differences (R, M), patients (N,), counts (M,), tests."""


def zero_shot_differences(
    both: pd.DataFrame, model: Result, base: Result, replicates: int, seed: int
) -> Iterator[DifferenceGroup]:
    """AUROC, AUPRC, F1 and MCC of each class and their means; AUROC is tested."""
    # The threshold of a class belongs to its model; where one has none, F1 and MCC have no difference.
    sides = {column: both.pivot(index="image_id", columns="class", values=column) for column in _SIDES}
    labels = both.pivot(index="image_id", columns="class", values="label")
    classes, truth = [str(c) for c in labels.columns], labels.to_numpy(float)
    clusters = _patients(both, labels.index)
    thresholds = {
        column: [_threshold(result, c) for c in classes] for column, result in zip(_SIDES, (model, base), strict=True)
    }
    columns = ("auroc", "auprc", "f1", "mcc")

    def statistic(weights: Floats) -> Floats:
        a, b = (_classify(sides[c].to_numpy(float), truth, thresholds[c], weights) for c in _SIDES)
        return np.asarray((a - b).reshape(-1, len(weights)).T)

    names = [(c, m) for c in classes for m in columns] + [("", f"{m}_macro") for m in columns]
    known = [int(k) for k in (~np.isnan(truth)).sum(axis=0)]
    counts = [k for k in [*known, len(truth)] for _ in columns]
    tested = auroc_tests(both, "score", replicates=replicates, seed=seed)
    tests = {(c, "auroc" if c else "auroc_macro"): test for c, test in tested.items()}
    yield names, statistic, clusters, counts, tests


_SIDES = ("score", "score_base")


def probe_differences(both: pd.DataFrame, model: Result, replicates: int, seed: int) -> Iterator[DifferenceGroup]:
    """AUROC of each class and their mean, for the settings that had one draw."""
    # With draws of the training patients a value is a mean over them, and chance is not in the scored patients alone.
    settings = [metric.removesuffix("/auroc_macro") for metric in model.metrics if metric.endswith("/auroc_macro")]
    for setting in settings:
        column = f"{setting}/0"
        if f"{column}_base" not in both or {f"{setting}/1", f"{setting}/1_base"} & set(both):
            continue
        labels = both.pivot(index="image_id", columns="class", values="label")
        truth = labels.to_numpy(float)
        sides = [
            both.pivot(index="image_id", columns="class", values=name).to_numpy(float)
            for name in (column, f"{column}_base")
        ]

        def statistic(weights: Floats, sides: list[Floats] = sides, truth: Floats = truth) -> Floats:
            a, b = (
                np.stack([weighted_auroc(side[:, c], truth[:, c], weights) for c in range(truth.shape[1])])
                for side in sides
            )
            table = np.concatenate([a - b, metrics.macro(a, axis=0)[None] - metrics.macro(b, axis=0)[None]])
            return np.asarray(table.T)

        classes = [str(c) for c in labels.columns]
        tested = auroc_tests(both, column, replicates=replicates, seed=seed)
        tests = {(c, f"{setting}/auroc" if c else f"{setting}/auroc_macro"): test for c, test in tested.items()}
        counts = [int(k) for k in (~np.isnan(truth)).sum(axis=0)] + [len(truth)]
        names = [*((c, f"{setting}/auroc") for c in classes), ("", f"{setting}/auroc_macro")]
        yield names, statistic, _patients(both, labels.index), counts, tests


def auroc_tests(both: pd.DataFrame, column: str, *, replicates: int = 1000, seed: int = 0) -> dict[str, PairedTest]:
    """Paired tests of whether the AUROC of ``column`` is better than that of its twin with ``_base``.

    Scores of two models share no scale, so each is ranked within its model and class before patients change sides.

    Args:
        both: Items with ``image_id, patient_id, class, label``, ``column`` and its twin.
        column: Of the scores.
        replicates: Random exchanges.
        seed: Seed of the exchanges.

    Returns:
        Class to test, and ``""`` to that of the mean over classes.
    """
    labels = both.pivot(index="image_id", columns="class", values="label")
    truth = labels.to_numpy(float)
    a, b = (
        both.pivot(index="image_id", columns="class", values=name).rank().to_numpy(float)
        for name in (column, f"{column}_base")
    )
    clusters = _patients(both, labels.index)
    tests = swap_tests(lambda ranks: _rank_auroc(ranks, truth), a, b, clusters, replicates=replicates, seed=seed)
    return dict(zip([*map(str, labels.columns), ""], tests, strict=True))


def _patients(both: pd.DataFrame, images: pd.Index) -> NDArray[np.object_]:
    return both.drop_duplicates("image_id").set_index("image_id")["patient_id"].reindex(images).to_numpy()


def _threshold(result: Result, name: str) -> float:
    found = result.per_class.get(name, {}).get("threshold")
    return math.nan if found is None else found.value


def _classify(scores: Floats, truth: Floats, thresholds: list[float], weights: Floats) -> Floats:
    """AUROC, AUPRC, F1 and MCC of each class and of their mean: (C + 1, 4, R)."""
    rows = []
    for c, threshold in enumerate(thresholds):
        area = weighted_auroc(scores[:, c], truth[:, c], weights)
        precision = metrics.weighted_auprc(scores[:, c], truth[:, c], weights)
        rows.append(
            np.stack([area, precision, *metrics.weighted_f1_mcc(scores[:, c], truth[:, c], threshold, weights)])
        )
    table = np.stack(rows)
    return np.concatenate([table, metrics.macro(table, axis=0)[None]])


def _rank_auroc(ranks: Floats, truth: Floats) -> Floats:
    """AUROC of each class and their mean (C + 1,) from midranks (N, C) and labels (N, C)."""
    areas = auroc_of_ranks(ranks, truth)
    return np.append(areas, metrics.macro(areas))


def retrieval_differences(both: pd.DataFrame, model: Result, replicates: int, seed: int) -> Iterator[DifferenceGroup]:
    """Means over the queries of each direction, and the median rank, which is not tested."""
    for direction, rows in both.groupby("direction", sort=False):
        columns = [c for c in map(str, model.items) if f"{direction}/{c}" in model.metrics and _compared(c, both)]
        clusters = rows["patient_id"].to_numpy()
        a, b = rows[columns].to_numpy(float), rows[[f"{c}_base" for c in columns]].to_numpy(float)
        parts = [_subtract(weighted_mean(a), weighted_mean(b))]
        names = [("", f"{direction}/{c}") for c in columns]
        counts = [int(k) for k in (~np.isnan(a) & ~np.isnan(b)).sum(axis=0)]
        if {"first_positive_rank", "first_positive_rank_base"} <= set(rows):
            medians = (weighted_median(rows[c]) for c in ("first_positive_rank", "first_positive_rank_base"))
            parts.append(_column(_subtract(*medians)))
            names, counts = [*names, ("", f"{direction}/median_rank")], [*counts, len(rows)]
        tests = {
            name: permutation_test(a[:, i], b[:, i], clusters, replicates=replicates, seed=seed)
            for i, name in enumerate(names[: len(columns)])
        }
        yield names, side_by_side(*parts), clusters, counts, tests


def item_mean_differences(both: pd.DataFrame, model: Result, replicates: int, seed: int) -> Iterator[DifferenceGroup]:
    """Metrics that are plain means of an item's column of the same name."""
    clusters = both["patient_id"].to_numpy()
    for metric in (m for m in map(str, model.metrics) if m in model.items and _compared(m, both)):
        a, b = both[metric].to_numpy(float), both[f"{metric}_base"].to_numpy(float)
        test = permutation_test(a, b, clusters, replicates=replicates, seed=seed)
        difference = _column(_subtract(weighted_mean(a), weighted_mean(b)))
        count = int((~np.isnan(a) & ~np.isnan(b)).sum())
        yield [("", metric)], difference, clusters, [count], {("", metric): test}


def entity_differences(both: pd.DataFrame, model: Result, replicates: int, seed: int) -> Iterator[DifferenceGroup]:
    """Means over each entity's queries, and over entities."""
    clusters, entities = both["patient_id"].to_numpy(), both["entity"].to_numpy(str)
    present = [str(name) for name in np.unique(entities)]
    for metric in (m for m in map(str, model.metrics) if m in model.items and _compared(m, both)):
        a, b = both[metric].to_numpy(float), both[f"{metric}_base"].to_numpy(float)
        statistic = _subtract(class_means(a, entities), class_means(b, entities))
        known = ~np.isnan(a) & ~np.isnan(b)
        names = [*((f"entity: {name}", metric) for name in present), ("", metric)]
        counts = [*(int(known[entities == name].sum()) for name in present), int(known.sum())]
        # A mean over entities is a mean of items that weigh the more, the fewer their entity has.
        share = pd.Series(known).groupby(entities).transform("sum").to_numpy(float)
        asked = len({name for name, count in zip(present, counts, strict=False) if count})
        weight = np.divide(known.sum(), share * asked, out=np.zeros(len(share)), where=share > 0)
        test = permutation_test(a * weight, b * weight, clusters, replicates=replicates, seed=seed)
        yield names, statistic, clusters, counts, {("", metric): test}


def change_differences(both: pd.DataFrame, model: Result, replicates: int, seed: int) -> Iterator[DifferenceGroup]:
    """Balanced accuracy of each finding, of findings and of items, and the means over items with those of the swap."""
    clusters, least = both["patient_id"].to_numpy(), int(model.config["min_items"])
    state, findings = both["state"].to_numpy(str), both["class"].to_numpy(str)
    scored = list(model.per_class)
    sizes = [int((findings == name).sum()) for name in scored]
    counts = [*sizes, sum(sizes), len(both)]
    weights = _state_weights(state, findings, scored, least)
    for suffix in ("", "_difference"):
        columns = (f"correct{suffix}", f"correct{suffix}_base")
        if not set(columns) <= set(both):
            continue
        a, b = (both[c].to_numpy(float) for c in columns)
        metric = f"balanced_accuracy{suffix}"
        names = [*((name, metric) for name in scored), ("", f"{metric}_macro"), ("", metric)]
        parts = (change_metrics.balanced_accuracies(x, state, findings, scored, least) for x in (a, b))
        tests = {
            name: permutation_test(a * w, b * w, clusters, replicates=replicates, seed=seed)
            for name, w in zip(names, weights, strict=True)
        }
        yield names, _subtract(*parts), clusters, counts, tests
    for metric, column in (
        ("accuracy", "correct"),
        ("set_accuracy", "set_correct"),
        ("swap_consistency", "swap_consistent"),
    ):
        a, b = both[column].to_numpy(float), both[f"{column}_base"].to_numpy(float)
        test = permutation_test(a, b, clusters, replicates=replicates, seed=seed)
        difference = _column(_subtract(weighted_mean(a), weighted_mean(b)))
        yield [("", metric)], difference, clusters, [len(both)], {("", metric): test}
    # Each model's own directed answers: the items differ, so there is no paired test.
    a, b = (
        np.where(both[f"answer{end}"].ne("stable"), both[f"swap_consistent{end}"].astype(float), np.nan)
        for end in ("", "_base")
    )
    flipped = _column(_subtract(weighted_mean(a), weighted_mean(b)))
    yield [("", "swap_flipped")], flipped, clusters, [int((~np.isnan(a)).sum())], {}


def answer_differences(both: pd.DataFrame, _model: Result, replicates: int, seed: int) -> Iterator[DifferenceGroup]:
    """All metrics of answers, over all items and of each group; those that are means of items are tested."""
    for group, rows in [("", np.ones(len(both), bool)), *answer_metrics.groups_of(both)]:
        part = both[rows]
        scored = answer_metrics.metrics_of(part)
        names = [n for n in scored if f"{n}_base" in part or n == answer_metrics.BLEU or n.startswith("evidence_f1/")]
        if answer_metrics.BLEU in names and f"{answer_metrics.BLEU_COLUMNS[0]}_base" not in part:
            names.remove(answer_metrics.BLEU)  # one of the two was scored without lgdea[text]
        clusters = part["patient_id"].to_numpy()
        statistic = _subtract(*(answer_metrics.answers_statistic(part, names, end) for end in ("", "_base")))
        tests = {
            (group, name): permutation_test(
                part[name].astype(float), part[f"{name}_base"].astype(float), clusters, replicates=replicates, seed=seed
            )
            for name in names
            if name in part
        }
        yield [(group, name) for name in names], statistic, clusters, answer_metrics.counts_of(part, names), tests


def _state_weights(
    state: NDArray[np.str_], findings: NDArray[np.str_], scored: list[str], least: int
) -> list[NDArray[np.float64]]:
    """Weights (N,) that make the mean over items a balanced accuracy: of each finding, of findings, of all items.

    An item weighs the more, the fewer its state has.
    """
    each = []
    for name in scored:
        rows = findings == name
        states = change_metrics.frequent_states(state[rows], least)
        each.append(sum((_share(rows & (state == s)) for s in states), np.zeros(len(state))) / max(len(states), 1))
    states = change_metrics.frequent_states(state, 1)
    whole = sum((_share(state == s) for s in states), np.zeros(len(state))) / max(len(states), 1)
    macro = sum(each, np.zeros(len(state))) / max(len(each), 1)
    return [weights * len(state) for weights in (*each, macro, whole)]


def _share(rows: NDArray[np.bool_]) -> Floats:
    return rows / max(int(rows.sum()), 1)


def _compared(column: str, both: pd.DataFrame) -> bool:
    return f"{column}_base" in both and not any(word in column for word in NO_SCORE)


def class_mean_differences(both: pd.DataFrame, model: Result, replicates: int, seed: int) -> Iterator[DifferenceGroup]:
    """Metrics that are means of items: of each class, of the classes (macro) and of all items (micro)."""
    clusters = both["patient_id"].to_numpy()
    classes = both["class"].to_numpy(str) if "class" in both else np.full(len(both), "")
    present = [str(c) for c in np.unique(classes)]
    scored = {*model.metrics, *(m for values in model.per_class.values() for m in values)}
    columns = [c for c in map(str, model.items) if {c, f"{c}_macro", f"{c}_micro"} & scored and _compared(c, both)]
    for metric in columns:
        a, b = (both[c].replace([np.inf, -np.inf], np.nan).to_numpy(float) for c in (metric, f"{metric}_base"))
        statistic = side_by_side(
            _subtract(class_means(a, classes), class_means(b, classes)),
            _column(_subtract(weighted_mean(a), weighted_mean(b))),
        )
        names = [*((c, metric) for c in present), ("", f"{metric}_macro"), ("", f"{metric}_micro")]
        known = ~np.isnan(a) & ~np.isnan(b)
        counts = [int(known[classes == c].sum()) for c in present] + [int(known.sum())] * 2
        share = pd.Series(known).groupby(classes).transform("sum").to_numpy(float)
        weight = np.divide(known.sum(), share * len(present), out=np.zeros(len(share)), where=share > 0)
        tests = {}
        for name, rows, scale in [
            *(((c, metric), classes == c, np.ones(len(a))) for c in present),
            (names[-2], np.ones(len(a), bool), weight),  # a mean of means is a weighted mean of items
            (names[-1], np.ones(len(a), bool), np.ones(len(a))),
        ]:
            pair = (a * scale)[rows], (b * scale)[rows]
            tests[name] = permutation_test(*pair, clusters[rows], replicates=replicates, seed=seed)
        yield names, statistic, clusters, counts, tests


def _subtract(a: Statistic, b: Statistic) -> Statistic:
    return lambda weights: np.asarray(a(weights) - b(weights))


def _column(statistic: Statistic) -> Statistic:
    return lambda weights: statistic(weights).reshape(len(weights), -1)
