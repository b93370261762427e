"""Models of other libraries as :class:`EvaluableModel` or :class:`ImageEncoder`, by name.

====================================  ==========================================================
a folder                              a model of lgdea
``ORG/NAME``, ``hf://ORG/NAME``       a model of lgdea on the Hugging Face Hub; also ``@REVISION``
``timm:NAME``                         images only
``hf:NAME`` or ``hf:FOLDER``          transformers: CLIP, SigLIP, BLIP ...; plain vision models
``open_clip:NAME/PRETRAINED``         a built-in architecture and its weights (a tag or a file)
``open_clip:hf-hub:NAME``             also ``open_clip:local-dir:FOLDER``
``hi-ml:biovil_t``, ``hi-ml:biovil``  needs the package hi-ml-multimodal
``python:PACKAGE.MODULE:FACTORY``     anything else; ``FACTORY()`` gives the model
====================================  ==========================================================

``@random`` behind a name gives the architecture with random weights, always the same: the floor of a comparison.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lgdea.errors import LgdeaError, UsageError, first_line
from lgdea.evaluation.encoders.load import LIBRARIES
from lgdea.evaluation.encoders.parts import EncoderComponents, TextEncoder
from lgdea.evaluation.encoders.preprocessing import Preprocessing
from lgdea.evaluation.encoders.protocol import Floats, ImageEncoder, Pixels, as_image_encoder
from lgdea.models.hub import HUB, find_model, names_repository
from lgdea.models.own_code import unasked

BATCH = 64
THREADS = 4
"""Images prepared at a time; Pillow's filters run without the interpreter's lock."""
RANDOM = "@random"


class ExternalImageEncoder:
    """Image encoder of another library's model: an :class:`ImageEncoder`."""

    def __init__(self, name: str, components: EncoderComponents) -> None:
        self.name = name
        self.notes: list[str] = list(components.notes)
        self.device = components.device
        self.components = components
        self._pool = ThreadPoolExecutor(THREADS)

    def encode_images(self, images: Sequence[Pixels]) -> Floats:
        """Unit embeddings (B, D), float32."""
        rows = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                batch = self._batch(images[start : start + BATCH])
                rows.append(F.normalize(self.components.embed_images(batch).float(), dim=-1).cpu())
        return torch.cat(rows).numpy() if rows else np.zeros((0, 0), np.float32)

    def encode_patches(self, image: Pixels) -> Tensor:
        """Unit embeddings (h, w, D) of the places of one image, in the space of the texts.

        Raises:
            UsageError: The model has none.
        """
        if self.components.embed_patches is None or not isinstance(self.components.preprocessing, Preprocessing):
            raise UsageError(
                f"{self.name} has no patches that can be compared with a text",
                remedy="heat maps need a ViT of open_clip, or CLIP or SigLIP of transformers",
            )
        with torch.inference_mode():
            return F.normalize(self.components.embed_patches(self._batch([image]))[0].float(), dim=-1)

    def map_to_source(self, grid: Floats, image: Pixels) -> Floats:
        """A grid (h, w) of :meth:`encode_patches` as (H, W) in source pixels, NaN outside the crop."""
        preprocessing = self.components.preprocessing
        assert isinstance(preprocessing, Preprocessing)  # else there are no patches
        return preprocessing.crop_geometry(*image.shape).map_to_source(grid, self.components.patch_size)

    def _batch(self, images: Sequence[Pixels]) -> Tensor:
        preprocessing = self.components.preprocessing
        if not isinstance(preprocessing, Preprocessing):
            return preprocessing.batch(images).to(self.device)
        # Frames travel as bytes and are normalised where the model is.
        frames = np.stack(list(self._pool.map(preprocessing.prepare, images)))
        return preprocessing.normalise(torch.from_numpy(frames).to(self.device))


