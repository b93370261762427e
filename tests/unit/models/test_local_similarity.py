"""Patches against words, as loops say it."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from lgdea.models import heads


@pytest.mark.parametrize("chunk", [1, 2, 16])
def test_it_is_what_the_loops_say(monkeypatch: pytest.MonkeyPatch, chunk: int):
    monkeypatch.setattr(heads, "CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    patches = F.normalize(torch.randn(3, 5, 4, generator=generator), dim=-1)
    tokens = F.normalize(torch.randn(2, 6, 4, generator=generator), dim=-1)
    mask = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    found = heads.local_similarity(patches, tokens, mask)
    for b in range(3):
        for c in range(2):
            terms = []
            for t in range(int(mask[c].sum())):
                weights = [math.exp(4.0 * float(patches[b, p] @ tokens[c, t])) for p in range(5)]
                context = sum(w * patches[b, p] for p, w in enumerate(weights)) / sum(weights)
                terms.append(math.exp(5.0 * float(F.cosine_similarity(context, tokens[c, t], dim=0))))
            assert float(found[b, c]) == pytest.approx(math.log(sum(terms) / len(terms)) / 5.0, rel=1e-4, abs=1e-5)


def test_padding_does_not_matter():
    patches = F.normalize(torch.randn(2, 5, 4), dim=-1)
    tokens = F.normalize(torch.randn(2, 3, 4), dim=-1)
    mask = torch.ones(2, 3)
    longer = torch.cat([tokens, torch.randn(2, 4, 4)], dim=1)
    padded = heads.local_similarity(patches, longer, torch.cat([mask, torch.zeros(2, 4)], dim=1))
    torch.testing.assert_close(padded, heads.local_similarity(patches, tokens, mask))
