"""transformers models as encoders: image-text models by their features, plain vision models by their pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lgdea.errors import UsageError
from lgdea.evaluation.encoders.parts import EncoderComponents, Processor, TextEncoder, Tokens, noise, seeded
from lgdea.evaluation.encoders.preprocessing import Preprocessing
from lgdea.evaluation.encoders.protocol import Pixels
from lgdea.foreign_code import Admitted, admit
from lgdea.models.own_code import require_place

LEAST_TOKENS_WITHOUT_LIMIT = 100_000
"""Tokenizers that know no limit say some huge number."""


def build_huggingface(name: str, random: bool, device: torch.device) -> EncoderComponents:
    """A model of the hub, or of a folder, by :class:`transformers.AutoModel`.

    Raises:
        UsageError: Its image and text features are of different spaces.
    """
    from transformers import AutoImageProcessor, AutoTokenizer

    admitted = admit(name)
    require_place(admitted.place, "model")
    model, missing = _load(admitted, random)
    model = model.eval().to(device)
    preprocessing = read_preprocessing(
        AutoImageProcessor.from_pretrained(admitted.place, trust_remote_code=admitted.trusted)
    )
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        embed = _pooling(model, pooler=not any("pooler" in key for key in missing))
        missing = [key for key in missing if "pooler" not in key]
        return EncoderComponents(preprocessing, embed, device, notes=_notes(missing, admitted))
    text = _build_text_encoder(model, AutoTokenizer.from_pretrained(admitted.place, trust_remote_code=admitted.trusted))

    def embed_images(images: Tensor) -> Tensor:
        return _pooled(model.get_image_features(pixel_values=images))

    _check_space(name, embed_images(preprocessing.batch([noise(64, 64)]).to(device)), text, device)
    patches, patch_size = _patches(model)
    return EncoderComponents(preprocessing, embed_images, device, text, patches, patch_size, _notes(missing, admitted))


def _load(admitted: Admitted, random: bool) -> tuple[Any, list[str]]:
    """The model and the weights that its checkpoint lacks."""
    from transformers import AutoConfig, AutoModel

    if random:
        with seeded(True):
            config = AutoConfig.from_pretrained(admitted.place, trust_remote_code=admitted.trusted)
            return AutoModel.from_config(config, trust_remote_code=admitted.trusted), []
    with seeded(True):  # what the checkpoint lacks is random; the same every time
        model, info = AutoModel.from_pretrained(
            admitted.place, output_loading_info=True, trust_remote_code=admitted.trusted
        )
    return model, sorted(info["missing_keys"])


def _notes(missing: list[str], admitted: Admitted) -> tuple[str, ...]:
    notes = []
    if admitted.trusted:
        files = ", ".join(f"{file} (sha256 {digest})" for file, digest in admitted.files.items())
        notes.append(f"ran Python code of {admitted.name}: {files}")
    if not missing:
        return tuple(notes)
    return (
        *notes,
        f"{len(missing)} of the model's weights are not in its checkpoint and random, e.g. {missing[0]}",
    )


def read_preprocessing(processor: Any) -> Preprocessing | Processor:
    """Describe an image processor as a :class:`Preprocessing`; the processor itself when the pixels would differ."""
    own = OpaqueProcessor(processor)
    try:
        preprocessing = _describe_processor(processor)
    except (AttributeError, TypeError, KeyError, ValueError):
        return own
    # Processors of some models do more than their settings say (ConvNeXT's crop): the outcome decides.
    for picture in (noise(90, 70), noise(333, 500)):
        expected, got = own.batch([picture]), preprocessing.batch([picture])
        if expected.shape != got.shape or (expected - got).abs().mean() > 0.02:
            return own
    return preprocessing


def _describe_processor(processor: Any) -> Preprocessing:
    if not (processor.do_resize and processor.do_rescale):
        raise ValueError("not resized to a fixed frame")
    shortest = _get(processor.size, "shortest_edge")
    edges = (int(shortest), int(shortest)) if shortest else _split_size(processor.size)
    frame = _split_size(processor.crop_size) if processor.do_center_crop else edges
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ((0.0,) * 3, (1.0,) * 3)
    return Preprocessing(
        size=frame,
        resize="shortest" if shortest else "squash",
        edges=edges,
        interpolation=Image.Resampling(processor.resample).name,
        mean=tuple(mean),
        std=tuple(std),
        floor=True,
    )


def _get(size: Any, key: str) -> Any:
    """Sizes are dictionaries in older versions."""
    return size.get(key) if isinstance(size, dict) else getattr(size, key, None)


def _split_size(size: Any) -> tuple[int, int]:
    return int(_get(size, "height")), int(_get(size, "width"))


@dataclass(frozen=True)
class OpaqueProcessor:
    """An image processor called as it is; where its frame stands in the source is not known."""

    processor: Any

    def batch(self, images: Sequence[Pixels]) -> Tensor:
        """(B, 3, h, w) as the model takes it."""
        pictures = [Image.fromarray(np.rint(image * 255).astype(np.uint8)).convert("RGB") for image in images]
        values: Tensor = self.processor(images=pictures, return_tensors="pt")["pixel_values"]
        return values


def _pooled(output: Any) -> Tensor:
    """Features as older versions give them (a tensor) or newer ones (an output with ``pooler_output``)."""
    features: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return features


def _pooling(model: Any, pooler: bool) -> Callable[[Tensor], Tensor]:
    """The model's own pooling when its weights were trained; else the class token, or the mean over the places."""

    def embed(images: Tensor) -> Tensor:
        output = model(pixel_values=images)
        pooled = getattr(output, "pooler_output", None)
        if pooler and pooled is not None:
            return torch.as_tensor(pooled).flatten(1)
        last: Tensor = output.last_hidden_state
        if last.dim() == 4:
            return last.mean(dim=(2, 3))
        has_class_token = getattr(getattr(model, "embeddings", None), "cls_token", None) is not None
        return last[:, 0] if has_class_token else last.mean(dim=1)

    return embed


