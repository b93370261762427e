"""The smooth average precision against sorting, against scikit-learn, and where it must not look."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from lgdea.objectives.average_precision import smooth_average_precision


def graded_average_precision(scores, grades):
    """By sorting: the mean over all thresholds in (0, 1] of the plain average precision's numerator."""
    order = np.argsort(-scores)
    g = grades[order]
    total = 0.0
    for rank, mine in enumerate(g, start=1):
        total += np.minimum(g[:rank], mine).sum() / rank
    return total / g.sum()


@pytest.mark.parametrize("seed", range(5))
def test_a_cold_temperature_gives_the_average_precision_by_sorting(seed):
    rng = np.random.default_rng(seed)
    scores = rng.permutation(20)[None] / 20.0
    grades = rng.choice([0.0, 0.0, 0.25, 0.5, 1.0], size=(1, 20))
    grades[0, 3] = 1.0
    everyone = torch.ones(1, 20, dtype=torch.bool)
    loss = smooth_average_precision(torch.tensor(scores), torch.tensor(grades), everyone, temperature=1e-4)
    assert float(loss) == pytest.approx(1 - graded_average_precision(scores[0], grades[0]), abs=1e-5)


def test_grades_of_0_and_1_give_scikit_learns_average_precision():
    rng = np.random.default_rng(0)
    scores, truth = rng.permutation(30) / 30.0, rng.random(30) < 0.3
    loss = smooth_average_precision(
        torch.tensor(scores)[None], torch.tensor(truth)[None].float(), torch.ones(1, 30, dtype=torch.bool),
        temperature=1e-4,
    )  # fmt: skip
    assert float(loss) == pytest.approx(1 - average_precision_score(truth, scores), abs=1e-5)


def test_what_cannot_be_compared_changes_nothing_and_parts_are_averaged():
    scores, grades = torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[0.0, 1.0, 0.0]])
    known = torch.tensor([[False, True, True]])  # the best-scored candidate is of the query's own patient
    assert float(smooth_average_precision(scores, grades, known, temperature=1e-3)) == pytest.approx(0.0, abs=1e-6)
    without = smooth_average_precision(scores, grades, torch.ones_like(known), temperature=1e-3)
    assert float(without) == pytest.approx(0.5, abs=1e-6)
    parts = torch.stack([scores, scores]), torch.stack([grades, grades]), torch.stack([known, torch.ones_like(known)])
    assert float(smooth_average_precision(*parts, temperature=1e-3)) == pytest.approx(0.25, abs=1e-6)
    nothing = smooth_average_precision(scores, torch.zeros_like(grades), known)
    assert float(nothing) == 0.0


def test_descending_the_gradient_brings_the_relevant_item_first():
    torch.manual_seed(0)
    items, grades = torch.randn(1, 12, requires_grad=True), torch.zeros(1, 12)
    grades[0, 4], grades[0, 7] = 1.0, 0.5
    optimizer = torch.optim.SGD([items], lr=1.0)
    for _ in range(300):
        optimizer.zero_grad()
        smooth_average_precision(items, grades, torch.ones(1, 12, dtype=torch.bool), temperature=0.3).backward()
        optimizer.step()
    assert items[0].argsort(descending=True)[:2].tolist() == [4, 7]
