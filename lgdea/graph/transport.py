"""Optimal transport between the images and the reports of an archive that have no link, by what each is about.

A model that has learned a little gives every image a probability of every finding. All reports together say which
findings there are, how often, and which stand together: as an image's report is one of them and each report is some
image's, the plan that gives every image and every report its whole mass, and is likely under the model, tells more of
an image than the model alone.

Shapes: N images, M reports, F cues (phrases that images and reports are compared by), T phrases.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def log_likelihood(logits: Tensor, stated: Tensor) -> Tensor:
    """Log probability that an image's evidence is what a report states: sum_f t log p + (1 - t) log (1 - p).

    Args:
        logits: ``(N, F)`` of the images.
        stated: t ``(M, F)`` in [0, 1], of the reports.

    Returns:
        ``(N, M)``.
    """
    return F.logsigmoid(logits) @ stated.T + F.logsigmoid(-logits) @ (1 - stated).T


def transport_plan(score: Tensor, iterations: int) -> Tensor:
    """Plan of entropic optimal transport between N images and M reports of equal mass each.

    Definition: P = diag(a) exp(score) diag(b) whose columns sum to N / M and then whose rows sum to 1.

    Args:
        score: ``(N, M)``, the log likelihood of each pair; overwritten.
        iterations: Times that columns and rows are normalised in turn.

    Returns:
        ``(N, M)``, rows sum to 1.

    Source: Cuturi 2013, "Sinkhorn distances", in the logarithmic domain.
    """
    mass = np.log(score.shape[0] / score.shape[1])
    for _ in range(iterations):
        score -= score.logsumexp(dim=1, keepdim=True)
        score -= score.logsumexp(dim=0, keepdim=True) - mass
    return score.softmax(dim=1)


def blocks(images: Ints, reports: Ints, size: int, seed: int) -> Iterator[tuple[Ints, Ints]]:
    """Divide images and reports into blocks that are compared with one another.

    Args:
        images: ``(N,)`` number of each image's group.
        reports: ``(M,)`` number of each report's group.
        size: Images or reports of a block at most; larger groups are divided at random.
        seed: Of the division.

    Yields:
        Rows of images and rows of reports, both of them some.
    """
    rng = np.random.default_rng(seed)
    for group in np.intersect1d(images, reports):
        sides = [rng.permutation(np.flatnonzero(side == group)) for side in (images, reports)]
        parts = min(-(-max(map(len, sides)) // size), *map(len, sides))
        yield from zip(np.array_split(sides[0], parts), np.array_split(sides[1], parts), strict=True)


def transport_evidence(
    logits: Floats,
    stated: Floats,
    targets: sparse.csr_array,
    groups: tuple[Ints, Ints],
    *,
    block: int,
    iterations: int,
    seed: int,
) -> NDArray[np.float16]:
    """Evidence that the transport plan gives each image: P ``targets``, block by block.

    Args:
        logits: ``(N, F)`` of the images, calibrated: their mean probabilities are the reports' rates.
        stated: ``(M, F)`` in [0, 1], of the reports.
        targets: ``(M, T)`` evidence of the reports.
        groups: Of images ``(N,)`` and of reports ``(M,)``; only items of one group are compared.
        block: Images or reports that are compared at once, at most; memory grows with its square.
        iterations: Of :func:`transport_plan`.
        seed: Of the division of large groups.

    Returns:
        ``(N, T)`` in [0, 1]; NaN where an image's group has no report.
    """
    result = np.full((len(logits), targets.shape[1]), np.nan, np.float16)
    for images, reports in blocks(*groups, size=block, seed=seed):
        score = log_likelihood(torch.from_numpy(logits[images]), torch.from_numpy(stated[reports]))
        plan = transport_plan(score, iterations).numpy()
        # Rows of a sparse matrix times a dense one: reports state few of all phrases.
        result[images] = (targets[reports].T @ plan.T).T
    return result
