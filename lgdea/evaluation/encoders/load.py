"""Components of timm, open_clip, transformers and hi-ml models."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lgdea.errors import UsageError
from lgdea.evaluation.encoders import hi_ml, huggingface
from lgdea.evaluation.encoders.parts import EncoderComponents, TextEncoder, seeded
from lgdea.evaluation.encoders.preprocessing import Preprocessing


def build_timm(name: str, random: bool, device: torch.device) -> EncoderComponents:
    """Load a timm model; its embedding is the pooled features before the classifier."""
    import timm
    from timm.data import resolve_model_data_config

    with seeded(random):
        model = timm.create_model(name, pretrained=not random, num_classes=0)
    config = resolve_model_data_config(model)
    height, width = config["input_size"][1:]
    resize = {"squash": "squash", "border": "longest"}.get(config["crop_mode"], "shortest")
    preprocessing = Preprocessing(
        size=(height, width),
        resize=resize,  # type: ignore[arg-type]
        edges=(math.floor(height / config["crop_pct"]), math.floor(width / config["crop_pct"])),
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        fill=tuple(round(255 * value) for value in config["mean"]) if resize == "longest" else None,
    )
    return EncoderComponents(preprocessing, model.eval().to(device), device)


def build_open_clip(name: str, random: bool, device: torch.device) -> EncoderComponents:
    """Load a CLIP of open_clip: built in (``NAME/PRETRAINED``), of the Hugging Face hub or in a folder."""
    import open_clip

    hosted = name.startswith(("hf-hub:", "local-dir:"))
    architecture, _, weights = (name, "", "") if hosted else name.partition("/")
    if not (hosted or weights or random):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)[:8]) or "none"
        raise UsageError(
            f"open_clip:{name} names no weights",
            remedy=f"write open_clip:{name}/TAG (for example {tags}), /FILE, or open_clip:{name}@random",
        )
    # A checkpoint that cannot be fetched must not pass for a model: open_clip would go on with random weights.
    with seeded(random):
        model: Any = open_clip.create_model(
            architecture,
            pretrained=weights if weights and not random else None,
            load_weights=not random,
            require_pretrained=not random,
            pretrained_text=False,
        )
    model = model.eval().to(device)
    visual = model.visual
    config = visual.preprocess_cfg
    size = config["size"] if isinstance(config["size"], tuple | list) else (config["size"],) * 2
    preprocessing = Preprocessing(
        size=tuple(size),
        resize=config["resize_mode"],
        edges=tuple(size),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        fill=(config["fill_color"],) * len(config["mean"]),
    )
    patches, patch_size = _open_clip_patches(visual)
    text = _build_open_clip_text(model, open_clip.get_tokenizer(architecture))
    return EncoderComponents(preprocessing, model.encode_image, device, text, patches, patch_size)


def _build_open_clip_text(model: Any, tokenizer: Any) -> TextEncoder:
    limit = int(tokenizer.context_length)
    padding = int(tokenizer([""])[0].mode().values)

    def overlong(texts: list[str]) -> list[bool]:
        # With room for one token more, a text that was cut has one token more.
        short, long = ((tokenizer(texts, context_length=n) != padding).sum(dim=1) for n in (limit, limit + 1))
        return list((long > short).tolist())

    return TextEncoder(
        tokenize=lambda texts: {"ids": tokenizer(texts)},
        overlong=overlong,
        embed=lambda tokens: model.encode_text(tokens["ids"]),
        limit=limit,
    )


def _open_clip_patches(visual: Any) -> tuple[Callable[[Tensor], Tensor] | None, tuple[int, int] | None]:
    """Projection of the image tower's patches into the shared space, and their size; (None, None) without one."""
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    if isinstance(visual, VisionTransformer) and visual.attn_pool is None:

        def project(images: Tensor) -> Tensor:
            last = {"indices": 1, "normalize_intermediates": True, "intermediates_only": True}
            grid = visual.forward_intermediates(images, **last)["image_intermediates"][0]
            return grid.movedim(1, -1) @ visual.proj

        return project, tuple(visual.patch_size)
    if isinstance(visual, TimmModel) and not hasattr(visual.head, "pool"):
        return _trunk_patches(visual)
    return None, None


def _trunk_patches(visual: Any) -> tuple[Callable[[Tensor], Tensor] | None, tuple[int, int] | None]:
    trunk = visual.trunk
    grid, prefix = (
        getattr(getattr(trunk, "patch_embed", None), "grid_size", None),
        getattr(trunk, "num_prefix_tokens", None),
    )
    if grid is None or prefix is None:  # no plain ViT
        return None, None

    def project(images: Tensor) -> Tensor:
        patches = trunk.forward_features(images)[:, prefix:]
        rows = patches.flatten(0, 1)[:, None].expand(-1, prefix + 1, -1)
        # A picture that shows the same patch everywhere: whatever the pooling (class token, mean, attention), its
        # pooled token is that patch, and goes through the same norm, head and projection.
        return visual.head(trunk.forward_head(rows)).reshape(len(images), *grid, -1)

    return project, tuple(trunk.patch_embed.patch_size)


LIBRARIES: dict[str, Callable[[str, bool, torch.device], EncoderComponents]] = {
    "timm": build_timm,
    "hf": huggingface.build_huggingface,
    "open_clip": build_open_clip,
    "hi-ml": hi_ml.build_hi_ml,
}
