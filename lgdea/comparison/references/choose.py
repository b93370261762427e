"""Choice of healthy references for queries: K images of other people, at most one of each, best first.

Every strategy gives an order, so that K references are the first K of 30. Draws depend on the seed and the query alone,
never on the other queries. A reference has the query's modality, and is not lateral beside a frontal query.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.errors import UsageError

Strategy = Literal["random", "demographic", "embedding", "cross_centre", "same_centre"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)
COLUMNS = ["query_id", "reference_id", "query_patient", "reference_patient", "strategy", "rank", "rule"]
"""Columns of chosen references; ``rank`` begins with 1."""
DEMOGRAPHY = ("view", "sex", "age")

Vectors = NDArray[np.floating[Any]]
Order = Callable[[Any, NDArray[np.int64]], tuple[NDArray[np.int64], list[str]]]
"""Query, rows of its candidates in drawn order -> these rows best first, and the rule of each."""


@dataclass(frozen=True)
class References:
    """References, and the queries that have none.

    Attributes:
        table: One row per query and reference, :data:`COLUMNS`.
        skipped: ``{"id", "reason"}`` of each query without references.
        notes: What the reader must know: fewer than K, missing values.
    """

    table: pd.DataFrame
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def choose_references(
    queries: pd.DataFrame,
    healthy: pd.DataFrame,
    strategy: Strategy,
    k: int,
    *,
    seed: int = 0,
    embeddings: tuple[Vectors, Vectors] | None = None,
) -> References:
    """Choose K references for each query, never of its own patient and at most one of each.

    ``random``: drawn. ``same_centre`` and ``cross_centre``: drawn of the query's site, of another one.
    ``demographic``: those of the query's view first, then those of its sex, then the nearest in age; a value that is
    not known, of either, counts as different. ``embedding``: nearest by cosine.

    Args:
        queries: Rows of :func:`~lgdea.comparison.references.healthy.people`.
        healthy: Likewise, the healthy images.
        strategy: How to choose.
        k: References per query; fewer where there are no more people, which is noted.
        seed: Seed of draws, and of the order of equally near ones.
        embeddings: Embeddings (N, D) of the queries and (M, D) of the healthy images, for ``embedding``.

    Raises:
        UsageError: The strategy does not exist or needs what is not known: age, sex, view, site, embeddings.
    """
    if strategy not in STRATEGIES:
        raise UsageError(f"no strategy {strategy!r}", remedy=f"choose from {', '.join(STRATEGIES)}")
    order, notes = _order_by(strategy, queries, healthy, embeddings)
    pool = {name: healthy[name].to_numpy(object) for name in ("image_id", "patient_id", "modality", "view", "site")}
    lateral = pool["view"] == "lateral"
    rows: list[tuple[Any, ...]] = []
    skipped: list[dict[str, str]] = []
    short = 0
    each: Any = queries.reset_index(drop=True).itertuples()
    for query in each:
        fit = (pool["patient_id"] != query.patient_id) & (pool["modality"] == query.modality)
        fit &= lateral == (query.view == "lateral")
        candidates = np.flatnonzero(fit)
        if len(candidates):
            rng = np.random.default_rng([seed, zlib.crc32(str(query.image_id).encode())])
            candidates, rules = order(query, rng.permutation(candidates))
        if not len(candidates):
            skipped.append({"id": str(query.image_id), "reason": _nobody(strategy, query)})
            continue
        first = _one_each(pool["patient_id"][candidates])[:k]
        short += len(first) < k
        rows += [
            (query.image_id, pool["image_id"][candidates[i]], query.patient_id, pool["patient_id"][candidates[i]],
             strategy, rank, rules[i])
            for rank, i in enumerate(first, start=1)
        ]  # fmt: skip
    if short:
        notes.append(f"{strategy}: {short} queries have fewer than {k} references, as there are no more people")
    return References(pd.DataFrame(rows, columns=COLUMNS), skipped, notes)


def _one_each(patients: NDArray[np.object_]) -> list[int]:
    """Places at which a patient occurs for the first time."""
    seen: set[object] = set()
    return [i for i, patient in enumerate(patients) if not (patient in seen or seen.add(patient))]  # type: ignore[func-returns-value]


def _nobody(strategy: str, query: Any) -> str:
    if strategy in ("cross_centre", "same_centre"):
        if not isinstance(query.site, str):
            return "its site is not known"
        return f"no healthy image of {'another' if strategy == 'cross_centre' else 'its'} site, of another patient"
    return "no healthy image of another patient in its modality and projection"


def _order_by(
    strategy: str, queries: pd.DataFrame, healthy: pd.DataFrame, embeddings: tuple[Vectors, Vectors] | None
) -> tuple[Order, list[str]]:
    """The order of a strategy, and notes; refuses what cannot be ordered."""
    if strategy == "random":
        return lambda _, rows: (rows, ["random"] * len(rows)), []
    if strategy == "demographic":
        return _demographic(queries, healthy)
    if strategy == "embedding":
        return _nearest(healthy, embeddings), []
    return _of_centre(healthy, same=strategy == "same_centre"), []


def _of_centre(healthy: pd.DataFrame, *, same: bool) -> Order:
    sites = healthy["site"].to_numpy(object)
    named = sorted({site for site in sites if isinstance(site, str)})
    if not named or (len(named) < 2 and not same):
        have = f"all healthy images are of one site ({named[0]})" if named else "no healthy image has a site"
        raise UsageError(
            f"{'same' if same else 'cross'}_centre: {have}", remedy="choose another strategy, or merge two archives"
        )

    def order(query: Any, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[str]]:
        if not isinstance(query.site, str):
            return rows[:0], []
        known = np.array([isinstance(sites[i], str) and (sites[i] == query.site) == same for i in rows], bool)
        rows = rows[known]
        return rows, [f"of {sites[i]}, the query of {query.site}" for i in rows]

    return order


def _demographic(queries: pd.DataFrame, healthy: pd.DataFrame) -> tuple[Order, list[str]]:
    notes = []
    for name in DEMOGRAPHY:
        for which, table in (("query", queries), ("healthy image", healthy)):
            missing = int(table[name].isna().sum())
            if len(table) and missing == len(table):
                raise UsageError(
                    f"demographic: the {name} of no {which} is known", remedy="choose another strategy, or add it"
                )
            if missing:
                notes.append(f"demographic: the {name} is not known of {missing} of {len(table)} {which} rows")
    views, sexes = (healthy[name].to_numpy(object) for name in ("view", "sex"))
    ages = healthy["age"].to_numpy(float)

    def order(query: Any, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[str]]:
        age = np.abs(ages[rows] - float(query.age if query.age is not None else np.nan))
        other_view, other_sex = _differs(query.view, views[rows]), _differs(query.sex, sexes[rows])
        by = np.lexsort((np.nan_to_num(age, nan=np.inf), other_sex, other_view))
        rules = [
            f"{_alike('view', query.view, views[rows[i]])}, {_alike('sex', query.sex, sexes[rows[i]])}, "
            + ("age not known" if np.isnan(age[i]) else f"{age[i]:.0f} years apart")
            for i in by
        ]
        return rows[by], rules

    return order, notes


def _differs(value: object, others: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Whether each of ``others`` is known to be another than ``value``, or either is not known."""
    return np.array([not isinstance(value, str) or other != value for other in others], bool)


def _alike(name: str, a: object, b: object) -> str:
    if not (isinstance(a, str) and isinstance(b, str)):
        return f"{name} not known"
    return f"{'same' if a == b else 'other'} {name}"


def _nearest(healthy: pd.DataFrame, embeddings: tuple[Vectors, Vectors] | None) -> Order:
    if embeddings is None:
        raise UsageError("embedding: no embeddings of the images", remedy="name a model")
    of_queries, of_healthy = embeddings
    if len(of_healthy) != len(healthy):
        raise ValueError(f"{len(of_healthy)} embeddings for {len(healthy)} healthy images")

    def order(query: Any, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[str]]:
        cosines = of_healthy[rows] @ of_queries[query.Index]
        by = np.argsort(-cosines, kind="stable")
        return rows[by], [f"cosine {cosines[i]:.3f}" for i in by]

    return order
