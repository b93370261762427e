"""All metrics of scored answers as one statistic of a table of items, for values and for differences alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lgdea.evaluation.metrics.statements import FACETS, micro_f1
from lgdea.evaluation.metrics.text import BLEU_COLUMNS, corpus_bleu
from lgdea.statistics.bootstrap import Statistic, side_by_side, weighted_mean

COUNTS = ("hits", "false", "missed")
BLEU = "bleu"
MEANS = ("accuracy", "set_accuracy", "rouge1", "rouge2", "rougeL", "meteor")
PLUGIN = "plugin/"


def evidence_columns(facet: str) -> list[str]:
    """Columns of a facet's counts in the table of items."""
    return [f"evidence_{facet}_{count}" for count in COUNTS]


def metrics_of(items: pd.DataFrame) -> list[str]:
    """The metrics that a table of items can tell."""
    names = [name for name in MEANS[:2] if name in items and items[name].notna().any()]
    names += [f"evidence_f1/{facet}" for facet in FACETS if evidence_columns(facet)[0] in items]
    names += [BLEU] if BLEU_COLUMNS[0] in items else []
    names += [name for name in MEANS[2:] if name in items]
    return names + [str(name) for name in items if str(name).startswith(PLUGIN) and not str(name).endswith("_base")]


def answers_statistic(items: pd.DataFrame, names: Sequence[str], end: str = "") -> Statistic:
    """The statistic of all ``names``: weights (R, N) to (R, M).

    Args:
        items: N scored answers.
        names: M metrics of :func:`metrics_of`.
        end: Ending of the columns that are read: ``_base`` for those of a baseline beside it.
    """
    parts = []
    for name in names:
        if name.startswith("evidence_f1/"):
            columns = [f"{column}{end}" for column in evidence_columns(name.partition("/")[2])]
            parts.append(_column(micro_f1(items[columns].to_numpy(float))))
        elif name == BLEU:
            parts.append(_column(corpus_bleu(items[[f"{column}{end}" for column in BLEU_COLUMNS]].to_numpy(float))))
        else:
            parts.append(_column(weighted_mean(items[f"{name}{end}"].to_numpy(float))))
    return side_by_side(*parts)


def counts_of(items: pd.DataFrame, names: Sequence[str]) -> list[int]:
    """Items behind each metric: those that it is defined for."""
    return [int(items[name].notna().sum()) if name in items else len(items) for name in names]


def definition_of(name: str) -> str:
    """Id of a metric's definition; a plug-in defines its own."""
    if name.startswith(PLUGIN):
        return "answers/plugin-v1"
    short = {"rouge1": "rouge-1", "rouge2": "rouge-2", "rougeL": "rouge-l", "set_accuracy": "set-accuracy"}
    return f"answers/{short.get(name, name.replace('_', '-').replace('/', '-'))}-v1"


def groups_of(items: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    """Rows of each kind and form of question, each state (or other label) and each finding, where they are known."""
    found = []
    for column, prefix in (("form", ""), ("state", "state: "), ("class", "finding: ")):
        if column in items:
            values = items[column].fillna("").to_numpy(str)
            found += [(f"{prefix}{name}", values == name) for name in np.unique(values) if name]
    return found


def _column(statistic: Statistic) -> Statistic:
    return lambda weights: statistic(weights).reshape(len(weights), -1)
