import math

import pytest
import torch
import torch.nn.functional as F

from lgdea.models.heads import assign_prototypes
from lgdea.objectives.prototypes import histogram_information, reconstruction, usage_entropy


def test_assign_is_the_softmax_of_cosines():
    z, mu = F.normalize(torch.randn(5, 8), dim=-1), torch.randn(3, 8) * 4
    got = assign_prototypes(z, mu, temperature=0.2)
    for n in range(5):
        scores = [math.exp(float(z[n] @ (mu[k] / mu[k].norm())) / 0.2) for k in range(3)]
        for k in range(3):
            assert float(got[n, k]) == pytest.approx(scores[k] / sum(scores), rel=1e-4)


def test_reconstruction_matches_a_loop():
    z, mu = F.normalize(torch.randn(6, 4), dim=-1), torch.randn(3, 4)
    p = assign_prototypes(z, mu, temperature=0.3)
    expected = 0.0
    for n in range(6):
        rebuilt = sum(p[n, k] * mu[k] for k in range(3))
        expected += float(((z[n] - rebuilt) ** 2).sum()) / 6
    expected += 0.01 * float((mu**2).sum())
    assert float(reconstruction(z, mu, temperature=0.3, shrinkage=0.01)) == pytest.approx(expected, rel=1e-4)


def test_reconstruction_is_zero_when_every_unit_is_a_prototype():
    z = torch.eye(4)
    assert float(reconstruction(z, z, temperature=0.01, shrinkage=0.0)) < 1e-6


def test_reconstruction_moves_the_prototypes_to_the_units():
    torch.manual_seed(0)
    centres = torch.eye(3, 8)
    z = F.normalize(centres.repeat(20, 1) + 0.05 * torch.randn(60, 8), dim=-1)
    mu = torch.nn.Parameter(centres + 0.3 * torch.randn(3, 8))
    before = float(reconstruction(z, mu.detach(), temperature=0.1))
    optimiser = torch.optim.Adam([mu], lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        reconstruction(z, mu, temperature=0.1).backward()
        optimiser.step()
    assert float(reconstruction(z, mu.detach(), temperature=0.1)) < 0.1 * before


def test_usage_entropy_tells_even_use_from_collapse():
    assert float(usage_entropy(torch.eye(8))) == pytest.approx(1.0, abs=1e-5)
    one = torch.zeros(8, 8)
    one[:, 3] = 1
    assert float(usage_entropy(one)) == pytest.approx(0.0, abs=1e-6)
    assert float(usage_entropy(torch.eye(4).repeat(1, 2) / 2)) == pytest.approx(1.0, abs=1e-5)


def test_histogram_information_is_zero_when_all_items_look_alike():
    assert float(histogram_information(torch.tensor([[0.2, 0.8]]).repeat(5, 1))) == pytest.approx(0.0, abs=1e-6)
    assert float(histogram_information(torch.eye(4))) == pytest.approx(math.log(4), rel=1e-5)
