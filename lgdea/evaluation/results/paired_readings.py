"""Paired differences of two results of reading beside references.

A reading is a way to tell findings: ``single`` (the query alone), ``self`` (the same, display standardised), or a score
beside K references of a strategy, ``z/demographic@10``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.evaluation.metrics.references import METRICS, balanced_accuracy_test, method_statistic
from lgdea.evaluation.results.paired_tests import DifferenceGroup, Floats, Name
from lgdea.evaluation.results.result import Result
from lgdea.statistics.bootstrap import PairedTest, permutation_test, weighted_mean

SINGLE, SELF = "single", "self"
CALL = "/call"
ATTRIBUTION = ("pointing_single", "pointing_paired", "inside_mass_single", "inside_mass_paired")


def readings_of(items: pd.DataFrame) -> list[str]:
    """Readings of a result's items: those with a score and a call.

    >>> readings_of(pd.DataFrame(columns=["single", "single/call", "z/random@1", "z/random@1/call", "label"]))
    ['single', 'z/random@1']
    """
    return [str(c) for c in items if f"{c}{CALL}" in items]


def reference_differences(both: pd.DataFrame, _model: Result, replicates: int, seed: int) -> Iterator[DifferenceGroup]:
    """Balanced accuracy, F1 and AUROC of the readings that both results hold, their gains, and the attribution.

    Balanced accuracy is tested.
    """
    readings = [name for name in readings_of(both) if f"{name}_base" in both]
    if readings:
        yield _of_readings(both, readings, replicates, seed)
    for column in (c for c in ATTRIBUTION if {c, f"{c}_base"} <= set(both)):
        a, b = (both[c].to_numpy(float) for c in (column, f"{column}_base"))
        known = ~(np.isnan(a) | np.isnan(b))
        if not known.any():
            continue
        clusters, name = both["patient_id"].to_numpy()[known], ("", f"attribution/{column}")
        test = permutation_test(a[known], b[known], clusters, replicates=replicates, seed=seed)
        yield [name], weighted_mean((a - b)[known][:, None]), clusters, [int(known.sum())], {name: test}


def _of_readings(both: pd.DataFrame, readings: list[str], replicates: int, seed: int) -> DifferenceGroup:
    sides = [reading_arrays(both, readings, end) for end in ("", "_base")]
    (_, calls, truth, patients, classes), base_calls = sides[0], sides[1][1]
    statistics = [method_statistic(scores, side_calls, truth) for scores, side_calls, *_ in sides]
    gains = [m for m, name in enumerate(readings) if name != SINGLE] if readings[0] == SINGLE else []
    gained = [METRICS.index("balanced_accuracy"), METRICS.index("auroc")]
    shape = (2, len(readings), len(METRICS), len(classes) + 1)

    def statistic(weights: Floats) -> Floats:
        a, b = (each(weights).reshape(len(weights), *shape) for each in statistics)
        values = (a - b)[:, 0].reshape(len(weights), -1)
        gain = (a - b)[:, 1][:, gains][:, :, gained, -1].reshape(len(weights), -1)
        return np.concatenate([values, gain], axis=1)

    names: list[Name] = [
        (name, f"{reading}/{metric}{'' if name else '_macro'}")
        for reading in readings for metric in METRICS for name in (*classes, "")
    ]  # fmt: skip
    known = [int(n) for n in (~np.isnan(truth)).sum(axis=0)]
    counts = [*known, len(patients)] * (len(readings) * len(METRICS)) + [len(patients)] * (2 * len(gains))
    names += [("", f"{readings[m]}/{METRICS[j]}_gain") for m in gains for j in gained]
    tests: dict[Name, PairedTest] = {}
    for m, reading in enumerate(readings):
        for c, name in enumerate([*classes, ""]):
            columns = slice(c, c + 1) if name else slice(None)
            a, b, labels = (part[:, columns] for part in (calls[m], base_calls[m], truth))
            metric = f"{reading}/balanced_accuracy{'' if name else '_macro'}"
            tests[name, metric] = balanced_accuracy_test(a, b, labels, patients, replicates=replicates, seed=seed)
    return names, statistic, patients, counts, tests


def reading_arrays(
    items: pd.DataFrame, readings: Sequence[str], end: str = ""
) -> tuple[Floats, Floats, Floats, NDArray[np.object_], list[str]]:
    """Scores (M, N, C), calls (M, N, C), truth (N, C), patients (N,) and classes of the readings, columns + ``end``."""
    labels = items.pivot(index="image_id", columns="class", values="label")

    def wide(suffix: str) -> Floats:
        columns = [f"{reading}{suffix}{end}" for reading in readings]
        tables = [items.pivot(index="image_id", columns="class", values=column) for column in columns]
        return np.nan_to_num(np.stack([table.to_numpy(float) for table in tables]))

    patients = items.drop_duplicates("image_id").set_index("image_id")["patient_id"].reindex(labels.index)
    classes = [str(name) for name in labels.columns]
    return wide(""), wide(CALL), labels.to_numpy(float), patients.to_numpy(object), classes
