"""Small vision encoders of transformers with random weights, in folders as the hub has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

SIDE, PATCH = 32, 8
MEAN, STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
_LAYERS = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
_PATCHES = {"image_size": SIDE, "patch_size": PATCH}
_VIT = {**_LAYERS, **_PATCHES, "intermediate_size": 64}
_STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "dinov2": ("Dinov2Config", {**_LAYERS, **_PATCHES}),  # RAD-DINO is one
    "dinov2-registers": ("Dinov2WithRegistersConfig", {**_LAYERS, **_PATCHES, "num_register_tokens": 4}),
    "vit": ("ViTConfig", _VIT),
    "deit": ("DeiTConfig", _VIT),
    "beit": ("BeitConfig", _VIT),
    "clip-vision": ("CLIPVisionConfig", _VIT),
    "siglip-vision": ("SiglipVisionConfig", _VIT),
    "swin": (
        "SwinConfig",
        {"image_size": SIDE, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4},
    ),
    "convnext": ("ConvNextConfig", _STAGES),
    "vit-mae": ("ViTMAEConfig", _VIT),
}


def vision_encoder(kind: str, folder: Path, *, processor: bool = True) -> torch.nn.Module:
    """Save an encoder and, if wanted, its image processor; return the encoder."""
    name, settings = CONFIGS[kind]
    torch.manual_seed(1)
    model = transformers.AutoModel.from_config(getattr(transformers, name)(**settings)).eval()
    with torch.no_grad():  # position embeddings start at or near zero: patches would know no place
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    if processor:
        size = {"height": SIDE, "width": SIDE}
        transformers.ViTImageProcessor(size=size, image_mean=MEAN, image_std=STD).save_pretrained(folder)
    return model
