"""The worst items of every model side by side, and where one model is right and another wrong.

Of each patient at most one item is in a list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lgdea.comparison.change.states import COARSE, COARSE_STATES, STATES
from lgdea.evaluation.results.differences import KEYS
from lgdea.evaluation.results.result import Result
from lgdea.reporting.beside_method import beside_method
from lgdea.reporting.measures import TaskTables

PER_CLASS = 2
PER_GROUP = 5
PER_PAIR = 6
"""Items shown of each model and class (:data:`BY_CLASS`), of each model (other tasks), and of each pair of models."""

BY_CLASS = ("zero-shot", "change", "entity-retrieval", "references")
WITH_BEST = BY_CLASS[1:]
"""Tasks of comparison, of which the page also shows what models got right and were most sure of."""

RIGHT_RANK = 10
"""A query whose right answer is ranked this high counts as right."""


@dataclass(frozen=True)
class Judged:
    """One model's outcome for an item; ``right`` is None when that is not defined."""

    label: str
    text: str
    right: bool | None


@dataclass(frozen=True)
class Case:
    """One item with the outcome of every model."""

    task: str
    item: str
    """Image or report id."""
    study: str
    what: str
    """Class, phrase or entity in words; empty for retrieval."""
    phrase: str
    """Phrase, entity or finding of an item of grounding, entity retrieval or references, as scored."""
    truth: str
    worst_of: tuple[str, ...]
    judged: tuple[Judged, ...]
    prior: str = ""
    """Id of the prior image of an item of change."""
    about: str = ""
    """Days between the two, and the rule by which the prior was chosen."""


@dataclass(frozen=True)
class CaseGroup:
    """Cases under one heading."""

    title: str
    cases: tuple[Case, ...]
    pair: bool = False
    """True for items on which two models differ, False for the worst of one."""
    best: bool = False
    """True for what models got right and were most sure of."""


def worst_cases(table: TaskTables, baseline: str | None) -> list[CaseGroup]:
    """Groups for the page; none for a task that is not known here or has no per-item scores.

    "Worst" is, for zero-shot, a present class with a low or an absent class with a high score among all images of
    that class (scores of two models share no scale); for retrieval the rank of the first right answer; for grounding
    a maximum outside every box, those of the lowest CNR first; for change, by state, the true state's probability; for
    entity retrieval, by entity, the nDCG of what was found; for references, by finding, the place of the score beside
    references as for zero-shot. Of the last three the best items follow. Ties go by id.

    Args:
        table: The results of one task.
        baseline: Each other model is set against this one; None for no such lists.
    """
    judge = _JUDGES.get(table.task)
    found = {} if judge is None else {k: judge(r) for k, r in table.results.items() if _has_items(r)}
    if not found:
        return []
    wide = _side_by_side(found)
    groups = []
    for a, b in _pairs(list(found), baseline):
        groups.append(_telling(table.task, wide, found, a, b))
    order = [row.name for row in table.per_class[0].rows] if table.per_class else []
    names = sorted(wide["group"].unique(), key=lambda n: (order.index(n) if n in order else len(order), n))
    for name in names:
        part = wide[wide["group"] == name]
        count = PER_CLASS if table.task in BY_CLASS else PER_GROUP
        groups.append(CaseGroup(str(name).replace("_", " "), _worst(table.task, part, found, count)))
    if table.task in WITH_BEST:
        groups += [CaseGroup(f"best of {label}", _best(table.task, wide, found, label), best=True) for label in found]
    return groups


def _has_items(result: Result) -> bool:
    needed = {*KEYS[result.task], *_COLUMNS[result.task], "patient_id"}
    return not result.items.empty and needed <= set(result.items)


def _zero_shot(result: Result) -> pd.DataFrame:
    items = _placed(result.items, "score")
    thresholds = {c: v["threshold"].value for c, v in result.per_class.items() if "threshold" in v}
    threshold = items["class"].map(thresholds).astype(float)
    right = (items["score"] >= threshold) == (items["label"] == 1)
    items["right"] = np.where(threshold.isna(), np.nan, right.astype(float))
    items["group"] = items["class"]
    return items


def _placed(items: pd.DataFrame, score: str) -> pd.DataFrame:
    """Labelled items with the place of their score among those of their class, and how bad that is."""
    items = items[items["label"].isin((0, 1))].copy()
    by_class = items.groupby("class")[score]
    items["place"] = (by_class.rank() - 0.5) / by_class.transform("size")
    items["badness"] = np.where(items["label"] == 1, 1 - items["place"], items["place"])
    return items


