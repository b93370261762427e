"""Comparing an image with a report as wholes."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from lgdea.models.whole import WholeComparison


def test_before_it_is_settled_pooled_embeddings_are_compared():
    pooled = F.normalize(torch.randn(5, 8), dim=-1)
    compare = WholeComparison(8, 3)
    torch.testing.assert_close(compare.images(pooled, torch.rand(5, 3)), pooled)
    torch.testing.assert_close(compare.reports(pooled), pooled)
    torch.testing.assert_close(compare.patches(pooled[None]), pooled[None])


def test_a_common_direction_no_longer_decides():
    """All lean one way, some reports more than others: these are near to every image."""
    torch.manual_seed(0)
    signal = F.normalize(torch.randn(40, 16), dim=-1)
    lean = 3 * torch.eye(16)[0]
    images, reports = F.normalize(signal + lean, dim=-1), F.normalize(signal + 0.2 * lean * torch.rand(40, 1), dim=-1)
    plain = (images @ reports.T).argmax(dim=1)
    compare = WholeComparison(16, 0)
    compare.settle(images, torch.zeros(40, 0), reports, torch.zeros(40, 16), torch.zeros(0, 16))
    centred = (compare.images(images, torch.zeros(40, 0)) @ compare.reports(reports).T).argmax(dim=1)
    right = torch.arange(40)
    assert (plain == right).float().mean() < 0.3
    assert (centred == right).float().mean() > 0.9


def test_evidence_that_is_likelier_than_usual_draws_an_image_to_it():
    vectors = torch.eye(4)[:2]
    compare = WholeComparison(4, 2)
    pooled = F.normalize(torch.ones(3, 4), dim=-1)
    compare.settle(pooled, torch.tensor([[0.5, 0.1]]).expand(3, 2), torch.zeros(1, 4), torch.zeros(3, 4), vectors)
    # The second finding is less probable, but much likelier than usual.
    image = compare.images(pooled[:1], torch.tensor([[0.5, 0.4]]))
    assert (image @ vectors.T).argmax().item() == 1
    torch.testing.assert_close(image, torch.tensor([[0.0, 1.0, 0.0, 0.0]]))


def test_a_patch_is_told_by_what_is_unusual_in_it():
    """All patches lean towards one phrase; the one that leans a little towards another is where that one is."""
    usual, found, phrases = torch.eye(3)[0], torch.eye(3)[1], torch.eye(3)[:2]
    patches = F.normalize(usual + 0.3 * torch.eye(4)[2][:, None] * found, dim=-1)[None]  # patch 2 of 4
    compare = WholeComparison(3, 0)
    mean = F.normalize(usual + 0.05 * found, dim=-1)
    compare.settle(torch.zeros(1, 3), torch.zeros(1, 0), torch.zeros(1, 3), mean[None], torch.zeros(0, 3))
    plain, centred = ((p @ phrases.T)[0] for p in (patches, compare.patches(patches)))
    assert (plain.argmax(dim=1) == 0).all()
    assert centred[2].argmax() == 1
    assert (centred[[0, 1, 3], 1] < 0).all()
