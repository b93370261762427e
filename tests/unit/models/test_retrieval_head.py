"""Comparing an image with a report as wholes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lgdea.models.retrieval_head import RetrievalHead, shift_to_rates


def settled(compare: RetrievalHead, items: int = 4, **known: torch.Tensor) -> RetrievalHead:
    """``compare``, told ``known`` and nothing else."""
    findings, dim = compare.phrases.shape
    nothing = {name: torch.zeros(items, dim) for name in ("images", "reports", "patches")}
    nothing |= {name: torch.zeros(items, findings) for name in ("image_logits", "report_logits")}
    nothing |= {"phrases": torch.zeros(findings, dim), "rates": torch.full((findings,), 0.5)}
    compare.calibrate(**(nothing | known))
    return compare


def test_embeddings_are_unit_vectors_of_the_length_that_is_told():
    torch.manual_seed(0)
    compare = settled(RetrievalHead(8, 3), rates=torch.tensor([0.5, 0.01, 0.9]))
    for embed in (compare.images, compare.reports):
        found = embed(F.normalize(torch.randn(5, 8), dim=-1), 5 * torch.randn(5, 3))
        assert found.shape == (5, compare.dim)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(5))


def test_before_it_is_settled_wholes_are_ranked_by_their_pooled_embeddings():
    torch.manual_seed(0)
    images, reports = (F.normalize(torch.randn(20, 8), dim=-1) for _ in range(2))
    compare, logits = RetrievalHead(8, 3), torch.zeros(20, 3)
    found = compare.images(images, logits) @ compare.reports(reports, logits).T
    assert torch.equal(found.argsort(dim=1), (images @ reports.T).argsort(dim=1))
    torch.testing.assert_close(compare.patches(images[None]), images[None])


def test_a_common_direction_no_longer_decides():
    """All lean one way, some reports more than others: these are near to every image."""
    torch.manual_seed(0)
    signal = F.normalize(torch.randn(40, 16), dim=-1)
    lean, none = 3 * torch.eye(16)[0], torch.zeros(40, 0)
    images, reports = F.normalize(signal + lean, dim=-1), F.normalize(signal + 0.2 * lean * torch.rand(40, 1), dim=-1)
    plain = (images @ reports.T).argmax(dim=1)
    compare = settled(RetrievalHead(16, 0), images=images, reports=reports)
    centred = (compare.images(images, none) @ compare.reports(reports, none).T).argmax(dim=1)
    right = torch.arange(40)
    assert (plain == right).float().mean() < 0.3
    assert (centred == right).float().mean() > 0.9


def test_patches_are_told_apart_in_units_of_their_usual_distance():
    torch.manual_seed(0)
    patches = F.normalize(torch.randn(60, 9, 16) + 2 * torch.eye(16)[0], dim=-1)
    head = settled(RetrievalHead(16, 0), items=60, patches=patches.mean(dim=1))
    found = head.patches(patches)
    torch.testing.assert_close(found.mean(dim=(0, 1)), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.square().sum(dim=-1).mean(), torch.tensor(1.0))
    phrase = F.normalize(torch.randn(16), dim=0)
    torch.testing.assert_close((found @ phrase).argsort(dim=1), (patches @ phrase).argsort(dim=1))


def test_evidence_is_compared_by_its_expected_overlap():
    """Without pooled embeddings cosines are C R / ((1 + |C|) (1 + |R|)), summed finding by finding, whichever asks."""
    torch.manual_seed(0)
    image_logits, report_logits, rates = 3 * torch.randn(30, 6), 5 * torch.randn(30, 6), 0.1 + 0.5 * torch.rand(6)
    compare = settled(RetrievalHead(4, 6), image_logits=image_logits, report_logits=report_logits, rates=rates)
    nothing = torch.zeros(30, 4)
    found = compare.images(nothing, image_logits) @ compare.reports(nothing, report_logits).T
    shows = (0.5 * image_logits + compare.image_shift).sigmoid()
    says = (report_logits + compare.report_shift).sigmoid()
    overlap = torch.stack([(image * says).sum(dim=1) for image in shows])
    expected = overlap / (1 + shows.sum(dim=1, keepdim=True)) / (1 + says.sum(dim=1))
    torch.testing.assert_close(found, expected)


def test_a_rare_finding_needs_more_than_a_common_one():
    """The model is as sure of either, but reports state the first fifty times as often."""
    logits = torch.tensor([[4.0, 4.0], [-4.0, -4.0], [-4.0, -4.0], [-4.0, -4.0]])
    compare = settled(RetrievalHead(4, 2), image_logits=logits, rates=torch.tensor([0.5, 0.01]))
    common, rare = compare.images(torch.zeros(1, 4), torch.zeros(1, 2))[0, :2]
    assert common > 5 * rare


def test_a_patch_is_told_by_what_is_unusual_in_it():
    """All patches lean towards one phrase; the one that leans a little towards another is where that one is."""
    usual, found, phrases = torch.eye(3)[0], torch.eye(3)[1], torch.eye(3)[:2]
    patches = F.normalize(usual + 0.3 * torch.eye(4)[2][:, None] * found, dim=-1)[None]  # patch 2 of 4
    mean = F.normalize(usual + 0.05 * found, dim=-1)
    compare = settled(RetrievalHead(3, 0), patches=mean[None])
    plain, centred = ((p @ phrases.T)[0] for p in (patches, compare.patches(patches)))
    assert (plain.argmax(dim=1) == 0).all()
    assert centred[2].argmax() == 1
    assert (centred[[0, 1, 3], 1] < 0).all()


@pytest.mark.parametrize("rate", [0.001, 0.3, 0.97])
@pytest.mark.parametrize("spread", [0.0, 1.0, 40.0])
def test_a_shift_gives_the_mean_probability_that_is_asked_for(rate: float, spread: float):
    torch.manual_seed(0)
    logits = spread * torch.randn(2000, 2) + torch.tensor([7.0, -3.0])
    shift = shift_to_rates(logits, torch.full((2,), rate))
    torch.testing.assert_close((logits + shift).sigmoid().mean(dim=0), torch.full((2,), rate), atol=1e-4, rtol=0)


def test_a_rate_of_none_or_all_is_finite():
    shift = shift_to_rates(torch.randn(50, 2), torch.tensor([0.0, 1.0]))
    assert torch.isfinite(shift).all()
    assert shift[0] < 0 < shift[1]
