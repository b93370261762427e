"""The losses of objective ``lgdea``, from what the model says of a batch.

Shapes: M linked images and reports, V unlinked images, R unlinked reports (each over all processes), U phrases,
K prototypes, D shared dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lgdea.models.heads import similarity
from lgdea.objectives import contrastive, histograms, presence, prototypes
from lgdea.pretraining.config import ObjectiveConfig


@dataclass
class TextSide:
    """What the text tower says.

    Attributes:
        phrases: z ``(U, D)``.
        assignments: p(k | z) ``(U, K)``.
        prototypes: mu ``(K, D)``, as stored.
        histograms: Q_R ``(M + R, K)`` from the extracted evidence.
        reports: Pooled report embeddings ``(M + R, D)``.
        report_histograms: ``(M + R, K)`` prototypes that the report embeddings themselves point to.
        report_logits: ``(M + R, U)`` does the report's embedding tell this evidence?
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
class ImageSide:
    """What the image tower says of ``B`` images.

    Attributes:
        pooled: ``(B, D)``.
        histograms: Q_I ``(B, K)``.
        logits: Presence logits ``(B, U)`` of lesions and patches.
        pooled_logits: ``(B, U)`` does the pooled embedding tell this evidence?
    """

    pooled: Tensor
    histograms: Tensor
    logits: Tensor
    pooled_logits: Tensor


@dataclass
class Unlinked:
    """What propagation says of the batch's unlinked items; weights are confidences in [0, 1].

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
    text: TextSide, config: ObjectiveConfig, *, temperature: float, with_prototypes: bool
) -> dict[str, Tensor]:
    """The evidence space alone, from all reports of the batch (METHOD section 1)."""
    losses = {"report_evidence": _told(text.report_logits, text.status, config)}
    if with_prototypes:
        losses["reconstruction"] = prototypes.reconstruction(text.phrases, text.prototypes, temperature=temperature)
    return losses


def paired_losses(text: TextSide, images: ImageSide, config: ObjectiveConfig, *, scale: Tensor) -> dict[str, Tensor]:
    """Linked pairs; the report is the teacher (METHOD section 4)."""
    linked = len(images.pooled)
    targets, weights = _targets(text.status[:linked], config)
    report = text.histograms[:linked]
    return {
        "image_evidence": _told(images.pooled_logits, text.status[:linked], config),
        "presence": presence.presence_loss(images.logits, targets, weights, balance=config.balance),
        "ranking": presence.phrase_ranking(images.logits, targets, weights),
        "paired_kl": histograms.kl(report.detach(), images.histograms),
        "paired_histogram": contrastive.histogram_info_nce(
            images.histograms, report, temperature=config.histogram_temperature
        ),
        "global_evidence": contrastive.evidence_contrastive(
            scale * similarity(images.pooled, text.reports),
            text.overlap[:linked],
            temperature=config.similarity_temperature,
        ),
    }


def unlinked_losses(
    text: TextSide, images: ImageSide, said: Unlinked, config: ObjectiveConfig, *, scale: Tensor
) -> dict[str, Tensor]:
    """Unlinked images and reports, taught by propagated links (METHOD sections 3 and 4)."""
    reports = slice(len(text.reports) - len(said.report_weight), None)
    weight = said.image_weight[:, None].expand_as(said.evidence)
    shown, told = (
        presence.presence_loss(logits, said.evidence, weight, balance=config.balance)
        for logits in (images.logits, images.pooled_logits)
    )
    return {
        "unpaired_images": histograms.kl(said.image_histograms, images.histograms, weight=said.image_weight),
        "unpaired_presence": shown + told,
        "unpaired_reports": histograms.kl(
            said.report_histograms, text.report_histograms[reports], weight=said.report_weight
        ),
        "higher_order": contrastive.soft_contrastive(
            scale * similarity(images.pooled, text.reports[reports]), said.links * said.image_weight[:, None]
        ),
    }


def graph_targets(own: Tensor, said: Tensor, usual: Tensor, confidence: Tensor) -> Tensor:
    """What an unlinked image shows, by the model and by the graph.

    The model's own opinion is the prior, and the graph's the likelihood ratio of what it says of this image and what
    it says of any: sigmoid(own + c (logit s - logit u)), where s is ``said``, drawn half way to the usual u, so that
    no graph is ever sure.

    Args:
        own: ``(V, U)`` logits of the moving average for the image as it is.
        said: ``(V, U)`` share of the propagated links that assert each phrase.
        usual: ``(U,)`` mean of ``said`` over all images.
        confidence: ``(V,)`` c in [0, 1].

    Returns:
        ``(V, U)`` targets in [0, 1].
    """
    usual = usual.clamp(1e-4, 1 - 1e-4)
    ratio = ((said + usual) / 2).logit() - usual.logit()
    return (own.float() + confidence[:, None] * ratio).sigmoid()


def _told(logits: Tensor, status: Tensor, config: ObjectiveConfig) -> Tensor:
    """Whether an embedding tells evidence: phrase by phrase, and item against item."""
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
