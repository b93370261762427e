"""BioViL and BioViL-T by their authors' package hi-ml-multimodal, which only this module knows.

Bannur et al., "Learning to Exploit Temporal Structure for Biomedical Vision-Language Processing", CVPR 2023. The image
tower of BioViL-T sees one image here, without a prior one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lgdea.errors import UsageError
from lgdea.evaluation.encoders.parts import EncoderComponents, TextEncoder, Tokens, seeded
from lgdea.evaluation.encoders.preprocessing import Preprocessing

RESIZE = 512
CROPS = {"biovil_t": 448, "biovil": 480}
"""Model name to the side of its frame, as ``health_multimodal.image.get_image_inference`` cuts it."""


def build_hi_ml(name: str, random: bool, device: torch.device) -> EncoderComponents:
    """Load ``biovil_t`` or ``biovil``; the weights come from the Hugging Face hub.

    Raises:
        UsageError: Another name.
    """
    if name not in CROPS:
        raise UsageError(f"hi-ml:{name}: no such model", remedy=f"known: {', '.join(CROPS)}")
    image = _image_tower(name, random).eval().to(device)
    preprocessing = Preprocessing(
        size=(CROPS[name], CROPS[name]),
        resize="shortest",
        edges=(RESIZE, RESIZE),
        interpolation="bilinear",
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
    )
    return EncoderComponents(
        preprocessing=preprocessing,
        embed_images=lambda images: image(images).projected_global_embedding,
        device=device,
        text=_build_text_encoder(name, random, device),
        embed_patches=lambda images: image.get_patchwise_projected_embeddings(images, normalize=False),
    )


def _image_tower(name: str, random: bool) -> Any:
    from health_multimodal.image.model import pretrained
    from health_multimodal.image.model.model import ImageModel
    from health_multimodal.image.model.types import ImageEncoderType

    if not random:
        return pretrained.get_biovil_t_image_encoder() if name == "biovil_t" else pretrained.get_biovil_image_encoder()
    kind = ImageEncoderType.RESNET50_MULTI_IMAGE if name == "biovil_t" else ImageEncoderType.RESNET50
    with seeded(True):
        return ImageModel(img_encoder_type=kind, joint_feature_size=pretrained.JOINT_FEATURE_SIZE)


def _build_text_encoder(name: str, random: bool, device: torch.device) -> TextEncoder:
    from health_multimodal.text import utils

    tokenizer, model = utils.get_biovil_t_bert() if name == "biovil_t" else utils.get_cxr_bert()
    if random:
        with seeded(True):
            model = type(model)(model.config)
    model = model.eval().to(device)
    limit = int(model.config.max_position_embeddings)

    def tokenize(texts: list[str]) -> Tokens:
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        return {key: tokens[key] for key in ("input_ids", "attention_mask")}

    def overlong(texts: list[str]) -> list[bool]:
        return [len(ids) > limit for ids in tokenizer(texts, truncation=True, max_length=limit + 1)["input_ids"]]

    def embed(tokens: Tokens) -> Tensor:
        features: Tensor = model.get_projected_text_embeddings(**tokens, normalize_embeddings=False)
        return features

    return TextEncoder(tokenize, overlong, embed, limit)
