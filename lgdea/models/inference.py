"""Inference methods of LgdeaModel: embeddings, phrase scores, heat maps, evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lgdea.errors import ImageError, UsageError
from lgdea.imaging.boxes import boxes_of_map
from lgdea.imaging.depth import bits_used
from lgdea.imaging.read import read_image
from lgdea.models.heads import cosine, local_similarity
from lgdea.vocabulary import Vocabulary, using_vocabulary
from lgdea.vocabulary.phrases import canonical_phrase

if TYPE_CHECKING:
    from lgdea.imaging.geometry import Geometry
    from lgdea.imaging.transforms import Preprocess

ImageInput = str | Path | Image.Image | np.ndarray
BATCH = 64


class _InferenceModel(Protocol):
    """The part of :class:`~lgdea.models.lgdea_model.LgdeaModel` that inference uses, documented there."""

    tokenizer: Any
    preprocess: Any
    scoring: Any
    findings: tuple[str, ...]
    vocabulary: Vocabulary
    image_tower: Any
    project_pooled: Any
    retrieval_head: Any

    @property
    def device(self) -> torch.device: ...
    @property
    def grid(self) -> tuple[int, int]: ...
    @property
    def embedding_dim(self) -> int: ...
    def forward_image(self, images: Tensor) -> dict[str, Tensor]: ...
    def forward_text(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]: ...
    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]: ...
    def embed_phrases(self, phrases: Sequence[str]) -> Tensor: ...
    def embed_images(self, image_out: dict[str, Tensor]) -> Tensor: ...
    def embed_reports(self, text_out: dict[str, Tensor]) -> Tensor: ...
    def presence_logits(self, image_out: dict[str, Tensor], z: Tensor) -> Tensor: ...
    @property
    def training(self) -> bool: ...
    def eval(self) -> Any: ...
    def train(self, mode: bool = True) -> Any: ...


@contextmanager
def inferring(model: _InferenceModel) -> Iterator[None]:
    """Evaluation mode and no gradient inside the block; the training mode is restored after it."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def score_phrases(model: _InferenceModel, images: Tensor, phrases: Sequence[str]) -> Tensor:
    """Scores (B, U); see :meth:`LgdeaModel.score_phrases`."""
    with inferring(model):
        out = model.forward_image(images.to(model.device))
        if model.scoring == "presence":
            return model.presence_logits(out, model.embed_phrases(phrases)).sigmoid()
        texts = model.tokenize(phrases)
        encoded = model.forward_text(**texts)
        pooled = cosine(out["pooled"], encoded["pooled"])
        if model.scoring == "global":
            return pooled
        return (pooled + local_similarity(out["patches"], encoded["tokens"], word_mask(model, texts))) / 2


def phrase_maps(model: _InferenceModel, images: Tensor, phrases: Sequence[str]) -> Tensor:
    """Maps (B, U, h, w); see :meth:`LgdeaModel.phrase_maps`.

    A ``global`` model has learned no patch projection; its patches go through the pooled one, as is usual when
    CLIP-like models are asked to ground a phrase. A ``local`` model's map is the mean over the phrase's words. With
    ``presence`` scoring the patches are what sets them apart from typical ones (:meth:`RetrievalHead.patches`).
    """
    with inferring(model):
        images = images.to(model.device)
        if model.scoring == "global":
            patches = model.project_pooled(model.image_tower(images)["patches"])
            z = model.forward_text(**model.tokenize(phrases))["pooled"]
        elif model.scoring == "local":
            patches = model.forward_image(images)["patches"]
            texts = model.tokenize(phrases)
            words = word_mask(model, texts)[..., None]
            z = (model.forward_text(**texts)["tokens"] * words).sum(dim=1) / words.sum(dim=1).clamp_min(1)
        else:
            patches = model.retrieval_head.patches(model.forward_image(images)["patches"])
            z = model.embed_phrases(phrases)
        rows, columns = model.grid
        return cosine(patches, z).transpose(1, 2).reshape(len(patches), len(z), rows, columns)


def encode_image(model: _InferenceModel, images: ImageInput | Sequence[ImageInput]) -> np.ndarray:
    """Embeddings (N, E) to compare with those of reports, float32, unit length; one image gives N = 1."""
    single = isinstance(images, str | Path | Image.Image | np.ndarray)
    items: list[ImageInput] = [images] if single else list(images)  # type: ignore[list-item, arg-type]
    rows = []
    with inferring(model):
        for start in range(0, len(items), BATCH):
            batch = torch.stack([_prepare(model, item)[0] for item in items[start : start + BATCH]])
            rows.append(model.embed_images(model.forward_image(batch.to(model.device))).cpu())
    return torch.cat(rows).numpy() if rows else np.zeros((0, model.embedding_dim), dtype=np.float32)


def encode_text(model: _InferenceModel, texts: str | Sequence[str]) -> np.ndarray:
    """Report embeddings (N, E), float32, unit length; one text gives N = 1."""
    items = [texts] if isinstance(texts, str) else list(texts)
    rows = []
    with inferring(model):
        for start in range(0, len(items), BATCH):
            tokens = model.tokenize(items[start : start + BATCH])
            rows.append(model.embed_reports(model.forward_text(**tokens)).cpu())
    return torch.cat(rows).numpy() if rows else np.zeros((0, model.embedding_dim), dtype=np.float32)