class ExternalVLModel:
    """Another library's model of images and texts: an :class:`EvaluableModel` that scores by cosine."""

    scoring: str = "global"

    def __init__(self, name: str, components: EncoderComponents, text: TextEncoder) -> None:
        self.name = name
        self.images = ExternalImageEncoder(name, components)
        self._text = text
        self._phrases: dict[str, Floats] = {}
        self._cut: set[str] = set()

    @property
    def notes(self) -> list[str]:
        """Notes for the reader of its results."""
        cut = f"{len(self._cut)} texts were cut to the {self._text.limit} tokens that the model reads"
        return [*self.images.notes, *([cut] if self._cut else [])]

    def encode_images(self, images: Sequence[Pixels]) -> Floats:
        """Unit embeddings (B, D), float32."""
        return self.images.encode_images(images)

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """Unit embeddings (T, D), float32; what the model cannot read of a text is cut and counted in ``notes``."""
        rows = []
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH):
                part = list(texts[start : start + BATCH])
                self._cut |= {text for text, cut in zip(part, self._text.overlong(part), strict=True) if cut}
                tokens = {key: value.to(self.images.device) for key, value in self._text.tokenize(part).items()}
                rows.append(F.normalize(self._text.embed(tokens).float(), dim=-1).cpu())
        return torch.cat(rows).numpy() if rows else np.zeros((0, 0), np.float32)

    def score_phrases(self, images: Sequence[Pixels], phrases: Sequence[str]) -> Floats:
        """Cosines (B, U)."""
        return self.encode_images(images) @ self._embed_phrases(phrases).T

    def heat_maps(self, image: Pixels, phrases: Sequence[str]) -> list[Floats]:
        """Cosine maps (H, W) in source pixels, NaN outside the crop.

        The patches go the way of the pooled token, through the last norm and the projection. No loss has trained them
        for that.

        Raises:
            UsageError: The model has no patches in the space of its texts.
        """
        patches = self.images.encode_patches(image).cpu().numpy()
        grids = np.moveaxis(patches @ self._embed_phrases(phrases).T, -1, 0)
        return [self.images.map_to_source(grid, image) for grid in grids]

    def _embed_phrases(self, phrases: Sequence[str]) -> Floats:
        """Embed phrases, each once: tasks ask for the same ones again and again."""
        new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self._phrases]
        self._phrases |= dict(zip(new, self.encode_texts(new), strict=True))
        return np.stack([self._phrases[phrase] for phrase in phrases])


def load_encoder(name: str | Path, device: str | None = None) -> ImageEncoder:
    """Load a model by its name; see the module for the names.

    Args:
        name: Model folder, ``ORG/NAME`` of the Hub, or ``LIBRARY:NAME``, with ``@random`` behind it for random weights.
        device: Where to put it; a GPU when there is one.

    Returns:
        An :class:`~lgdea.evaluation.encoders.protocol.EvaluableModel` when it has a text side.

    Raises:
        UsageError: No such name, a package is missing, or the model cannot be loaded.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    library, _, rest = str(name).partition(":")
    if library == "python":
        return _from_factory(rest)
    if library not in LIBRARIES or Path(name).is_dir() or str(name).startswith(HUB):
        return _lgdea_model(name, device)
    wanted = rest.removesuffix(RANDOM)
    try:
        with unasked(rest.removesuffix(RANDOM)):
            components = LIBRARIES[library](wanted, rest != wanted, torch.device(device))
    except LgdeaError:
        raise
    except ModuleNotFoundError as error:
        raise _missing(library, error) from None
    except Exception as error:
        raise UsageError(
            f"{name} cannot be loaded ({first_line(error, 200)})",
            remedy=f"check the name, and the network or the Hugging Face cache; {library}:NAME@random needs no weights",
        ) from error
    if components.text is None:
        return ExternalImageEncoder(str(name), components)
    return ExternalVLModel(str(name), components, components.text)


def local_folder(name: str) -> Path | None:
    """The folder that a model's name points at, for hashing; None for another library's model that is in no folder.

    For a model of lgdea on the Hub it is the folder in the Hub's cache that was loaded last.
    """
    library, _, rest = name.partition(":")
    if library in LIBRARIES and not name.startswith(HUB) and not Path(name).is_dir():
        path = Path(rest.removesuffix(RANDOM).removeprefix("local-dir:"))
        return path if path.is_dir() else None
    try:
        return find_model(name, cached=True).folder
    except UsageError:
        return None


def _lgdea_model(name: str | Path, device: str) -> ImageEncoder:
    from lgdea.models.serialization import load_model

    if not Path(name).is_dir() and not str(name).startswith(HUB) and not names_repository(name):
        known = ", ".join(f"{library}:NAME" for library in LIBRARIES)
        raise UsageError(
            "no such model folder",
            file=name,
            remedy=f"check the path, or write ORG/NAME of the Hub, {known} or python:MODULE:FACTORY",
        )
    return as_image_encoder(load_model(name, device))


def _from_factory(path: str) -> ImageEncoder:
    module, _, factory = path.partition(":")
    try:
        make: Any = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"python:{path} cannot be imported ({error})",
            remedy="write python:PACKAGE.MODULE:FACTORY and put the package on PYTHONPATH",
        ) from None
    model = make()
    if not isinstance(model, ImageEncoder):
        raise UsageError(
            f"python:{path} gave a {type(model).__name__} without encode_images", remedy="see ImageEncoder"
        )
    return model


def _missing(library: str, error: ModuleNotFoundError) -> UsageError:
    package = {"open_clip": "open_clip_torch", "health_multimodal": "hi-ml-multimodal"}.get(
        str(error.name).partition(".")[0], error.name
    )
    remedy = "pip install 'lgdea[encoders]'" if package == "open_clip_torch" else f"pip install {package}"
    return UsageError(f"{library}: needs the package {package}", remedy=remedy)
