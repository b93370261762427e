"""Phrase grounding: the heat map of a phrase compared with its boxes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.errors import DataError
from lgdea.evaluation.config import GroundingConfig
from lgdea.evaluation.encoders.occlusion_maps import occlusion_maps
from lgdea.evaluation.encoders.protocol import (
    EvaluableModel,
    Floats,
    Pixels,
    as_evaluable,
    heat_maps_of,
    model_name,
    notes_of,
)
from lgdea.evaluation.metrics import grounding as metrics
from lgdea.evaluation.results.result import Result, Value, values
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.grounding_boxes import KINDS, BoxScores, average_precisions, score_boxes
from lgdea.evaluation.tasks.grounding_prior import add_prior
from lgdea.progress import track
from lgdea.statistics.bootstrap import class_means, cluster_bootstrap, side_by_side, weighted_mean

if TYPE_CHECKING:
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive

TOGETHER = 8
"""Images that are mapped at a time, with all their pixels in memory."""
HEAD = ("image_id", "study_id", "patient_id", "class", "phrase", "n_boxes")


def grounding(
    model: EvaluableModel | LgdeaModel, archive: Archive, config: GroundingConfig | None = None, **settings: Any
) -> Result:
    """Compare the heat map of each (image, phrase) with its boxes, in source pixels.

    CNR, mIoU and pointing take the map and the union of the boxes; hits and average precision take the boxes that
    :func:`~lgdea.imaging.boxes.boxes_of_map` makes of the map. Only boxes of findings count; a box without a phrase
    stands for the canonical phrase of its finding. The result's items are ``image_id, study_id, patient_id, class,
    phrase, n_boxes`` and the metrics.

    Args:
        model: The model.
        archive: Has images and boxes.
        config: Settings; the defaults otherwise.
        **settings: Fields of :class:`GroundingConfig` laid over ``config``.

    Raises:
        DataError: The split has no boxes of findings, or none on a readable image.
    """
    config = common.resolve(GroundingConfig, config, settings)
    name, model = model_name(model), as_evaluable(model)
    boxes = common.phrase_boxes(archive, config.split)
    source = common.image_source(archive, config.model_copy(update={"image_cache": None}))
    order = boxes["image_id"].drop_duplicates().tolist()
    groups = dict(iter(boxes.groupby("image_id", sort=False)))
    rows: list[dict[str, Any]] = []
    found: list[BoxScores] = []
    batches = source.batches(order, min(TOGETHER, config.batch_size))
    for ids, pixels in track(batches, "grounding phrases", len(order), lambda batch: len(batch[0])):
        mine = [groups[image] for image in ids]
        for image, boxes_of_image, maps in zip(ids, mine, _maps(model, pixels, mine, config), strict=True):
            try:
                scored = _ground(maps, boxes_of_image, config)
            except _WrongSizeError as error:
                source.skipped.append({"id": image, "reason": str(error)})
                continue
            rows += [row for row, _ in scored]
            found += [scores for _, scores in scored]
    if not rows:
        reason = source.skipped[0]["reason"] if source.skipped else "no boxes"
        raise DataError(f"no image with boxes can be scored ({reason})", file=archive.folder, remedy="check image_root")
    items = pd.DataFrame(rows)
    notes = _notes(items) + add_prior(items, boxes, archive, config) + notes_of(model)
    overall, per_class = _summarise(items, found, config)
    return Result(
        task="grounding",
        definition="grounding-v1",
        model=name,
        archive=archive.name,
        split=config.split,
        metrics=overall,
        per_class=per_class,
        config=config.model_dump(mode="json"),
        items=items,
        skipped=source.skipped,
        notes=notes,
    )


class _WrongSizeError(DataError):
    """Raised when the stored image and the images table disagree: boxes would fall in the wrong place."""


def _maps(
    model: EvaluableModel, images: Sequence[Pixels], boxes: Sequence[pd.DataFrame], config: GroundingConfig
) -> Iterator[dict[str, NDArray[np.float64]]]:
    """Map of each image for each phrase of its boxes.

    Raises:
        DataError: The model gave a map of another size than the image.
    """
    phrases = [list(mine["phrase"].unique()) for mine in boxes]
    made: Iterable[list[Floats]] = (
        heat_maps_of(model, images, phrases)
        if config.maps == "own"
        else map(partial(occlusion_maps, model, batch=config.batch_size), images, phrases)
    )
    for image, mine, maps in zip(images, phrases, made, strict=True):
        for heat in maps:
            if np.shape(heat) != image.shape:
                raise DataError(f"the model gave a map of shape {np.shape(heat)} for an image of shape {image.shape}")
        yield {phrase: np.asarray(heat, np.float64) for phrase, heat in zip(mine, maps, strict=True)}


def _ground(
    maps: Mapping[str, NDArray[np.float64]], boxes: pd.DataFrame, config: GroundingConfig
) -> list[tuple[dict[str, Any], BoxScores]]:
    first, rows = boxes.iloc[0], []
    for phrase, heat in maps.items():
        if heat.shape != (first["height"], first["width"]):
            raise _WrongSizeError(
                f"is {heat.shape[1]} x {heat.shape[0]} pixels, the images table says "
                f"{first['width']} x {first['height']}"
            )
        mine = boxes[boxes["phrase"] == phrase]
        edges = mine[common.BOX_EDGES].to_numpy(float)
        try:
            mask = metrics.box_mask(edges, *heat.shape)
        except ValueError as error:
            raise _WrongSizeError(str(error)) from None
        head = {key: mine.iloc[0][key] for key in ("image_id", "study_id", "patient_id")}
        scores = {
            "cnr": metrics.cnr(heat, mask),
            "miou": metrics.miou(heat, mask, config.thresholds),
            "pointing": metrics.pointing(heat, edges, config.pointing_tolerance_pixels),
            "pointing_chance": metrics.pointing_chance(heat, mask),
        }
        columns, found = score_boxes(heat, edges, config)
        head |= {"class": mine.iloc[0]["finding"], "phrase": phrase, "n_boxes": len(mine)}
        rows.append((head | scores | columns, found))
    return rows


def _summarise(
    items: pd.DataFrame, found: list[BoxScores], config: GroundingConfig
) -> tuple[dict[str, Value], dict[str, dict[str, Value]]]:
    classes, clusters = items["class"].to_numpy(str), items["patient_id"].to_numpy()
    names = [str(name) for name in np.unique(classes)]
    per_class: dict[str, dict[str, Value]] = {name: {} for name in names}
    overall: dict[str, dict[str, Value]] = {"macro": {}, "micro": {}}
    metric_names = [str(column) for column in items if column not in HEAD]
    # An infinite contrast (a noiseless two-valued map) has no mean; see `_notes`.
    table = items[metric_names].replace([np.inf, -np.inf], np.nan).to_numpy(float)
    interval = cluster_bootstrap(
        side_by_side(*(part for s in table.T for part in (class_means(s, classes), weighted_mean(s[:, None])))),
        clusters,
        replicates=config.bootstrap_replicates,
        seed=config.seed,
    )
    width = len(names) + 2
    for i, metric in enumerate(metric_names):
        known = ~np.isnan(table[:, i])
        counts = [int(known[classes == name].sum()) for name in names] + [int(known.sum())] * 2
        mine = [part[i * width : (i + 1) * width] for part in interval]
        definition = f"grounding/{metric.split('@')[0].replace('_', '-')}-v1"
        columns = values([*names, "macro", "micro"], mine, counts, [definition] * width)
        for part in ("macro", "micro"):
            overall[part][f"{metric}_{part}"] = columns[part]
        for name in names if not metric.split("@")[0].endswith(KINDS[1:]) else ():
            per_class[name][metric] = columns[name]
    areas, areas_per_class = average_precisions(found, classes, clusters, config)
    return overall["macro"] | areas | overall["micro"], {n: per_class[n] | areas_per_class[n] for n in names}


def _notes(items: pd.DataFrame) -> list[str]:
    infinite = int(np.isinf(items["cnr"]).sum())
    return [f"CNR is infinite, and left out of its mean, for {infinite} noiseless maps"] if infinite else []
