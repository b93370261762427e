"""How a model of evidence compares an image with a report as wholes, and a patch with a phrase.

Its embeddings are trained to tell evidence phrase by phrase, with a bias, as most evidence is in few images. So all
images point somewhat one way and all reports another, and a plain cosine ranks first the reports that happen to lie
near the images' common direction (hubs; Liang et al. 2022, "Mind the gap"). Both sides are therefore centred on what
is typical of the training archive. An image is also compared by its evidence: how much likelier than usual each
finding is. Patches share a direction too: what makes one patch unlike the others is what a heat map has to show.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lgdea.models.heads import similarity, unit


class WholeComparison(nn.Module):
    """Centres of both sides and the findings' embeddings; until :meth:`settle` plain embeddings are compared.

    Args:
        dim: D.
        findings: F, number of findings that the model is asked for.
    """

    image_centre: Tensor
    report_centre: Tensor
    patch_centre: Tensor
    finding_vectors: Tensor
    usual_presence: Tensor

    def __init__(self, dim: int, findings: int) -> None:
        super().__init__()
        self.register_buffer("image_centre", torch.zeros(dim))
        self.register_buffer("report_centre", torch.zeros(dim))
        self.register_buffer("patch_centre", torch.zeros(dim))
        self.register_buffer("finding_vectors", torch.zeros(findings, dim))
        self.register_buffer("usual_presence", torch.zeros(findings))

    def settle(
        self, images: Tensor, presence: Tensor, reports: Tensor, patches: Tensor, finding_vectors: Tensor
    ) -> None:
        """Learn what is typical.

        Shapes:
            images (N, D) and reports (M, D) pooled embeddings of training items; presence (N, F) probabilities of the
            findings in the images; patches (N, D) mean patch of each image; finding_vectors (F, D) evidence
            embeddings of the findings' phrases.
        """
        self.image_centre.copy_(images.mean(dim=0))
        self.report_centre.copy_(reports.mean(dim=0))
        self.patch_centre.copy_(patches.mean(dim=0))
        self.usual_presence.copy_(presence.mean(dim=0))
        self.finding_vectors.copy_(finding_vectors)

    def images(self, pooled: Tensor, presence: Tensor) -> Tensor:
        """Embeddings of images: the centred pooled one and the unusual evidence, half each.

        Shapes:
            pooled (B, D); presence (B, F); result (B, D), unit length.
        """
        evidence = similarity(presence - self.usual_presence, self.finding_vectors.T)
        return unit(unit(pooled - self.image_centre) + unit(evidence))

    def reports(self, pooled: Tensor) -> Tensor:
        """Embeddings of reports, (B, D) -> (B, D), unit length."""
        return unit(pooled - self.report_centre)

    def patches(self, patches: Tensor) -> Tensor:
        """Patches as heat maps compare them with phrases, (B, P, D) -> (B, P, D), unit length."""
        return unit(patches - self.patch_centre)
