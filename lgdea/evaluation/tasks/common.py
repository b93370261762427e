"""Functions that the tasks share: settings, the images and studies of a split, labels as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.config import validate
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import EvaluationConfig
from lgdea.evaluation.encoders.protocol import ImageEncoder, frame_of, l2_normalize
from lgdea.evaluation.images import ImageSource
from lgdea.progress import track

if TYPE_CHECKING:
    from lgdea.records.archive import Archive
    from lgdea.vocabulary import ScoredClass

C = TypeVar("C", bound=EvaluationConfig)
BOX_EDGES = ["x_min", "y_min", "x_max", "y_max"]


def list_some(names: Sequence[str], most: int = 20) -> str:
    """Join names for a note; of many the first.

    >>> list_some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def resolve(cls: type[C], config: C | None, settings: dict[str, Any]) -> C:
    """``config`` (or the defaults) with ``settings`` laid over it, validated.

    Raises:
        ConfigError: A setting does not exist or has a wrong value.
    """
    base = {} if config is None else config.model_dump()
    return validate(cls, {**base, **settings})


def images_of(archive: Archive, split: str) -> pd.DataFrame:
    """Images of a split with ``image_id, study_id, patient_id, width, height``; ``all`` takes every study.

    Raises:
        DataError: There are none.
    """
    images = archive.images.merge(studies_of(archive, split)[["study_id", "patient_id"]], on="study_id")
    if images.empty:
        raise DataError(f"the {split} split has no images", file=archive.folder, remedy="choose another split")
    return images[["image_id", "study_id", "patient_id", "width", "height"]]


def studies_of(archive: Archive, split: str) -> pd.DataFrame:
    """Rows of ``studies`` in a split; ``all`` takes every study."""
    studies = archive.studies
    return studies if split == "all" else studies[studies["split"] == split]


def image_source(archive: Archive, config: EvaluationConfig, model: object = None) -> ImageSource:
    """The images of ``archive``, through the cache that ``config`` names, else in the frame of ``model``."""
    if config.image_cache is None:
        return ImageSource(archive, workers=config.workers, frame=frame_of(model))
    from lgdea.imaging.frames import ImageCache

    return ImageSource(archive, cache=ImageCache(config.image_cache), workers=config.workers)


def phrase_boxes(archive: Archive, split: str) -> pd.DataFrame:
    """Boxes of findings in a split, each with its image's and patient's ids, size and ``phrase``.

    A box without a phrase stands for the canonical phrase of its finding.

    Raises:
        DataError: There are none.
    """
    from lgdea.vocabulary.phrases import canonical_phrase

    boxes = archive.boxes[archive.boxes["kind"] == "finding"]
    boxes = boxes.merge(images_of(archive, split), on="image_id")
    if boxes.empty:
        raise DataError(
            f"the {split} split has no boxes of findings", file=archive.folder, remedy="choose another split or archive"
        )
    named = boxes["phrase"].notna()
    return boxes.assign(phrase=boxes["phrase"].where(named, boxes["finding"].map(canonical_phrase)))


def labels_of(archive: Archive, labeller: str | None) -> pd.DataFrame:
    """Rows of ``labels`` by one labeller.

    Raises:
        DataError: The archive has no labels.
        UsageError: No such labeller, or several and none is named.
    """
    labels = archive.labels
    names = sorted(labels["labeller"].unique())
    if not names:
        raise DataError("has no labels", file=archive.folder, remedy="choose an archive with labels")
    if labeller is None and len(names) > 1:
        raise UsageError(
            f"has labels by {', '.join(names)}",
            file=archive.folder,
            remedy=f"choose one: --labeller {names[0]} (labeller={names[0]!r} in Python)",
        )
    chosen = labeller or names[0]
    if chosen not in names:
        raise UsageError(f"has no labels by {chosen!r}", file=archive.folder, remedy=f"known: {', '.join(names)}")
    return labels[labels["labeller"] == chosen]


