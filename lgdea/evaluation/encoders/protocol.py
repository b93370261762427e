"""Protocols of the models that can be evaluated, and their implementation for :class:`LgdeaModel`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lgdea.errors import DataError, UsageError

if TYPE_CHECKING:
    from lgdea.models.lgdea_model import LgdeaModel

Pixels = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]


@runtime_checkable
class ImageEncoder(Protocol):
    """Protocol of anything that embeds images; needs no base class and no torch.

    Images are source pixels (H, W) in [0, 1], bright = dense, of sizes that may differ; the encoder prepares them.
    A list ``notes`` that it may have goes into the results: what a reader must know about it.
    """

    def encode_images(self, images: Sequence[Pixels]) -> Floats:
        """Unit embeddings (B, D)."""
        ...


@runtime_checkable
class EvaluableModel(ImageEncoder, Protocol):
    """An image encoder with a text side in the same space: all tasks can evaluate it."""

    scoring: str
    """``presence``: a phrase's score says by itself whether it holds; ``global``: it is a cosine, to be compared with
    that of the opposite phrase."""

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """Unit embeddings of reports (T, D)."""
        ...

    def score_phrases(self, images: Sequence[Pixels], phrases: Sequence[str]) -> Floats:
        """Scores (B, U), higher = more present, comparable between phrases."""
        ...

    def heat_maps(self, image: Pixels, phrases: Sequence[str]) -> list[Floats]:
        """A map (H, W) in source pixels for each phrase, NaN outside the model's crop."""
        ...


class LgdeaEvaluable:
    """An :class:`~lgdea.models.lgdea_model.LgdeaModel` as an :class:`EvaluableModel`."""

    def __init__(self, model: LgdeaModel) -> None:
        self._model = model.eval()
        if model.preprocess is None:
            raise UsageError("the model has no preprocessing", remedy="load it from a model folder")
        self.scoring: str = model.scoring
        self.name = model.name
        self.vocabulary = model.vocabulary

    def frame(self, pixels: Pixels) -> Pixels:
        """An image in the model's frame, (size, size) in [0, 1]; the model sees the same in it as in the image."""
        from lgdea.imaging.geometry import fit

        prepare: Any = self._model.preprocess
        return np.asarray(fit(pixels, prepare.size, prepare.mode)[0] / np.float32(255))

    def encode_images(self, images: Sequence[Pixels]) -> Floats:
        """Unit embeddings (B, D)."""
        return np.asarray(self._model.encode_image(list(images)))

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """Unit embeddings of reports (T, D)."""
        return np.asarray(self._model.encode_text(list(texts)))

    def score_phrases(self, images: Sequence[Pixels], phrases: Sequence[str]) -> Floats:
        """Scores (B, U): probabilities with presence scoring, else similarities."""
        import torch

        prepare: Any = self._model.preprocess
        batch = torch.stack([prepare(image)[0] for image in images]).to(self._model.device)
        return np.asarray(self._model.score_phrases(batch, list(phrases)).float().cpu())

    def heat_maps(self, image: Pixels, phrases: Sequence[str]) -> list[Floats]:
        """Cosine maps (H, W) in source pixels."""
        return next(self.heat_maps_of([image], [phrases]))

    def heat_maps_of(self, images: Sequence[Pixels], phrases: Sequence[Sequence[str]]) -> Iterator[list[Floats]]:
        """:meth:`heat_maps` of several images, each with phrases of its own, in one pass of each tower."""
        import torch

        prepare: Any = self._model.preprocess
        tensors, geometries = zip(*map(prepare, images), strict=True)
        column = {phrase: i for i, phrase in enumerate(dict.fromkeys(p for mine in phrases for p in mine))}
        grids = self._model.phrase_maps(torch.stack(tensors).to(self._model.device), list(column)).float().cpu().numpy()
        for geometry, maps, mine in zip(geometries, grids, phrases, strict=True):
            yield [geometry.map_to_source(maps[column[phrase]]) for phrase in mine]


def as_evaluable(model: ImageEncoder | LgdeaModel) -> EvaluableModel:
    """``model`` itself when it has the evaluation methods, else the wrapped :class:`LgdeaModel`.

    Raises:
        UsageError: The model only embeds images.
    """
    encoder = as_image_encoder(model)
    if not isinstance(encoder, EvaluableModel):
        raise UsageError(f"{model_name(model)} has no text side", remedy="this task needs a model of images and texts")
    return encoder


def as_image_encoder(model: ImageEncoder | LgdeaModel) -> ImageEncoder:
    """``model`` itself when it embeds images, else the wrapped :class:`LgdeaModel`."""
    return model if isinstance(model, ImageEncoder) else LgdeaEvaluable(model)


def frame_of(model: object) -> Callable[[Pixels], Pixels] | None:
    """A model's ``frame``, which brings an image into the form that it looks at and may run in other threads."""
    return getattr(model, "frame", None)


def heat_maps_of(
    model: EvaluableModel, images: Sequence[Pixels], phrases: Sequence[Sequence[str]]
) -> Iterator[list[Floats]]:
    """Maps of each image for its own phrases: by the model's ``heat_maps_of`` where it has one, else one by one."""
    together: Callable[..., Iterator[list[Floats]]] | None = getattr(model, "heat_maps_of", None)
    return map(model.heat_maps, images, phrases) if together is None else together(images, phrases)


def model_name(model: object) -> str:
    """Name of the model in results: its ``name``, else its class."""
    return str(getattr(model, "name", None) or type(model).__name__)


def notes_of(model: object) -> list[str]:
    """Notes of the model for the reader of a result."""
    return list(getattr(model, "notes", ()))


def check_output(output: Floats, shape: tuple[int, ...], what: str) -> Floats:
    """``output`` of a model when it has ``shape`` and is finite.

    Raises:
        DataError: It is not; a model that answers NaN must not be given a number.
    """
    if output.shape != shape:
        raise DataError(f"the model gave {what} of shape {output.shape} instead of {shape}")
    if not np.isfinite(output).all():
        raise DataError(f"the model gave {what} that are not finite", remedy="check its weights")
    return output


def l2_normalize(vectors: Floats, what: str) -> Pixels:
    """Scale rows (N, D) to unit length; a row of zeros stays.

    Raises:
        DataError: A row is not finite.
    """
    vectors = np.asarray(vectors, np.float32)
    check_output(vectors, vectors.shape, what)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), np.float32)
