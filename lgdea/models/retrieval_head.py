"""How a model of evidence compares an image with a report as wholes, and a patch with a phrase.

An image is compared by what it probably shows: the probability of each finding, at the rate at which the training
reports state it. Training balances present and absent evidence, so that its own probabilities are far too high for
rare findings, and few links make it too sure of them. An image and a report then agree by their expected overlap of
evidence, divided by 1 + the expected number of findings of each: what says much overlaps by chance. The pooled
embeddings add what findings do not say, side and severity for one. They are centred: all images point somewhat one way
and all reports another, and a plain cosine ranks first the reports that happen to lie near the images' common
direction (hubs; Liang et al. 2022, "Mind the gap"). Patches share a direction too: what makes one patch unlike the
others is what a heat map has to show.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lgdea.models.heads import unit

SURENESS = 0.5
"""Factor on an image's logits: how sure few links make a model."""
DETAIL = 0.02
"""Weight of the pooled embeddings' cosine beside the overlap of evidence."""


class WholeComparison(nn.Module):
    """What is typical of the training archive; until :meth:`settle` wholes are ranked by their pooled embeddings.

    Embeddings have F + 2 + D numbers: evidence, what brings an image's and what a report's to unit length, and the
    pooled embedding.

    Args:
        dim: D.
        findings: F, number of findings that the model is asked for.
    """

    image_centre: Tensor
    report_centre: Tensor
    patch_centre: Tensor
    phrases: Tensor
    image_shift: Tensor
    report_shift: Tensor

    def __init__(self, dim: int, findings: int) -> None:
        super().__init__()
        self.register_buffer("image_centre", torch.zeros(dim))
        self.register_buffer("report_centre", torch.zeros(dim))
        self.register_buffer("patch_centre", torch.zeros(dim))
        self.register_buffer("phrases", torch.zeros(findings, dim))
        self.register_buffer("image_shift", torch.zeros(findings))
        self.register_buffer("report_shift", torch.zeros(findings))

    @property
    def dim(self) -> int:
        """F + 2 + D."""
        return self.phrases.shape[0] + 2 + self.phrases.shape[1]

    def settle(
        self,
        *,
        images: Tensor,
        image_logits: Tensor,
        reports: Tensor,
        report_logits: Tensor,
        patches: Tensor,
        phrases: Tensor,
        rates: Tensor,
    ) -> None:
        """Learn what is typical.

        Shapes:
            images (N, D) and reports (M, D) pooled embeddings of training items; image_logits (N, F) and report_logits
            (M, F) of the findings in them; patches (N, D) mean patch of each image; phrases (F, D) evidence embeddings
            of the findings; rates (F,) share of the training reports that state each.
        """
        self.image_centre.copy_(images.mean(dim=0))
        self.report_centre.copy_(reports.mean(dim=0))
        self.patch_centre.copy_(patches.mean(dim=0))
        self.phrases.copy_(phrases)
        self.image_shift.copy_(shift_to_rates(SURENESS * image_logits, rates))
        self.report_shift.copy_(shift_to_rates(report_logits, rates))

    def images(self, pooled: Tensor, logits: Tensor) -> Tensor:
        """Embeddings of images.

        Shapes:
            pooled (B, D); logits (B, F) of the findings; result (B, F + 2 + D), unit length.
        """
        evidence, rest = _overlapping((SURENESS * logits.float() + self.image_shift).sigmoid())
        return _join(evidence, rest, torch.zeros_like(rest), pooled - self.image_centre)

    def reports(self, pooled: Tensor, logits: Tensor) -> Tensor:
        """Embeddings of reports.

        Shapes:
            pooled (B, D); logits (B, F) of the findings; result (B, F + 2 + D), unit length.
        """
        evidence, rest = _overlapping((logits.float() + self.report_shift).sigmoid())
        return _join(evidence, torch.zeros_like(rest), rest, pooled - self.report_centre)

    def patches(self, patches: Tensor) -> Tensor:
        """Patches as heat maps compare them with phrases, (B, P, D) -> (B, P, D), unit length."""
        return unit(patches - self.patch_centre)


def _overlapping(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Evidence whose products are overlaps, and what is missing to unit length.

    The length of evidence, below 1, has to survive a cosine: the remainder goes where the other side has 0, as an
    inner product is made a cosine (Bachrach et al. 2014, "Speeding up the Xbox recommender system").

    Shapes:
        probabilities (B, F); result (B, F) and (B, 1).
    """
    evidence = probabilities / (1 + probabilities.sum(dim=1, keepdim=True))
    return evidence, (1 - evidence.square().sum(dim=1, keepdim=True)).sqrt()


def _join(evidence: Tensor, image_rest: Tensor, report_rest: Tensor, pooled: Tensor) -> Tensor:
    return unit(torch.cat([evidence, image_rest, report_rest, DETAIL**0.5 * unit(pooled)], dim=1))


def shift_to_rates(logits: Tensor, rates: Tensor) -> Tensor:
    """What to add to each finding's logits so that its mean probability is its rate.

    Shapes:
        logits (N, F); rates (F,) in [0, 1], taken as within half an item of 0 and 1; result (F,).

    Source: Saerens et al. 2002, "Adjusting the outputs of a classifier to new a priori probabilities", with the mean
    of the adjusted outputs as the constraint; solved by bisection.
    """
    logits = logits.double()
    rates = rates.double().clamp(0.5 / len(logits), 1 - 0.5 / len(logits))
    # The odds of the rate, moved by the extremes of the logits, enclose the answer.
    low, high = rates.logit() - logits.amax(dim=0), rates.logit() - logits.amin(dim=0)
    for _ in range(60):
        middle = (low + high) / 2
        over = (logits + middle).sigmoid().mean(dim=0) > rates
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    return ((low + high) / 2).float()
