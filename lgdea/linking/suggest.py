"""Which links to make next: the training studies whose image, or report, stands for the most that no link covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lgdea.errors import UsageError
from lgdea.graph.coverage import cover_graph, coverage, facility_location, k_centre, weighted_cover
from lgdea.linking.inputs import (
    StatedFindings,
    TrainingItems,
    archive_evidence,
    first_unrelated,
    image_vectors,
    stated_findings,
    training_items,
)

if TYPE_CHECKING:
    from lgdea.evaluation.encoders.protocol import ImageEncoder
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive

Strategy = Literal["images", "k-centre", "rare", "both", "random"]
BY_IMAGES, BY_REPORTS = ("images", "k-centre", "both"), ("rare", "both")
COLUMNS = ("rank", "patient_id", "study_id", "image_id", "report_id", "reason")
NEIGHBOURS = (10, 200)
"""Fewest and most neighbours that an item can stand for; between them, so many that all links together reach all."""
EDGES = 20_000_000
"""Edges of a neighbour graph at most, about a gigabyte."""
RANDOM_DRAWS = 20
SHOWN = 3
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """Items that a strategy has chosen on one side.

    Attributes:
        items: Rows of the side's table, best first.
        reasons: What each of them covers.
        measured: Coverage by name: before, after, and after links drawn at random (mean and deviation).
    """

    items: pd.DataFrame
    reasons: list[str]
    measured: list[dict[str, Any]] = field(default_factory=list)


def suggest_links(
    archive: Archive,
    budget: int,
    *,
    model: str | Path | ImageEncoder | LgdeaModel | None = None,
    evidence: str | Path | pd.DataFrame | None = None,
    pairing: pd.DataFrame | str | Path | None = None,
    strategy: Strategy | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Choose the training studies to link next; see :func:`lgdea.suggest_links`."""
    items = training_items(archive, pairing)
    strategy = _strategy(strategy, model, evidence)
    vectors = findings = None
    if strategy in BY_IMAGES:
        images, vectors = image_vectors(archive, items.images, model)  # type: ignore[arg-type]
        items = TrainingItems(images, items.reports)
    if strategy in BY_REPORTS:
        findings = stated_findings(archive_evidence(archive, evidence), items.reports["report_id"])  # type: ignore[arg-type]
    _check_budget(archive, items, strategy, budget)
    return choose_links(items, budget, strategy, vectors=vectors, findings=findings, seed=seed)


