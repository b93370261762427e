"""Occlusion attribution on queries, alone and beside references that are held fixed, against the findings' boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.comparison.references.answers import Answers
from lgdea.errors import DataError
from lgdea.evaluation.config import ReferencesConfig
from lgdea.evaluation.encoders.protocol import EvaluableModel, as_evaluable
from lgdea.evaluation.metrics.grounding import box_mask, pointing
from lgdea.evaluation.results.result import Value, values
from lgdea.evaluation.tasks.change_difference import finding_scores
from lgdea.evaluation.tasks.common import BOX_EDGES
from lgdea.evaluation.tasks.references_scores import Scored
from lgdea.imaging.occlusion import Pixels, attribution_map, filling, inside_mass, occluded
from lgdea.progress import track
from lgdea.statistics.bootstrap import cluster_bootstrap, weighted_mean

if TYPE_CHECKING:
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive

COLUMNS = ("pointing_single", "pointing_paired", "inside_mass_single", "inside_mass_paired", "pointing_chance")
Heat = NDArray[np.float32]


def attribution_of_model(
    model: EvaluableModel | LgdeaModel, archive: Archive, config: ReferencesConfig, scored: Scored
) -> pd.DataFrame:
    """Attribution scores of boxed findings of some queries, beside references of the first strategy.

    Returns:
        ``image_id, class`` and :data:`COLUMNS`.
    """
    model = as_evaluable(model)
    strategy = next(iter(scored.beside))
    boxes = finding_boxes(archive)
    rows, columns = np.nonzero(scored.truth == 1)
    ids = scored.images["image_id"].to_numpy(str)
    items = [(ids[i], scored.classes[c]) for i, c in zip(rows, columns, strict=True)]
    items = [item for item in items if item in boxes and scored.beside[strategy].get(item[0])]
    chosen = np.random.default_rng([config.seed, 4]).permutation(len(items))[: config.attribution]
    found = []
    for i in track(np.sort(chosen), "hiding cells", len(chosen)):
        image, finding = items[int(i)]
        beside = scored.beside[strategy][image][: max(config.counts)]
        try:
            maps = maps_of_model(model, archive, image, beside, finding, config.grid, config.batch_size)
        except DataError as error:
            scored.skipped.append({"id": image, "reason": str(error)})
            continue
        found.append((image, finding, *_measure(maps, boxes[image, finding])))
    scored.notes.append(f"attribution: {len(found)} findings, beside {max(config.counts)} references, {strategy}")
    return pd.DataFrame(found, columns=["image_id", "class", *COLUMNS])


def maps_of_model(
    model: EvaluableModel, archive: Archive, image: str, references: list[str], finding: str, grid: int, batch: int
) -> tuple[Heat, Heat]:
    """Fall of a finding's score where a cell is hidden: alone, and beside references, (H, W) source pixels.

    Beside references the score is z, whose fall is that of the logit but for a factor, so only the filling differs.
    """
    pixels = np.asarray(archive.read_image(image).pixels, np.float32)
    fills = [filling(pixels), filling(pixels, [np.asarray(archive.read_image(r).pixels) for r in references])]
    whole = float(finding_scores(model, [pixels], [finding])[0, 0])
    maps = []
    for fill in fills:
        pictures: list[Pixels] = list(occluded(pixels, fill, grid))
        parts = [finding_scores(model, pictures[i : i + batch], [finding]) for i in range(0, len(pictures), batch)]
        maps.append(attribution_map(whole, np.concatenate(parts)[:, 0], *pixels.shape))
    return maps[0], maps[1]


def attribution_of_answers(answers: Answers, archive: Archive, scored: Scored) -> pd.DataFrame:
    """The same of a vision-language model's answers with a cell hidden, where it was asked for them."""
    boxes = finding_boxes(archive)
    found = []
    for image, finding in answers.hidden[["query_id", "class"]].drop_duplicates().itertuples(index=False):
        maps = maps_of_answers(answers, archive, image, finding) if (image, finding) in boxes else None
        if maps is not None:
            found.append((image, finding, *_measure(maps, boxes[image, finding])))
    if found:
        scored.notes.append(f"attribution: {len(found)} findings, beside {int(answers.hidden['k'].max())} references")
    return pd.DataFrame(found, columns=["image_id", "class", *COLUMNS])


def maps_of_answers(answers: Answers, archive: Archive, image: str, finding: str) -> tuple[Heat, Heat] | None:
    """Maps of :func:`maps_of_model` from answers; None where some cell was not answered, alone or beside."""
    here = answers.hidden[(answers.hidden["query_id"] == image) & (answers.hidden["class"] == finding)]
    whole = answers.table[(answers.table["query_id"] == image) & (answers.table["class"] == finding)]
    row = archive.images[archive.images["image_id"] == image].iloc[0]
    height, width = int(row["height"]), int(row["width"])
    maps = []
    for k in (0, here["k"].max()):
        cells = here[here["k"] == k].drop_duplicates("cell").sort_values("cell")
        first = whole[(whole["k"] == k) & ((k == 0) | whole["strategy"].isin(cells["strategy"]))]
        if first.empty or len(cells) < 4 or round(len(cells) ** 0.5) ** 2 != len(cells):
            return None
        maps.append(attribution_map(_logit(first["score"])[0], _logit(cells["score"]), height, width))
    return maps[0], maps[1]


def _logit(scores: pd.Series) -> NDArray[np.float64]:
    inside = scores.to_numpy(float).clip(1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside / (1 - inside)))


def finding_boxes(archive: Archive) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Boxes (M, 4) of each image and finding."""
    boxes = archive.boxes[archive.boxes["kind"] == "finding"]
    groups = boxes.groupby(["image_id", "finding"])
    return {(str(i), str(f)): g[BOX_EDGES].to_numpy(float) for (i, f), g in groups}  # type: ignore[misc]


def _measure(maps: tuple[Heat, Heat], boxes: NDArray[np.float64]) -> tuple[float, ...]:
    mask = box_mask(boxes, *maps[0].shape)
    points = [pointing(heat, boxes) for heat in maps]
    return (*points, *(inside_mass(heat, mask) for heat in maps), float(mask.mean()))


def attribution_values(
    table: pd.DataFrame, patients: NDArray[np.object_], config: ReferencesConfig
) -> dict[str, Value]:
    """Means of the attribution scores, and what references add, with intervals by patient.

    Args:
        table: Rows of :func:`attribution_of_model`.
        patients: (N,) patient of each row.
        config: Replicates and seed.
    """
    if table.empty:
        return {}
    columns = {name: table[name].to_numpy(float) for name in COLUMNS}
    for name in ("pointing", "inside_mass"):
        columns[f"{name}_gain"] = columns[f"{name}_paired"] - columns[f"{name}_single"]
    parts = np.stack(list(columns.values()), axis=1)
    interval = cluster_bootstrap(
        weighted_mean(parts), patients, replicates=config.bootstrap_replicates, seed=config.seed
    )
    counts = [int(n) for n in (~np.isnan(parts)).sum(axis=0)]
    ids = [f"references/{name.replace('_', '-')}-v1" for name in columns]
    return {f"attribution/{k}": v for k, v in values(list(columns), interval, counts, ids).items()}
