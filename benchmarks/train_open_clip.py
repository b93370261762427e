"""A step of open_clip, with its own loss, on towers of the same size and the same batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarks.timing import WARM_UP, alternate, descend, optimiser_of
from lgdea.pretraining.config import PretrainConfig

if TYPE_CHECKING:
    from lgdea.pretraining.inputs import Inputs


def measure_open_clip(config: PretrainConfig, inputs: Inputs, steps: int) -> dict[str, float]:
    """Seconds of a step of objective ``clip`` here and of open_clip: forward, ``ClipLoss``, backward, AdamW.

    open_clip's image tower is the same timm model (on three channels, which it needs, without the feature pyramid); its
    text transformer has the same width, layers and number of tokens. Both get the same pixels; only ours augments them.

    Returns:
        ``seconds``, ``open_clip_seconds`` and ``ratio``; nothing for a tower that open_clip does not put together: it
        sizes its projection by timm's ``num_features``, which is not what a tower with a convolution behind its pooling
        (MobileNetV3) gives.
    """
    import open_clip

    from lgdea.pretraining.build import build_training

    module, data = build_training(config, inputs)
    batches = [data.builder[draw] for draw, _ in zip(data.sampler, range(steps + WARM_UP), strict=False)]
    tokens = config.text.max_tokens
    peer: Any = open_clip.CLIP(
        embed_dim=config.model.dim,
        vision_cfg={"timm_model_name": config.image.tower, "image_size": config.image.size, "timm_pool": "avg"},
        text_cfg={
            "context_length": tokens,
            "vocab_size": len(module.model.tokenizer),
            "width": config.text.hidden,
            "heads": 2,
            "layers": config.text.layers,
        },
    )
    trunk = peer.visual.trunk
    if getattr(trunk, "head_hidden_size", trunk.num_features) != trunk.num_features:
        return {}
    loss = open_clip.ClipLoss()
    ours, theirs = optimiser_of(module), optimiser_of(peer)
    module.train()

    def step(batch: dict[str, Tensor]) -> None:
        descend(module.training_step(data.on_after_batch_transfer(dict(batch), 0), 0), ours)
        module.update_ema_model()

    def step_of_peer(batch: dict[str, Tensor]) -> None:
        images = data.preprocess.normalise(batch["images"]).expand(-1, 3, -1, -1)
        ids = torch.nn.functional.pad(batch["report_ids"], (0, tokens))[:, :tokens]
        descend(loss(*peer(images, ids)), theirs)

    seconds, peer_seconds = alternate([step, step_of_peer], batches)
    return {"seconds": seconds, "open_clip_seconds": peer_seconds, "ratio": seconds / peer_seconds}
