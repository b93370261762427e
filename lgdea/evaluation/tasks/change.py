"""Interval change: the state of each finding in a study beside its prior, and the swap test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.comparison.change.pairs import Pairs
from lgdea.comparison.change.protocol import ChangeReader
from lgdea.comparison.change.states import COARSE, COARSE_STATES, MIRROR, STATES
from lgdea.errors import DataError
from lgdea.evaluation.config import ChangeConfig
from lgdea.evaluation.encoders.protocol import (
    EvaluableModel,
    as_evaluable,
    check_output,
    model_name,
    notes_of,
)
from lgdea.evaluation.images import ImageSource
from lgdea.evaluation.metrics import change as metrics
from lgdea.evaluation.results.result import Result, Value, values
from lgdea.evaluation.tasks import change_difference as difference
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.change_items import items_of, pairs_of, truth_of
from lgdea.evaluation.tasks.graded import units_of
from lgdea.progress import track
from lgdea.statistics.bootstrap import cluster_bootstrap, side_by_side, weighted_mean

if TYPE_CHECKING:
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive

Floats = NDArray[np.float64]
KINDS = {"": "", "_difference": "-difference", "_chance": "-chance"}
"""Suffixes of the metrics: the model's, the difference of zero-shot scores, and the answer "stable" to everything."""
DISAGREEMENT = "disagreement"
"""Quality of a label on which the readers of MS-CXR-T did not agree."""


def change(
    model: ChangeReader | EvaluableModel | LgdeaModel,
    archive: Archive,
    config: ChangeConfig | None = None,
    *,
    evidence: str | Path | pd.DataFrame | None = None,
    **settings: Any,
) -> Result:
    """Tell for each finding of each pair whether it is new, worse, stable, better or resolved.

    A model without ``read_changes`` answers by the difference of its zero-shot scores, which is the baseline of every
    other. The result's items are ``pair_id, image_id``, image_prior, study_id, study_prior,
    patient_id, class, rule, days, nth, quality, state, answer, answer_exchanged, answer_difference``, the
    probabilities ``p_new`` to ``p_resolved``, and ``correct``, ``set_correct`` and ``swap_consistent``.

    Args:
        model: The model.
        archive: Has images of patients over time, and their truth.
        config: Settings; the defaults otherwise.
        evidence: Evidence folder of the whole archive, or a table of units, where the reports' statements are the
            truth.
        **settings: Fields of :class:`ChangeConfig` laid over ``config``.

    Raises:
        UsageError: There is no truth of the kind asked for.
        DataError: No study has a prior, or fewer than two states occur.
    """
    config = common.resolve(ChangeConfig, config, settings)
    name = model_name(model)
    reader = model if isinstance(model, ChangeReader) else None
    scorer = _scorer(model)
    units = units_of(archive, evidence)
    pairs = pairs_of(archive, config, config.split)
    truth, notes = truth_of(archive, pairs, config, units)
    source = common.image_source(archive, config, scorer)
    items = items_of(pairs.table, truth)
    answers = (
        difference.differences(scorer, source, archive, items, config, units, notes) if scorer is not None else None
    )
    if answers is not None:
        items = (
            items.assign(answer_difference=pd.Series(answers, index=items.index))
            .dropna(subset="answer_difference")
            .reset_index(drop=True)
        )
    items = _read(reader, source, items, config)
    if items.empty:
        raise DataError("no pair has two readable images", file=archive.folder, remedy="check image_root")
    overall, per_class = _summarise(items, config)
    if not per_class:
        least = f"two states of at least {config.min_items} items each (min_items)"
        notes.append(f"balanced_accuracy_macro is not defined: no finding has {least}")
    return Result(
        task="change",
        definition="change-v1",
        model=name,
        archive=archive.name,
        split=config.split,
        metrics=overall,
        per_class=per_class,
        config=config.model_dump(mode="json"),
        items=items,
        skipped=pairs.refused + source.skipped,
        notes=[*_describe(items, pairs), *notes, *_agreed(items, config), *notes_of(model)],
    )


def _scorer(model: Any) -> EvaluableModel | None:
    """The model as one that scores phrases, else the model below its head; None for a reader without either."""
    if isinstance(model, ChangeReader) and not isinstance(model, EvaluableModel):
        base = getattr(model, "base", None)
        return None if base is None else as_evaluable(base)
    return as_evaluable(model)