def heat_map(model: _InferenceModel, image: ImageInput, phrase: str) -> np.ndarray:
    """How much each place of ``image`` looks like ``phrase``; see :meth:`LgdeaModel.phrase_maps`.

    Returns:
        (H, W) float32 in pixels of the source image, NaN where the model did not look.
    """
    tensor, geometry = _prepare(model, image)
    return geometry.map_to_source(phrase_maps(model, tensor[None], [phrase])[0, 0].cpu().numpy())


def evidence(model: _InferenceModel, image: ImageInput, top: int = 10) -> list[dict[str, Any]]:
    """Most probable findings of ``image``.

    Args:
        model: The model.
        image: Path, PIL image or array.
        top: How many findings.

    Returns:
        Most probable first, one dict per finding: ``finding`` (vocabulary id), ``phrase``, ``laterality`` (of the
        phrase that scored highest), ``probability`` (``global`` models: cosine) and ``box``
        (x_min, y_min, x_max, y_max), half-open source pixels around the warmest place, None for global models.
    """
    tensor, geometry = _prepare(model, image)
    asked = candidates(model)
    scores = score_phrases(model, tensor[None], [phrase for _, _, phrase in asked])[0].cpu().numpy()
    best: dict[str, int] = {}
    for i in np.argsort(-scores, kind="stable"):
        best.setdefault(asked[i][0], int(i))
    chosen = list(best.values())[:top]
    boxes: list[list[int] | None] = [None] * len(chosen)
    if model.scoring == "presence" and chosen:
        maps = phrase_maps(model, tensor[None], [asked[i][2] for i in chosen])[0].cpu().numpy()
        warm = [boxes_of_map(geometry.map_to_source(grid)) for grid in maps]
        boxes = [list(found[0].box) if found else None for found in warm]
    return [
        {
            "finding": asked[i][0],
            "phrase": asked[i][2],
            "laterality": asked[i][1],
            "probability": float(scores[i]),
            "box": box,
        }
        for i, box in zip(chosen, boxes, strict=True)
    ]


def to_pixels(image: ImageInput) -> np.ndarray:
    """``image`` as (H, W) float32 in [0, 1], bright = dense.

    Raises:
        ImageError: It is no image, or an array of a shape or range that is not one.
    """
    if isinstance(image, str | Path):
        return read_image(Path(image)).pixels
    array = np.asarray(_flat(image) if isinstance(image, Image.Image) else image)
    if array.ndim == 3 and array.shape[2] in (3, 4):
        white, array = _full_scale(array), array[..., :3] @ np.array([0.299, 0.587, 0.114])
    elif array.ndim == 2 and array.size:
        white = _full_scale(array)
    else:
        raise ImageError(
            f"an image array must be (H, W) or (H, W, 3), not {array.shape}", remedy="pass a list of images"
        )
    array = array / white if white == 1 else (array / white).clip(max=1)  # some pixels overshoot their bit depth
    if not np.isfinite(array).all() or array.min() < -1e-6 or array.max() > 1 + 1e-6:
        raise ImageError("a float image must lie in [0, 1]", remedy="scale it, or pass uint8 or uint16")
    return array.clip(0, 1).astype(np.float32)


def _flat(image: Image.Image) -> Image.Image:
    """Greyscale, transparency on black; 16-bit pictures (Pillow's I modes) as they are."""
    if image.mode.startswith(("I", "F")):
        return image
    if image.mode in {"P", "PA", "LA", "RGBA"}:
        colour = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colour.size, (0, 0, 0, 255)), colour)
    return image.convert("L")


def _full_scale(array: np.ndarray) -> float:
    """The value of white; 16-bit pictures by the bit depth they use, as when they are read from a file."""
    if array.dtype == np.uint8:
        return 255.0
    return 2.0 ** bits_used(array) - 1 if np.issubdtype(array.dtype, np.integer) else 1.0


def word_mask(model: _InferenceModel, texts: dict[str, Tensor]) -> Tensor:
    """``(U, T)`` 1 where a token is a word of the phrase: neither padding nor a mark like [CLS]."""
    ids = texts["input_ids"]
    marks = torch.isin(ids, torch.tensor(model.tokenizer.all_special_ids, device=ids.device))
    unknown = ids == (model.tokenizer.unk_token_id if model.tokenizer.unk_token_id is not None else -1)
    return (texts["attention_mask"].bool() & (~marks | unknown)).long()


def _prepare(model: _InferenceModel, image: ImageInput) -> tuple[Tensor, Geometry]:
    preprocess: Preprocess | None = model.preprocess
    if preprocess is None:
        raise UsageError(
            "the model has no preprocessing", remedy="load it from a model folder, or set model.preprocess"
        )
    tensor, geometry = preprocess(to_pixels(image))
    return tensor, geometry


def candidates(model: _InferenceModel) -> list[tuple[str, str, str]]:
    """(finding, laterality, phrase) of every finding that the model knows, with both sides where there are two."""
    with using_vocabulary(model.vocabulary):
        return _list_candidates(model, model.vocabulary)


def _list_candidates(model: _InferenceModel, vocabulary: Vocabulary) -> list[tuple[str, str, str]]:
    known = model.findings or tuple(key for key, finding in vocabulary.findings.items() if "xray" in finding.modalities)
    result = []
    for key in known:
        finding = vocabulary.findings.get(key)
        place = vocabulary.anatomy.get(finding.default_anatomy or "") if finding else None
        sides = ("unspecified", "left", "right") if place and place.paired else ("unspecified",)
        result += [(key, side, canonical_phrase(key, laterality=side)) for side in sides]
    return result
