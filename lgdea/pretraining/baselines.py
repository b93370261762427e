"""The losses of the baselines: the same model, data, steps and seeds as ``lgdea``, only the objective differs.

Shapes: M linked images and reports, V unlinked images, R unlinked reports (each over all processes), U phrases.

``clip``     InfoNCE of linked pairs (ConVIRT, CLIP).
``gloria``   ``clip`` and the same between patches and words.
``medclip``  Soft targets from evidence similarity in place of identity, and all reports of the batch, linked or not, as
             texts. Unlinked images, which MedCLIP would use through labels of their own, have none here and stay out.
``sclip``    ``clip``, and pseudo-labels for unlinked images: reports by optimal transport, keywords by partial labels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lgdea.models.heads import cosine, local_similarity
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.objectives.baselines import caption_pseudo_label, keyword_pseudo_label
from lgdea.objectives.contrastive import evidence_contrastive, info_nce
from lgdea.objectives.gather import gather, world_size
from lgdea.pretraining.batches import Batch
from lgdea.pretraining.objective_config import ObjectiveConfig
from lgdea.vocabulary.entailment import PRESENT


def baseline_losses(model: LgdeaModel, batch: Batch, config: ObjectiveConfig, linked: int) -> dict[str, Tensor]:
    """The losses, all of weight 1.

    Args:
        model: In training.
        batch: Of :class:`lgdea.pretraining.batches.BatchBuilder`.
        config: Its ``name`` says which baseline.
        linked: M per process; they stand first in the batch.
    """
    features = model.image_tower(batch["views"])
    images = model.project_pooled(features["pooled"])
    texts = model.forward_text(batch["report_ids"], batch["report_mask"])
    scale = model.global_logit_scale
    pairs, reports = gather(images[:linked]), gather(texts["pooled"][:linked])
    if config.name == "medclip":
        everything = torch.cat([reports, gather(texts["pooled"][linked:])])
        logits = scale * cosine(pairs, everything)
        targets = batch["overlap"][: len(pairs)]
        return {"medclip": evidence_contrastive(logits, targets, temperature=config.similarity_temperature)}
    losses = {"clip": info_nce(scale * cosine(pairs, reports))}
    if config.name == "gloria":
        patches = gather(model.project_patches(features["patches"][:linked]))
        tokens, mask = _padded(texts["tokens"][:linked], batch["report_mask"][:linked], model.max_tokens)
        losses["gloria_local"] = info_nce(scale * local_similarity(patches, gather(tokens), gather(mask)))
    elif config.name == "sclip" and len(images) > linked:
        unlinked = gather(images[linked:])
        nearness = cosine(unlinked, pairs)
        keywords = model.forward_text(batch["phrase_ids"], batch["phrase_mask"])["pooled"]
        stated = batch["status"][: len(pairs)] == PRESENT
        losses["sclip_caption"] = caption_pseudo_label(scale * cosine(unlinked, reports), nearness)
        losses["sclip_keyword"] = keyword_pseudo_label(
            scale * cosine(unlinked, keywords), stated[nearness.argmax(dim=1)].float()
        )
    return losses


def _padded(tokens: Tensor, mask: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Token embeddings as they are for one process; of one length for several, whose tensors must fit together."""
    if world_size() == 1:
        return tokens, mask
    missing = length - tokens.shape[1]
    return F.pad(tokens, (0, 0, 0, missing)), F.pad(mask, (0, missing))
