"""How a model of evidence compares an image with a report as wholes, and a patch with a phrase.

An image is compared by what it probably shows: the probability of each finding, at the rate at which the training
reports state it. Training balances present and absent evidence, so that its own probabilities are far too high for
rare findings, and few links make it too sure of them. The product of an image's and a report's embedding is then their
expected overlap of evidence. The pooled embeddings add what findings do not say, side and severity for one. They are
centred: all images point somewhat one way and all reports another, and a plain cosine ranks first the reports that
happen to lie near the images' common direction (hubs; Liang et al. 2022, "Mind the gap"). Patches share a direction
too: what makes one patch unlike the others is what a heat map has to show.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lgdea.models.heads import unit

SURENESS = 0.5
"""Factor on an image's logits: how sure few links make a model."""
DETAIL = 0.2
"""Weight of the pooled embeddings' cosine beside the overlap of evidence."""


class WholeComparison(nn.Module):
    """What is typical of the training archive; until :meth:`settle` wholes are ranked by their pooled embeddings.

    Embeddings have F + 1 + D numbers: evidence, what brings a report's to unit length, and the pooled embedding.

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
        """F + 1 + D."""
        return self.phrases.shape[0] + 1 + self.phrases.shape[1]

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
            pooled (B, D); logits (B, F) of the findings; result (B, F + 1 + D), unit length.
        """
        evidence = unit((SURENESS * logits.float() + self.image_shift).sigmoid())
        return self._join(evidence, torch.zeros(len(pooled), 1, device=pooled.device), pooled - self.image_centre)

    def reports(self, pooled: Tensor, logits: Tensor) -> Tensor:
        """Embeddings of reports.

        Evidence is divided by 1 + the expected number of findings: a report that says much overlaps by chance. Its
        length, below 1, has to survive: the remainder to 1 goes where images have 0 (Bachrach et al. 2014).

        Shapes:
            pooled (B, D); logits (B, F) of the findings; result (B, F + 1 + D), unit length.
        """
        evidence = (logits.float() + self.report_shift).sigmoid()
        evidence = evidence / (1 + evidence.sum(dim=1, keepdim=True))
        rest = (1 - evidence.square().sum(dim=1, keepdim=True)).sqrt()
        return self._join(evidence, rest, pooled - self.report_centre)

    def patches(self, patches: Tensor) -> Tensor:
        """Patches as heat maps compare them with phrases, (B, P, D) -> (B, P, D), unit length."""
        return unit(patches - self.patch_centre)

    @staticmethod
    def _join(evidence: Tensor, rest: Tensor, pooled: Tensor) -> Tensor:
        return unit(torch.cat([evidence, rest, DETAIL**0.5 * unit(pooled)], dim=1))


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