def _read(reader: ChangeReader | None, source: ImageSource, items: pd.DataFrame, config: ChangeConfig) -> pd.DataFrame:
    """Add the answers to each pair and to the exchanged pair, and what follows from them; unreadable pairs go."""
    if reader is None:
        forwards = difference.one_hot(items["answer_difference"].to_numpy(str))
        backwards = forwards[:, ::-1]
    else:
        items, forwards, backwards = _ask(reader, source, items, config)
    answers, exchanged = _states(forwards, config), _states(backwards, config)
    state = items["state"].to_numpy(str)
    mirrored = np.array([_mirrored(s, config) for s in exchanged]) if len(exchanged) else exchanged
    items = items.assign(answer=answers, answer_exchanged=exchanged)
    items = items.assign(**{f"p_{s}": forwards[:, k] for k, s in enumerate(STATES)})
    right = answers == state
    return items.assign(
        correct=right.astype(float),
        set_correct=(right & (mirrored == state)).astype(float),
        swap_consistent=metrics.swap_agreement(answers, exchanged),
        **({"correct_difference": (items["answer_difference"] == state).astype(float)} if _has(items) else {}),
        correct_chance=(state == "stable").astype(float),
    )


def _ask(
    reader: ChangeReader, source: ImageSource, items: pd.DataFrame, config: ChangeConfig
) -> tuple[pd.DataFrame, Floats, Floats]:
    findings = sorted(items["class"].unique())
    column = {name: i for i, name in enumerate(findings)}
    pairs = items.drop_duplicates("pair_id")
    half = max(1, config.batch_size // 2)
    kept, parts = [], []
    for start in track(range(0, len(pairs), half), "reading changes", -(-len(pairs) // half)):
        block = pairs.iloc[start : start + half]
        wanted = [i for both in zip(block["image_prior"], block["image_id"], strict=True) for i in both]
        pixels = dict(zip(wanted, source.read_ahead(wanted, config.batch_size), strict=True))
        source.skipped += [{"id": i, "reason": p} for i, p in pixels.items() if isinstance(p, str)]
        fit = [p for p in block.itertuples() if not isinstance(pixels[p.image_prior], str)
               and not isinstance(pixels[p.image_id], str)]  # fmt: skip
        if not fit:
            continue
        before: list[Any] = [pixels[p.image_prior] for p in fit]
        now: list[Any] = [pixels[p.image_id] for p in fit]
        shape = (len(fit), len(findings), len(STATES))
        both = [
            np.asarray(reader.read_changes(*order, findings), np.float64) for order in ((before, now), (now, before))
        ]
        parts.append(np.stack([check_output(part, shape, "states") for part in both]))
        kept += [p.pair_id for p in fit]
    if not kept:
        return items.iloc[:0], np.zeros((0, len(STATES))), np.zeros((0, len(STATES)))
    table = np.concatenate(parts, axis=1)
    items = items[items["pair_id"].isin(kept)].reset_index(drop=True)
    rows = pd.Index(kept).get_indexer(pd.Index(items["pair_id"]))
    columns = items["class"].map(column).to_numpy()
    return items, table[0, rows, columns], table[1, rows, columns]


def _states(probabilities: Floats, config: ChangeConfig) -> NDArray[np.str_]:
    """The most probable state of each item (N, 5); with three states their probabilities are summed first."""
    if config.states == 5:
        return np.array(STATES)[probabilities.argmax(axis=1)]
    summed = np.stack(
        [probabilities[:, [k for k, s in enumerate(STATES) if COARSE[s] == c]].sum(axis=1) for c in COARSE_STATES], 1
    )
    return np.array(COARSE_STATES)[summed.argmax(axis=1)]


def _mirrored(state: str, config: ChangeConfig) -> str:
    opposite = MIRROR[state]
    return COARSE[opposite] if config.states == 3 else opposite


def _summarise(items: pd.DataFrame, config: ChangeConfig) -> tuple[dict[str, Value], dict[str, dict[str, Value]]]:
    state, findings = items["state"].to_numpy(str), items["class"].to_numpy(str)
    scored = [
        str(name) for name in np.unique(findings)
        if len(metrics.frequent_states(state[findings == name], config.min_items)) > 1
    ]  # fmt: skip
    kinds = {suffix: part for suffix, part in KINDS.items() if f"correct{suffix}" in items}
    overall: dict[str, Value] = {}
    per_class: dict[str, dict[str, Value]] = {name: {} for name in scored}
    clusters = items["patient_id"].to_numpy()
    statistics = [
        metrics.balanced_accuracies(items[f"correct{suffix}"], state, findings, scored, config.min_items)
        for suffix in kinds
    ]
    interval = cluster_bootstrap(
        side_by_side(*statistics), clusters, replicates=config.bootstrap_replicates, seed=config.seed
    )
    width = len(scored) + 2
    counts = [int((findings == name).sum()) for name in scored]
    counts += [sum(counts), len(items)]
    for k, (suffix, part) in enumerate(kinds.items()):
        mine = [bounds[k * width : (k + 1) * width] for bounds in interval]
        names = [*scored, f"balanced_accuracy{suffix}_macro", f"balanced_accuracy{suffix}"]
        definition = f"change/balanced-accuracy{part}-v1"
        columns = values(
            names, mine, counts, [definition] * (width - 2) + [definition.replace("-v1", "-macro-v1"), definition]
        )
        overall[names[-1]] = columns[names[-1]]
        overall[names[-2]] = columns[names[-2]]
        for name in scored:
            per_class[name][f"balanced_accuracy{suffix}"] = columns[name]
    return overall | _swap(items, config), per_class


def _swap(items: pd.DataFrame, config: ChangeConfig) -> dict[str, Value]:
    """Values of the swap test, and plain accuracy."""
    directed = items["answer"].ne("stable").to_numpy()
    columns = {
        "swap_consistency": items["swap_consistent"].to_numpy(float),
        "swap_flipped": np.where(directed, items["swap_consistent"].to_numpy(float), np.nan),
        "set_accuracy": items["set_correct"].to_numpy(float),
        "accuracy": items["correct"].to_numpy(float),
    }
    table = np.stack(list(columns.values()), axis=1)
    clusters = items["patient_id"].to_numpy()
    interval = cluster_bootstrap(
        weighted_mean(table), clusters, replicates=config.bootstrap_replicates, seed=config.seed
    )
    counts = [int(n) for n in (~np.isnan(table)).sum(axis=0)]
    return values(list(columns), interval, counts, [f"change/{name.replace('_', '-')}-v1" for name in columns])


def _agreed(items: pd.DataFrame, config: ChangeConfig) -> list[str]:
    """Values without the labels on which the source's readers disagreed, as a note."""
    torn = items["quality"].eq(DISAGREEMENT).to_numpy()
    if not torn.any() or torn.all():
        return []
    rest, _ = _summarise(items[~torn].reset_index(drop=True), config)
    names = ("balanced_accuracy_macro", "balanced_accuracy_difference_macro")
    said = ", ".join(
        f"{name} {rest[name].value:.3f} [{rest[name].low:.3f}, {rest[name].high:.3f}]" for name in names if name in rest
    )
    left = len(items) - int(torn.sum())
    return [f"without the {int(torn.sum())} labels on which the source's readers disagree ({left} left): {said}"]


def _describe(items: pd.DataFrame, pairs: Pairs) -> list[str]:
    used = items.drop_duplicates("pair_id")
    rules = ", ".join(f"{count} {rule}" for rule, count in used["rule"].value_counts().items())
    days = used["days"].dropna()
    apart = f"; {days.median():g} days apart in the median, {days.min():g} to {days.max():g}" if len(days) else ""
    states = ", ".join(f"{count} {state}" for state, count in items["state"].value_counts().items())
    notes = [
        f"{len(used)} pairs of {used['patient_id'].nunique()} patients ({rules}){apart}",
        f"{len(items)} items: {states}",
    ]
    if pairs.refused:
        first = pairs.refused[0]
        notes.append(f"{len(pairs.refused)} studies refused, e.g. {first['id']}: {first['reason']}")
    return notes


def _has(items: pd.DataFrame) -> bool:
    return "answer_difference" in items
