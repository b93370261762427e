"""Losses are computed in float32 wherever the towers run in bfloat16."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lgdea.models.heads import assign_prototypes
from lgdea.objectives.contrastive import histogram_info_nce
from lgdea.objectives.histograms import consistency, histogram_similarity, kl
from lgdea.objectives.prototypes import reconstruction

torch.manual_seed(0)
HISTOGRAMS = torch.randn(2, 12, 20).softmax(dim=-1)
UNIT = F.normalize(torch.randn(2, 12, 16), dim=-1)
LOSSES: dict[str, Callable[[], Tensor]] = {
    "histogram_info_nce": lambda: histogram_info_nce(HISTOGRAMS[0], HISTOGRAMS[1], temperature=0.1),
    "histogram_similarity": lambda: histogram_similarity(HISTOGRAMS[0], HISTOGRAMS[1]),
    "kl": lambda: kl(HISTOGRAMS[0], HISTOGRAMS[1]),
    "consistency": lambda: consistency(HISTOGRAMS[0], HISTOGRAMS[1]),
    "assign": lambda: assign_prototypes(UNIT[0], UNIT[1], temperature=0.1),
    "reconstruction": lambda: reconstruction(UNIT[0], UNIT[1], temperature=0.1),
}


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_changes_nothing(name: str):
    expected = LOSSES[name]()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = LOSSES[name]()
    assert torch.equal(found, expected)


def test_a_histogram_is_its_own_positive_under_autocast():
    """In bfloat16 it was not: the loss had no positives, and was 0."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = histogram_info_nce(HISTOGRAMS[0], HISTOGRAMS[1], temperature=0.1)
    assert float(loss) > 0.1