def choose_links(
    items: TrainingItems,
    budget: int,
    strategy: Strategy,
    *,
    vectors: np.ndarray | None = None,
    findings: StatedFindings | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Choose among items whose features are known.

    Args:
        items: Images and reports and their states.
        budget: Number of studies, at most as many as are not linked on the strategy's side.
        strategy: See :func:`lgdea.suggest_links`.
        vectors: (N, D) features of ``items.images``, for the strategies that look at images.
        findings: Of ``items.reports``, for those that look at reports.
        seed: Seed of random choices.

    Returns:
        Columns :data:`COLUMNS`; ``attrs["coverage"]`` holds what is covered before and after.
    """
    rng = np.random.default_rng(seed)
    choices: list[Choice] = []
    if strategy in BY_REPORTS:
        assert findings is not None
        share = budget - budget // 2
        by_chance = budget // 2 if strategy == "rare" else 0
        choices.append(_choose_reports(items.reports, findings, share, by_chance, rng))
    if strategy in BY_IMAGES and (share := budget if strategy != "both" else budget // 2):
        assert vectors is not None
        taken = set(choices[0].items["study_id"]) if choices else set()
        choices.append(_choose_images(items.images, vectors, share, strategy, rng, taken))
    if strategy == "random":
        side = items.images if len(_open(items.images)) else items.reports
        drawn = side.iloc[_draw(side, _open(side), budget, rng)]
        choices.append(Choice(drawn, ["drawn at random"] * len(drawn)))
    parts = [choice.items.assign(reason=choice.reasons, place=range(len(choice.items))) for choice in choices]
    table = pd.concat(parts).sort_values("place", kind="stable").reset_index(drop=True)
    table["rank"] = range(1, len(table) + 1)
    table = table.reindex(columns=list(COLUMNS))
    table[["image_id", "report_id"]] = table[["image_id", "report_id"]].astype(object).where(table.notna(), "")
    table.attrs = {
        "strategy": strategy,
        "budget": budget,
        "coverage": [row for choice in choices for row in choice.measured],
    }
    return table


def _strategy(strategy: str | None, model: object, evidence: object) -> Strategy:
    """The strategy, by default the one that uses all that is given."""
    if strategy is None:
        if model is None and evidence is None:
            raise UsageError("nothing to choose by", remedy="give a model, evidence or both, or strategy random")
        return "both" if model is not None and evidence is not None else "images" if model is not None else "rare"
    if strategy not in get_args(Strategy):
        raise UsageError(f"no such strategy {strategy!r}", remedy=f"choose one of {', '.join(get_args(Strategy))}")
    if strategy in BY_IMAGES and model is None:
        raise UsageError(f"strategy {strategy} looks at images", remedy="give a model that embeds them")
    if strategy in BY_REPORTS and evidence is None:
        raise UsageError(f"strategy {strategy} reads evidence", remedy="give the evidence of the archive's reports")
    return strategy  # type: ignore[return-value]


def _check_budget(archive: Archive, items: TrainingItems, strategy: Strategy, budget: int) -> None:
    if budget < 1:
        raise UsageError(f"a budget of {budget} links chooses nothing", remedy="ask for at least one")
    by_images, by_reports = strategy in BY_IMAGES, strategy in BY_REPORTS
    if strategy == "random":
        by_images = bool(len(_open(items.images)))
        by_reports = not by_images
    need = {"images": budget * by_images, "reports": budget * by_reports}
    if by_images and by_reports:
        left = len({study for side in (items.images, items.reports) for study in side["study_id"].iloc[_open(side)]})
        if budget > left:
            raise UsageError(
                f"{budget:,} links are asked for, {left:,} training studies are not linked",
                file=archive.folder,
                remedy="lower the budget" if left else "all links are there already",
            )
        need = {"images": budget // 2, "reports": budget - budget // 2}
    for side, wanted in need.items():
        count = len(_open(getattr(items, side)))
        if wanted > count:
            raise UsageError(
                f"{wanted:,} links of {side} are asked for, {count:,} training studies with {side} are not linked",
                file=archive.folder,
                remedy="lower the budget" if count else "all links are there already",
            )


def _open(side: pd.DataFrame) -> Ints:
    """Row numbers of the first item of each study that is not linked."""
    return np.flatnonzero(((side["state"] != "paired") & ~side["study_id"].duplicated()).to_numpy())


def _draw(side: pd.DataFrame, pool: Ints, budget: int, rng: np.random.Generator) -> Ints:
    """Row numbers drawn at random, every patient once before any is drawn twice."""
    shuffled = rng.permutation(pool)
    turn = side["patient_id"].iloc[shuffled].groupby(side["patient_id"].iloc[shuffled].to_numpy()).cumcount()
    return np.asarray(shuffled[np.argsort(turn.to_numpy(), kind="stable")][:budget])


def _choose_images(
    images: pd.DataFrame, vectors: np.ndarray, budget: int, strategy: str, rng: np.random.Generator, taken: set[str]
) -> Choice:
    pool, linked = _open(images), np.flatnonzero(images["state"] == "paired")
    free = pool[~images["study_id"].iloc[pool].isin(taken).to_numpy()]
    patients = pd.factorize(images["patient_id"])[0]
    reach = min(-(-len(images) // (len(linked) + budget)), EDGES // len(images))
    weights = cover_graph(vectors, int(np.clip(reach, *NEIGHBOURS)))
    before = coverage(weights, linked)
    if strategy == "k-centre":
        chosen, apart = k_centre(vectors, budget, candidates=free, centres=linked, groups=patients)
        reasons = [_distance_reason(value) for value in apart]
    else:
        chosen, _ = facility_location(weights, budget, candidates=free, covered=before, groups=patients)
        reasons = _coverage_reasons(weights, before, chosen)
    random = [coverage(weights, [*linked, *_draw(images, pool, budget, rng)]).mean() for _ in range(RANDOM_DRAWS)]
    after = coverage(weights, [*linked, *chosen]).mean()
    measured = _measured("mean likeness of an image to the nearest linked one", before.mean(), after, random)
    return Choice(images.iloc[chosen], reasons, [measured])


def _choose_reports(
    reports: pd.DataFrame, findings: StatedFindings, budget: int, by_chance: int, rng: np.random.Generator
) -> Choice:
    pool, linked = _open(reports), np.flatnonzero(reports["state"] == "paired")
    patients = pd.factorize(reports["patient_id"])[0]
    stated = np.asarray(findings.present.sum(axis=0)).ravel()
    # A finding that one report alone states can be learned from no other, and is mostly an error of extraction.
    worth = np.where(stated >= 2, np.log(len(reports) / np.maximum(stated, 1)), 0.0)
    seen = np.asarray(findings.present[linked].sum(axis=0)).ravel()
    chosen, _ = weighted_cover(findings.present, worth, budget, candidates=pool, counts=seen, groups=patients)
    reasons = _finding_reasons(findings, stated, seen, worth, chosen)
    if by_chance:
        # Reports with rare findings have many findings. Heads that learn from them alone mistake what comes together
        # for what belongs together, and are worse than those of random links (docs/benchmarks.md).
        rest = pool[~np.isin(patients[pool], patients[chosen])]
        if len(rest) < by_chance:
            rest = np.setdiff1d(pool, chosen)
        drawn = _draw(reports, rest, by_chance, rng)
        order = np.argsort([*range(0, 2 * len(chosen), 2), *range(1, 2 * len(drawn), 2)])
        chosen = np.concatenate([chosen, drawn])[order]
        reasons = [[*reasons, *["drawn at random"] * len(drawn)][place] for place in order]
    measured = []
    for least in (1, 5):

        def reached(extra: Sequence[int] | Ints, least: int = least) -> int:
            counts = seen + np.asarray(findings.present[extra].sum(axis=0)).ravel()
            return int(((counts >= least) & (stated >= max(2, least))).sum())

        random = [reached(_draw(reports, pool, len(chosen), rng)) for _ in range(RANDOM_DRAWS)]
        name = f"findings with {least} linked report{'s' if least > 1 else ''} or more"
        measured.append(_measured(name, reached([]), reached(chosen), random))
    return Choice(reports.iloc[chosen], reasons, measured)


def _measured(name: str, before: float, after: float, random: Sequence[float]) -> dict[str, Any]:
    return {
        "measure": name,
        "before": round(float(before), 4),
        "after": round(float(after), 4),
        "random": round(float(np.mean(random)), 4),
        "random_sd": round(float(np.std(random, ddof=1)), 4),
    }


def _distance_reason(apart: float) -> str:
    return "nearest to the middle of all images" if np.isinf(apart) else f"{apart:.2f} from the nearest linked image"


def _coverage_reasons(weights: sparse.csc_array, before: np.ndarray, chosen: Ints) -> list[str]:
    """How many items each choice stands for better than what was linked before it."""
    state, reasons = before.copy(), []
    for node in chosen:
        start, end = weights.indptr[node : node + 2]
        rows, values = weights.indices[start:end], weights.data[start:end]
        better = values > state[rows]
        bare = int((state[rows] == 0).sum())
        reasons.append(f"nearest link of {int(better.sum()):,}, of which {bare:,} had none near")
        state[rows] = np.maximum(state[rows], values)
    return reasons


def _finding_reasons(
    findings: StatedFindings, stated: np.ndarray, seen: np.ndarray, worth: np.ndarray, chosen: Ints
) -> list[str]:
    """The findings that each choice adds most of, and in how many reports and links they are before it."""
    counts, reasons = seen.copy(), []
    for row in chosen:
        held = findings.present.indices[findings.present.indptr[row] : findings.present.indptr[row + 1]]
        value = worth[held] / (1 + counts[held])
        best = first_unrelated(held[np.argsort(-value, kind="stable")][: (value > 0).sum()], findings.findings, SHOWN)
        told = [f"{findings.phrases[u]} ({int(stated[u]):,} reports, {int(counts[u]):,} linked)" for u in best]
        reasons.append(", ".join(told) or "no finding that others share")
        counts[held] += 1
    return reasons