def _retrieval(result: Result) -> pd.DataFrame:
    items = result.items[result.items["first_positive_rank"].notna()].copy()
    items["badness"] = np.log(items["first_positive_rank"].to_numpy(float))
    items["right"] = (items["first_positive_rank"] <= RIGHT_RANK).astype(float)
    items["group"] = items["direction"]
    return items


def _grounding(result: Result) -> pd.DataFrame:
    items = result.items[result.items["pointing"].notna()].copy()
    contrast = items["cnr"].fillna(0).to_numpy(float) if "cnr" in items else np.zeros(len(items))
    items["badness"] = 1 - items["pointing"] + 1 / (2 + contrast)
    items["right"] = (items["pointing"] >= 0.5).astype(float)
    items["group"] = "all phrases"
    return items


def _change(result: Result) -> pd.DataFrame:
    items = result.items.copy()
    coarse = result.config.get("states") == len(COARSE_STATES)

    def probability(column: str) -> np.ndarray:
        called = {s: items[column] == (COARSE[s] if coarse else s) for s in STATES}
        return np.sum([np.where(called[s], items[f"p_{s}"].to_numpy(float), 0) for s in STATES], axis=0)

    items["p_true"], items["p_answer"] = probability("state"), probability("answer")
    items["badness"], items["right"], items["group"] = 1 - items["p_true"], items["correct"], items["state"]
    return items


def _entity_retrieval(result: Result) -> pd.DataFrame:
    method = "reranked" if any(c.startswith("reranked/") for c in map(str, result.items)) else "conditioned"
    gain, hit = (_first_rank(result.items, f"{method}/{metric}@") for metric in ("ndcg", "recall"))
    items = result.items[result.items[gain].notna() & (result.items["positives"] > 0)].copy()
    items["badness"], items["right"] = 1 - items[gain], (items[hit] >= 0.5).astype(float)
    items["group"] = items["entity"]
    items["said"] = [f"nDCG@{gain.partition('@')[2]} {value:.2f}" for value in items[gain]]
    return items


def _first_rank(items: pd.DataFrame, stem: str) -> str:
    """The column of a metric at its lowest rank k."""
    return min((c for c in map(str, items) if c.startswith(stem)), key=lambda c: int(c.removeprefix(stem)))


def _references(result: Result) -> pd.DataFrame:
    beside = beside_method(result)
    items = _placed(result.items, beside.column)
    call = items[f"{beside.column}/call"]
    items["right"], items["group"] = (call == items["label"]).astype(float), items["class"]
    name = {"z": "z ", "paired": ""}[beside.kind]
    items["said"] = [
        f"beside {beside.k} references ({beside.strategy.replace('_', ' ')}): {name}{score:.2f}, {_called(called)}; "
        f"alone: {_called(alone)}"
        for score, called, alone in zip(items[beside.column], call, items["single/call"], strict=True)
    ]
    return items


def _called(call: float) -> str:
    return "present" if call == 1 else "absent"


_JUDGES: dict[str, Callable[[Result], pd.DataFrame]] = {
    "zero-shot": _zero_shot,
    "retrieval": _retrieval,
    "grounding": _grounding,
    "change": _change,
    "entity-retrieval": _entity_retrieval,
    "references": _references,
}
_COLUMNS = {
    "zero-shot": ("score", "label"),
    "retrieval": ("first_positive_rank",),
    "grounding": ("pointing",),
    "change": ("answer", "state", "image_prior", *(f"p_{state}" for state in STATES)),
    "entity-retrieval": ("positives", "entity"),
    "references": ("single", "label", "single/call"),
}


