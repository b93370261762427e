"""Small models of other libraries, saved to a folder as their users find them."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from lgdea.models.text_tower import train_tokenizer
from tests.helpers.mini_archive import STUDIES, text_of

SIDE, PATCH = 32, 8
MEAN, STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]


def tokenizer():
    made = train_tokenizer([text_of(i) for i in range(STUDIES)], 300)
    made.model_max_length = 24
    return made


def _sizes(layers: int) -> dict:
    return {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": layers, "num_attention_heads": 2}


def clip(folder: Path, layers: int = 2) -> CLIPModel:
    """CLIP that cuts a centred square."""
    words = tokenizer()
    text = {"vocab_size": len(words), "max_position_embeddings": 24, "eos_token_id": words.sep_token_id}
    vision = {"image_size": SIDE, "patch_size": PATCH}
    torch.manual_seed(1)
    config = CLIPConfig(text_config=_sizes(2) | text, vision_config=_sizes(layers) | vision, projection_dim=16)
    model = CLIPModel(config).eval()
    processor = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return _save(folder, model, words, processor)


def siglip(folder: Path, layers: int = 2) -> SiglipModel:
    """SigLIP, which squashes; its patches know no position."""
    words = tokenizer()
    text = {"vocab_size": len(words), "max_position_embeddings": 24, "projection_size": 32}
    vision = {"image_size": SIDE, "patch_size": PATCH}
    torch.manual_seed(1)
    model = SiglipModel(SiglipConfig(text_config=_sizes(2) | text, vision_config=_sizes(layers) | vision)).eval()
    model.vision_model.embeddings.position_embedding.weight.data.zero_()
    return _save(folder, model, words, SiglipImageProcessor(size={"height": SIDE, "width": SIDE}))


def _save(folder, model, words, processor):
    for part in (model, words, processor):
        part.save_pretrained(folder)
    return model


def native(folder: Path, layers: int = 1) -> torch.nn.Module:
    """open_clip with its own ViT and text transformer."""
    vision = {"image_size": SIDE, "patch_size": PATCH, "layers": layers, "width": 32, "head_width": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    return _save_open_clip(folder, {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text})


def biomed(folder: Path, pool: str = "") -> torch.nn.Module:
    """open_clip built as BiomedCLIP is: a timm ViT, and BERT with its tokenizer."""
    words = tokenizer()
    words.save_pretrained(folder)
    BertConfig(vocab_size=len(words), max_position_embeddings=24, **_sizes(2)).save_pretrained(folder)
    vision = {"timm_model_name": "test_vit", "timm_pool": pool, "timm_proj": "linear", "image_size": 160}
    text = {
        "hf_model_name": str(folder),
        "hf_tokenizer_name": str(folder),
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 24,
    }
    return _save_open_clip(folder, {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text})


def _save_open_clip(folder: Path, config: dict) -> torch.nn.Module:
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    torch.manual_seed(1)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False).eval()
    save_weights(model, folder)
    return model


def save_weights(model: torch.nn.Module, folder: Path) -> None:
    """Where open_clip looks for them first."""
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