def too_few(archive: Archive, labels: pd.DataFrame, least: int, where: str, remedy: str) -> DataError:
    """Make the error that no class has enough images of both kinds; labels that call nothing absent are named as such.

    Args:
        archive: Whose.
        labels: The labels that were looked at.
        least: Images of each kind that a class needs.
        where: The splits that were looked at.
        remedy: What to do where the labels are of both kinds.
    """
    if len(labels) and not (labels["value"] == 0).any():
        remedy = (
            "the labels call nothing absent; if what a table does not list is absent, build the archive with the "
            "mapping labels.unlisted_is_absent: true"
        )
    return DataError(
        f"no class has {least} positive and {least} negative images in {where}", file=archive.folder, remedy=remedy
    )


def label_values(labels: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Labels of images by finding: index ``image_id`` in the order of ``images``, NaN where nobody gave one.

    A label of the study holds for each of its images that has none of its own.
    """
    own = labels[labels["image_id"].notna()]
    shared = labels[labels["image_id"].isna()].drop(columns="image_id")
    shared = shared.merge(images[["image_id", "study_id"]], on="study_id")
    rows = pd.concat([own, shared])[["image_id", "finding", "value"]]
    rows = rows.drop_duplicates(["image_id", "finding"], keep="first")
    return rows.pivot(index="image_id", columns="finding", values="value").reindex(images["image_id"])


def label_matrix(labels: pd.DataFrame, images: pd.DataFrame, classes: Sequence[ScoredClass]) -> NDArray[np.float64]:
    """Labels of images as numbers: (N, C) of 1 present, 0 absent, NaN uncertain or unknown.

    See :func:`label_values`. A class is present when any of its findings is, and absent when its most general findings
    all are: no pneumonia does not yet mean no opacity.
    """
    values = label_values(labels, images)
    matrix = np.full((len(images), len(classes)), np.nan)
    for column, scored in enumerate(classes):
        members = values[[f for f in scored.findings if f in values]].to_numpy(float)
        general = roots(scored)
        top = values[general].to_numpy(float) if set(general) <= set(values) else np.full((len(images), 1), np.nan)
        matrix[:, column] = np.where((top == 0).all(axis=1), 0.0, np.nan)
        matrix[(members == -1).any(axis=1), column] = np.nan
        matrix[(members == 1).any(axis=1), column] = 1.0
    return matrix


def roots(scored: ScoredClass) -> list[str]:
    """The most general findings of a class: those that are no kind of another one in it."""
    from lgdea.vocabulary import load_vocabulary

    vocabulary = load_vocabulary()
    return sorted(f for f in scored.findings if not (vocabulary.ancestors(f) - {f}) & scored.findings)


def scored_classes(wanted: str | tuple[str, ...], labels: pd.DataFrame) -> list[ScoredClass]:
    """The classes that a configuration names: all findings of the labels, or a list of them.

    The lists are those of :mod:`lgdea.vocabulary.class_lists`.

    Raises:
        UsageError: There is no such list, file or finding.
    """
    from lgdea.vocabulary import class_lists

    return class_lists.scored_classes(sorted(labels["finding"].unique()) if wanted == class_lists.LABELS else wanted)


def embed_images(
    model: ImageEncoder, source: ImageSource, images: pd.DataFrame, batch_size: int, what: str = "encoding images"
) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Embed the images of a table: the rows that could be read, and their vectors (N, D) at unit length.

    Raises:
        DataError: An embedding is not finite.
    """
    blocks: list[NDArray[np.float32]] = []
    done: list[str] = []
    batches = source.batches(images["image_id"].tolist(), batch_size)
    for ids, pixels in track(batches, what, len(images), lambda batch: len(batch[0])):
        blocks.append(l2_normalize(model.encode_images(pixels), "image embeddings"))
        done += ids
    keep = images["image_id"].isin(done).to_numpy()
    vectors = np.concatenate(blocks) if blocks else np.zeros((0, 1), np.float32)
    return images[keep].reset_index(drop=True), vectors