def _side_by_side(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row per item of any model: group, patient, and (badness, label) and (right, label), NaN where not scored."""
    parts: dict[Any, pd.Series] = {}
    shared: dict[str, pd.Series] = {}
    for label, items in found.items():
        key = KEYS[_task_of(items)]
        once = items.drop_duplicates(key).set_index(key)
        parts |= {("badness", label): once["badness"], ("right", label): once["right"]}
        for name, column in (("group", once["group"]), ("patient", once["patient_id"])):
            shared[name] = shared[name].combine_first(column) if name in shared else column
    wide = pd.DataFrame(parts)
    return wide.assign(**{name: column.reindex(wide.index) for name, column in shared.items()}).sort_index()


def _task_of(items: pd.DataFrame) -> str:
    return next(task for task, columns in _COLUMNS.items() if columns[0] in items)


def _pairs(labels: Sequence[str], baseline: str | None) -> list[tuple[str, str]]:
    if baseline is None or baseline not in labels:
        return []
    others = [label for label in labels if label != baseline]
    return [pair for other in others for pair in ((other, baseline), (baseline, other))]


def _telling(task: str, wide: pd.DataFrame, found: Mapping[str, pd.DataFrame], a: str, b: str) -> CaseGroup:
    rows = wide[(wide[("right", a)] == 1) & (wide[("right", b)] == 0)]
    gap = rows[("badness", b)] - rows[("badness", a)]
    keys = _highest(gap, rows["patient"], PER_PAIR)
    title = f"{a} right, {b} wrong: {len(rows)} of {int(wide[[('right', a), ('right', b)]].notna().all(axis=1).sum())}"
    return CaseGroup(title, _cases(task, keys, {}, found), pair=True)


def _worst(task: str, part: pd.DataFrame, found: Mapping[str, pd.DataFrame], count: int) -> tuple[Case, ...]:
    chosen: dict[Any, list[str]] = {}
    for label in found:
        for key in _highest(part[("badness", label)].dropna(), part["patient"], count):
            chosen.setdefault(key, []).append(label)
    return _cases(task, chosen, chosen, found)


def _best(task: str, wide: pd.DataFrame, found: Mapping[str, pd.DataFrame], label: str) -> tuple[Case, ...]:
    """The items that a model got right and was most sure of; one of each state, entity or finding."""
    right = wide[wide[("right", label)] == 1]
    sure = -right[("badness", label)]
    if task == "change":
        keys = [key for state in STATES for key in _highest(sure[right["group"] == state], right["patient"], 1)]
    else:
        sure = sure.sort_values(ascending=False, kind="stable")
        once = sure[~right["group"].reindex(sure.index).duplicated()]
        keys = _highest(once, right["patient"], PER_GROUP)
    return _cases(task, keys, {}, found)


def _highest(column: pd.Series, patients: pd.Series, count: int) -> list[Any]:
    """Keys of the highest values, one of each patient; ties go by key."""
    ordered = column.sort_values(ascending=False, kind="stable")
    first = ~patients.reindex(ordered.index).duplicated()
    return list(ordered.index[first.to_numpy()][:count])


def _cases(
    task: str, keys: Iterable[Any], worst_of: Mapping[Any, list[str]], found: Mapping[str, pd.DataFrame]
) -> tuple[Case, ...]:
    keys = list(keys)
    columns = KEYS[task]
    wanted = pd.DataFrame(keys, columns=columns)
    rows = {}
    for label, items in found.items():
        matched = wanted.merge(items.drop_duplicates(columns), on=columns, how="inner")
        rows[label] = {tuple(row[c] for c in columns): row for row in matched.to_dict("records")}
    cases = []
    for key in keys:
        each = {label: by_key.get(key) for label, by_key in rows.items()}
        row = next(r for r in each.values() if r is not None)
        scored = str(row.get("phrase", row.get("entity", row.get("class", ""))))
        cases.append(
            Case(
                task=task,
                item=str(row["query_id" if task == "retrieval" else "image_id"]),
                study=str(row.get("study_id", "")),
                what=scored.replace("_", " "),
                phrase=scored if task in ("grounding", "entity-retrieval", "references") else "",
                truth=_truth(task, row),
                worst_of=tuple(worst_of.get(key, ())),
                judged=tuple(_judged(task, label, r) for label, r in each.items()),
                prior=str(row["image_prior"]) if task == "change" else "",
                about=_about(row) if task == "change" else "",
            )
        )
    return tuple(cases)


def _truth(task: str, row: Mapping[Any, Any]) -> str:
    if task == "change":
        return str(row["state"])
    if task == "entity-retrieval":
        return "1 case agrees" if row["positives"] == 1 else f"{row['positives']:,} cases agree"
    return _called(row["label"]) if task in ("zero-shot", "references") else ""


def _about(row: Mapping[Any, Any]) -> str:
    days = float(row["days"]) if row.get("days") is not None else math.nan
    parts = ("" if math.isnan(days) else f"{days:g} days apart", str(row.get("rule") or ""))
    return ", ".join(part for part in parts if part)


def _judged(task: str, label: str, row: Mapping[Any, Any] | None) -> Judged:
    if row is None:
        return Judged(label, "not scored", None)
    right = None if math.isnan(row["right"]) else bool(row["right"])
    if task == "zero-shot":
        return Judged(label, f"{row['score']:.3f}, above {100 * row['place']:.0f}% of images", right)
    if "said" in row:
        return Judged(label, str(row["said"]), right)
    if task == "change":
        missed = "" if right else f", {row['state']} {row['p_true']:.2f}"
        return Judged(label, f"{row['answer']} {row['p_answer']:.2f}{missed}", right)
    if task == "retrieval":
        return Judged(label, f"rank {row['first_positive_rank']:g}", right)
    numbers = [f"{name} {row[key]:.2f}" for key, name in (("cnr", "CNR"), ("miou", "mIoU")) if key in row]
    return Judged(label, ", ".join(numbers), right)