def _build_text_encoder(model: Any, tokenizer: Any) -> TextEncoder:
    config = getattr(model.config, "text_config", model.config)
    limits = [tokenizer.model_max_length, getattr(config, "max_position_embeddings", None)]
    limit = min((int(n) for n in limits if n and n < LEAST_TOKENS_WITHOUT_LIMIT), default=512)
    # SigLIP was trained on texts padded to the full length, without a mask.
    padding = "max_length" if "siglip" in model.config.model_type else True
    names = ("input_ids", *([] if "siglip" in model.config.model_type else ["attention_mask"]))

    def tokenize(texts: list[str]) -> Tokens:
        tokens = tokenizer(texts, padding=padding, truncation=True, max_length=limit, return_tensors="pt")
        return {name: tokens[name] for name in names}

    def overlong(texts: list[str]) -> list[bool]:
        return [len(ids) > limit for ids in tokenizer(texts, truncation=True, max_length=limit + 1)["input_ids"]]

    return TextEncoder(tokenize, overlong, lambda tokens: _pooled(model.get_text_features(**tokens)), limit)


def _check_space(name: str, image: Tensor, text: TextEncoder, device: torch.device) -> None:
    texts = text.embed({key: value.to(device) for key, value in text.tokenize(["chest"]).items()})
    if image.dim() != 2 or image.shape != texts.shape:
        raise UsageError(
            f"hf:{name}: its image features {tuple(image.shape)} and text features {tuple(texts.shape)} share no space",
            remedy="choose a model trained to compare the two, or write a python: factory",
        )


def _patches(model: Any) -> tuple[Callable[[Tensor], Tensor] | None, tuple[int, int] | None]:
    """Projection of patches into the space of the texts, and their size."""
    from transformers import CLIPModel, SiglipModel

    vision: Any = getattr(model, "vision_model", None)
    if isinstance(model, CLIPModel):

        def patches(images: Tensor) -> Tensor:
            tokens = vision(pixel_values=images).last_hidden_state[:, 1:]
            return _grid(model.visual_projection(vision.post_layernorm(tokens)), images, vision.config.patch_size)

    elif isinstance(model, SiglipModel) and getattr(vision, "head", None) is not None:

        def patches(images: Tensor) -> Tensor:
            tokens = vision(pixel_values=images).last_hidden_state
            # Its pooling is attention: over a single token that is the token's value, projected as the pooled one is.
            rows = vision.head(tokens.flatten(0, 1)[:, None]).reshape(len(images), tokens.shape[1], -1)
            return _grid(rows, images, vision.config.patch_size)

    else:
        return None, None
    return patches, (vision.config.patch_size,) * 2


def _grid(rows: Tensor, images: Tensor, patch: int) -> Tensor:
    return rows.reshape(len(images), images.shape[-2] // patch, images.shape[-1] // patch, -1)
