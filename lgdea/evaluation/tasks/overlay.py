"""Text-overlay bias test: shift of an embedding by burnt-in text, and change of its nearest class mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.evaluation.config import FeaturesConfig
from lgdea.evaluation.encoders.protocol import ImageEncoder, check_output, l2_normalize
from lgdea.evaluation.markers import burn
from lgdea.evaluation.metrics import separability
from lgdea.evaluation.results.result import Value
from lgdea.evaluation.tasks.classifiers import nearest_mean
from lgdea.evaluation.tasks.features_values import Codes, Tables, definition_id, intervals
from lgdea.progress import track
from lgdea.statistics.bootstrap import weighted_mean

if TYPE_CHECKING:
    from lgdea.evaluation.images import ImageSource

Floats = NDArray[np.float64]


def marker_metrics(
    encoder: ImageEncoder,
    source: ImageSource,
    items: pd.DataFrame,
    vectors: Floats,
    codes: Codes,
    names: list[str],
    config: FeaturesConfig,
) -> Tables:
    """Burn every marker of ``config`` into some of the images and compare their embeddings with those without it.

    The shift is the distance between the two unit embeddings, against the mean distance between two class means. The
    nearest class mean is that of the images of the other folds, so that an image does not pull its own class near.

    Args:
        encoder: Embeds the marked images.
        source: Gives the pixels.
        items: One row per image with ``image_id, patient_id, fold``; gets ``<marker>/shift`` and ``<marker>/changed``.
        vectors: (N, D) unit embeddings of the images as they are.
        codes: (N,) classes.
        names: Names of the classes.
        config: Settings.
    """
    texts = [marker.text for marker in config.markers]
    rows, moved = _embed_marked(encoder, source, items, vectors.shape[1], config)
    shift, changed = (np.full((len(items), len(texts)), np.nan) for _ in range(2))
    shift[rows] = np.linalg.norm(moved - vectors[rows, None], axis=2)
    folds = items["fold"].to_numpy()
    for fold in np.unique(folds[rows]):
        others, mine = folds != fold, folds[rows] == fold
        points = np.concatenate([vectors[rows[mine], None], moved[mine]], axis=1)
        nearest = nearest_mean(vectors[others], codes[others], points.reshape(-1, vectors.shape[1]))
        nearest = nearest.reshape(points.shape[:2])
        changed[rows[mine]] = nearest[:, 1:] != nearest[:, :1]
    for i, text in enumerate(texts):
        items[f"{text}/shift"], items[f"{text}/changed"] = shift[:, i], changed[:, i]
    return _summarise(items, shift, changed, separability.gram(vectors), codes, names, texts, config)


def _embed_marked(
    encoder: ImageEncoder, source: ImageSource, items: pd.DataFrame, dim: int, config: FeaturesConfig
) -> tuple[NDArray[np.int64], Floats]:
    """Rows of the drawn images (n,) and their embeddings with each marker (n, M, D)."""
    rows = np.sort(np.random.default_rng(config.seed).permutation(len(items))[: config.marked_images])
    place = {image_id: row for row, image_id in enumerate(items["image_id"])}
    count, done, blocks = len(config.markers), [], []
    batches = source.batches(items["image_id"].iloc[rows].tolist(), max(1, config.batch_size // count))
    for ids, pixels in track(batches, "encoding marked images", len(rows), lambda batch: len(batch[0])):
        burnt = [burn(image, marker) for image in pixels for marker in config.markers]
        block = np.asarray(l2_normalize(encoder.encode_images(burnt), "image embeddings"), np.float64)
        check_output(block, (len(burnt), dim), "image embeddings")
        blocks.append(block.reshape(len(ids), count, dim))
        done += [place[image_id] for image_id in ids]
    return np.array(done, np.int64), np.concatenate(blocks) if blocks else np.zeros((0, count, dim))


def _summarise(
    items: pd.DataFrame,
    shift: Floats,
    changed: Floats,
    products: Floats,
    codes: Codes,
    names: list[str],
    texts: list[str],
    config: FeaturesConfig,
) -> Tables:
    shifts, changes = np.column_stack([shift.mean(axis=1), shift]), np.column_stack([changed.mean(axis=1), changed])

    def ratio(weights: Floats) -> Floats:
        class_distance = separability.weighted_centroid_distance(products, codes, weights)[:, None]
        mean = weighted_mean(shifts)(weights)
        return np.divide(mean, class_distance, out=np.full(mean.shape, np.nan), where=class_distance > 0)

    stems = ["", *(f"{text}/" for text in texts)]
    count = int((~np.isnan(changes[:, 0])).sum())
    # Copies in a bootstrap sample move class means apart, so only the ratio is centred.
    overall = intervals(
        ratio, items, config, [f"{s}overlay_shift" for s in stems], count, definition_id("overlay_shift"), centred=True
    )
    changed_id = definition_id("overlay_changed")
    names_changed = [f"{s}overlay_changed" for s in stems]
    overall |= intervals(weighted_mean(changes), items, config, names_changed, count, changed_id)
    known = ~np.isnan(changes[:, 0])
    per_class: dict[str, dict[str, Value]] = {}
    for c, name in enumerate(names):
        rows = codes == c
        if count := int((known & rows).sum()):
            mean = weighted_mean(changes[rows, :1])
            per_class[name] = intervals(mean, items[rows], config, ["overlay_changed"], count, changed_id)
    return overall, per_class
