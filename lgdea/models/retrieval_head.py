"""Retrieval embeddings: expected evidence plus the centred pooled embedding.

An image is compared with a report by what it probably shows: the probability of each finding, at the rate at which the
training reports state it. Training balances present and absent evidence, so that its own probabilities are far too high
for rare findings, and few links make it too sure of them. An image and a report then agree by their expected overlap of
evidence, divided by 1 + the expected number of findings of each: long findings lists overlap by chance, hence the
normalisation. The pooled embeddings add what findings do not say, side and severity for one. They are centred: all
images point somewhat one way and all reports another, and a plain cosine ranks first the reports that happen to lie
near the images' common direction (hubs; Liang et al. 2022, "Mind the gap"). Patches share a direction too: what makes
one patch unlike the others is what a heat map has to show.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lgdea.models.heads import l2_normalize

IMAGE_LOGIT_TEMPERATURE = 2.0
"""Divides an image's logits: few links make a model too sure."""
POOLED_WEIGHT = 0.02
"""Weight of the pooled embeddings' cosine beside the overlap of evidence."""


class RetrievalHead(nn.Module):
    """Embeddings for retrieval, from pooled embeddings, finding logits and statistics of the training archive.

    Until :meth:`calibrate` all statistics are 0, and items are ranked by their pooled embeddings. An embedding has
    F + 2 + D numbers: evidence, what brings an image's and what a report's to unit length, and the pooled embedding.

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

    def calibrate(
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
        """Set centres and shifts from a sample of training items.

        Args:
            images: Pooled embeddings of N images ``(N, D)``.
            image_logits: Logits of the findings in them ``(N, F)``.
            reports: Pooled embeddings of M reports ``(M, D)``.
            report_logits: Logits of the findings in them ``(M, F)``.
            patches: Mean patch of each image ``(N, D)``.
            phrases: Evidence embeddings of the findings ``(F, D)``.
            rates: Share of the training reports that state each finding ``(F,)``.
        """
        self.image_centre.copy_(images.mean(dim=0))
        self.report_centre.copy_(reports.mean(dim=0))
        self.patch_centre.copy_(patches.mean(dim=0))
        self.phrases.copy_(phrases)
        self.image_shift.copy_(shift_to_rates(image_logits / IMAGE_LOGIT_TEMPERATURE, rates))
        self.report_shift.copy_(shift_to_rates(report_logits, rates))

    def images(self, pooled: Tensor, logits: Tensor) -> Tensor:
        """Embed images.

        Shapes:
            pooled (B, D); logits (B, F) of the findings; result (B, F + 2 + D), unit length.
        """
        evidence, rest = _overlapping((logits.float() / IMAGE_LOGIT_TEMPERATURE + self.image_shift).sigmoid())
        return _join(evidence, rest, torch.zeros_like(rest), pooled - self.image_centre)

    def reports(self, pooled: Tensor, logits: Tensor) -> Tensor:
        """Embed reports.

        Shapes:
            pooled (B, D); logits (B, F) of the findings; result (B, F + 2 + D), unit length.
        """
        evidence, rest = _overlapping((logits.float() + self.report_shift).sigmoid())
        return _join(evidence, torch.zeros_like(rest), rest, pooled - self.report_centre)

    def patches(self, patches: Tensor) -> Tensor:
        """Patches less their centre, in units of their root mean square distance from it, (B, P, D) -> (B, P, D).

        Not brought to unit length each: a patch near the centre has nothing to say and would be as loud as any. The
        mean of |x - c|^2 over unit vectors x with centre c is 1 - |c|^2.
        """
        spread = (1 - self.patch_centre.square().sum()).clamp_min(1e-6).sqrt()
        return (patches - self.patch_centre) / spread


def _overlapping(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Evidence whose products are overlaps, and what is missing to unit length.

    The length of evidence, below 1, has to survive a cosine: the remainder goes where the other side has 0, as an
    inner product is made a cosine (Bachrach et al. 2014, "Speeding up the Xbox recommender system").

    Shapes:
        probabilities (B, F); result (B, F) and (B, 1).
    """
    # sum_f C_f R_f is the expected number of shared findings; as in a Jaccard index it is divided by the size of the
    # union, here by (1 + |C|) (1 + |R|), which factors so that each side carries its own part.
    evidence = probabilities / (1 + probabilities.sum(dim=1, keepdim=True))
    # The length is below 1: every entry is below 1 / (1 + sum), so the root is never of a negative number.
    return evidence, (1 - evidence.square().sum(dim=1, keepdim=True)).sqrt()


def _join(evidence: Tensor, image_rest: Tensor, report_rest: Tensor, pooled: Tensor) -> Tensor:
    """Concatenate the parts; the cosine of two results is (overlap + w cos(pooled)) / (1 + w), w the pooled weight.

    The weight's root stands on each side, so that the product carries it once.
    """
    return l2_normalize(
        torch.cat([evidence, image_rest, report_rest, POOLED_WEIGHT**0.5 * l2_normalize(pooled)], dim=1)
    )


def shift_to_rates(logits: Tensor, rates: Tensor) -> Tensor:
    """Shift that gives each finding's mean probability its rate.

    Definition: b_f with mean_n sigmoid(logit_nf + b_f) = rate_f.

    Args:
        logits: ``(N, F)``.
        rates: ``(F,)`` in [0, 1], taken as within half an item of 0 and 1.

    Returns:
        b ``(F,)``, float32.

    Example:
        >>> import torch
        >>> shift = shift_to_rates(torch.tensor([[2.0], [4.0]]), torch.tensor([0.5]))
        >>> round(float(shift), 3)  # symmetric about 3
        -3.0

    Source: Saerens et al. 2002, "Adjusting the outputs of a classifier to new a priori probabilities", with the mean
    of the adjusted outputs as the constraint; solved by bisection.
    """
    # Double: the sigmoid of a large logit rounds to 1 in float32, and the bisection would stall.
    logits = logits.double()
    rates = rates.double().clamp(0.5 / len(logits), 1 - 0.5 / len(logits))
    # The odds of the rate, moved by the extremes of the logits, enclose the answer.
    low, high = rates.logit() - logits.amax(dim=0), rates.logit() - logits.amin(dim=0)
    for _ in range(60):  # halves the bracket each time: far below float32's resolution
        middle = (low + high) / 2
        over = (logits + middle).sigmoid().mean(dim=0) > rates
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    return ((low + high) / 2).float()
