"""Losses of objective ``lgdea``, from the model's outputs for a batch.

Shapes: M linked images and reports, V unlinked images, R unlinked reports (each over all processes), U phrases,
K prototypes, D shared dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lgdea.models.heads import cosine
from lgdea.objectives import contrastive, histograms, presence, prototypes
from lgdea.pretraining.objective_config import ObjectiveConfig


@dataclass
class TextOutputs:
    """Outputs of the text tower, and the evidence of the batch's reports.

    Attributes:
        phrases: z ``(U, D)``.
        assignments: p(k | z) ``(U, K)``.
        prototypes: mu ``(K, D)``, as stored.
        histograms: Q_R ``(M + R, K)`` from the extracted evidence.
        reports: Pooled report embeddings ``(M + R, D)``.
        report_histograms: ``(M + R, K)`` prototypes that the report embeddings themselves point to.
        report_logits: ``(M + R, U)`` pooled evidence logits of the reports.
        status: ``(M + R, U)``.
        overlap: ``(M + R, M + R)`` similarity by evidence.
    """

    phrases: Tensor
    assignments: Tensor
    prototypes: Tensor
    histograms: Tensor
    reports: Tensor
    report_histograms: Tensor
    report_logits: Tensor
    status: Tensor
    overlap: Tensor


@dataclass
class ImageOutputs:
    """Outputs of the image tower for ``B`` images.

    Attributes:
        pooled: ``(B, D)``.
        histograms: Q_I ``(B, K)``.
        logits: Presence logits ``(B, U)`` of lesions and patches.
        pooled_logits: ``(B, U)`` pooled evidence logits.
    """

    pooled: Tensor
    histograms: Tensor
    logits: Tensor
    pooled_logits: Tensor


@dataclass
class PropagatedTargets:
    """Targets of the batch's unlinked items, propagated from linked ones; weights are confidences in [0, 1].

    Attributes:
        image_histograms: ``(V, K)``.
        image_weight: ``(V,)``.
        evidence: ``(V, U)`` targets in [0, 1] of :func:`graph_targets`.
        report_histograms: ``(R, K)``.
        report_weight: ``(R,)``.
        links: ``(V, R)`` propagated links between the batch's unlinked images and reports.
    """

    image_histograms: Tensor
    image_weight: Tensor
    evidence: Tensor
    report_histograms: Tensor
    report_weight: Tensor
    links: Tensor


def evidence_losses(
    text: TextOutputs, config: ObjectiveConfig, *, temperature: float, with_prototypes: bool
) -> dict[str, Tensor]:
    """The evidence space alone, from all reports of the batch (METHOD section 1)."""
    losses = {"report_evidence": _evidence_bce_and_ranking_loss(text.report_logits, text.status, config)}
    if with_prototypes:
        losses["reconstruction"] = prototypes.reconstruction(text.phrases, text.prototypes, temperature=temperature)
    return losses


def paired_losses(
    text: TextOutputs, images: ImageOutputs, config: ObjectiveConfig, *, scale: Tensor
) -> dict[str, Tensor]:
    """Linked pairs; the report is the teacher (METHOD section 4)."""
    linked = len(images.pooled)
    targets, weights = _targets(text.status[:linked], config)
    report = text.histograms[:linked]
    return {
        "image_evidence": _evidence_bce_and_ranking_loss(images.pooled_logits, text.status[:linked], config),
        "presence": presence.presence_loss(images.logits, targets, weights, balance=config.balance),
        "ranking": presence.phrase_ranking(images.logits, targets, weights),
        "paired_kl": histograms.kl(report.detach(), images.histograms),
        "paired_histogram": contrastive.histogram_info_nce(
            images.histograms, report, temperature=config.histogram_temperature
        ),
        "global_evidence": contrastive.evidence_contrastive(
            scale * cosine(images.pooled, text.reports),
            text.overlap[:linked],
            temperature=config.similarity_temperature,
        ),
    }


def unlinked_losses(
    text: TextOutputs, images: ImageOutputs, targets: PropagatedTargets, config: ObjectiveConfig, *, scale: Tensor
) -> dict[str, Tensor]:
    """Unlinked images and reports, taught by propagated links (METHOD sections 3 and 4)."""
    reports = slice(len(text.reports) - len(targets.report_weight), None)
    weight = targets.image_weight[:, None].expand_as(targets.evidence)
    return {
        "unpaired_images": histograms.kl(targets.image_histograms, images.histograms, weight=targets.image_weight),
        "unpaired_presence": _presence_losses(images, targets.evidence, weight, config),
        "unpaired_reports": histograms.kl(
            targets.report_histograms, text.report_histograms[reports], weight=targets.report_weight
        ),
        "higher_order": contrastive.soft_contrastive(
            scale * cosine(images.pooled, text.reports[reports]), targets.links * targets.image_weight[:, None]
        ),
    }


def transport_loss(images: ImageOutputs, targets: Tensor, config: ObjectiveConfig) -> Tensor:
    """Presence in unlinked images, and their ranking, by the evidence that transport to unlinked reports has found.

    Args:
        images: Outputs for V images.
        targets: ``(V, U)`` in [0, 1]; NaN where there are none.
        config: The objective.
    """
    known, targets = targets.isfinite().float(), targets.nan_to_num()
    ranking = [presence.phrase_ranking(logits, targets, known) for logits in (images.logits, images.pooled_logits)]
    return _presence_losses(images, targets, known, config) + torch.stack(ranking).sum()


def graph_targets(teacher_logits: Tensor, propagated: Tensor, base_rate: Tensor, confidence: Tensor) -> Tensor:
    """Evidence targets of unlinked images, from the teacher and the graph together.

    Definition: sigmoid(t + c (logit s - logit u)). The teacher t is the prior; the likelihood ratio is that of the
    graph's share s for this image, drawn half way to its base rate u, against u, so that no graph is ever sure.

    Args:
        teacher_logits: t ``(V, U)``, logits of the EMA model for the image without augmentation.
        propagated: ``(V, U)`` share of the propagated links that assert each phrase.
        base_rate: u ``(U,)``, mean of ``propagated`` over all images.
        confidence: c ``(V,)`` in [0, 1].

    Returns:
        ``(V, U)`` targets in [0, 1].
    """
    base_rate = base_rate.clamp(1e-4, 1 - 1e-4)
    # Half way to the base rate: a share of 0 or 1, seen through a handful of links, would have an infinite logit.
    log_ratio = ((propagated + base_rate) / 2).logit() - base_rate.logit()
    return (teacher_logits.float() + confidence[:, None] * log_ratio).sigmoid()


def _presence_losses(images: ImageOutputs, targets: Tensor, weights: Tensor, config: ObjectiveConfig) -> Tensor:
    """Sum of the presence losses of lesions with patches, and of the pooled embedding."""
    return torch.stack(
        [
            presence.presence_loss(logits, targets, weights, balance=config.balance)
            for logits in (images.logits, images.pooled_logits)
        ]
    ).sum()


def _evidence_bce_and_ranking_loss(logits: Tensor, status: Tensor, config: ObjectiveConfig) -> Tensor:
    """Sum of the presence BCE (phrase by phrase) and the ranking loss (item against item)."""
    targets, weights = _targets(status, config)
    loss = presence.presence_loss(logits, targets, weights, balance=config.balance)
    return loss + presence.phrase_ranking(logits, targets, weights)


def _targets(status: Tensor, config: ObjectiveConfig) -> tuple[Tensor, Tensor]:
    return presence.presence_targets(
        status,
        uncertain=config.uncertain_target,
        uncertain_weight=config.uncertain_weight,
        unmentioned_weight=config.unmentioned_weight,
    )
