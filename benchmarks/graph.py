"""Scaling of graph and diffusion: synthetic clustered vectors, time and memory by size, beside other libraries.

Every size is measured in a process of its own, so that its peak memory is its own, and leaves one JSON file; what is
there is not measured again.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt

from lgdea import runs
from lgdea.config import Config
from lgdea.errors import UsageError
from lgdea.version import __version__

SAMPLE = 1000
"""Queries whose approximate neighbours are compared with exact ones."""
SPREAD = 0.8
"""Length of the noise added to a unit cluster centre: neighbours share a cluster, clusters overlap at the rim."""
MEMBERS = 100
"""Mean size of a cluster."""
REACH_ALPHA = 0.9


class GraphBenchConfig(Config):
    """Sizes are nodes per side: N images and N reports."""

    sizes: list[PositiveInt] = Field(default=[10_000, 30_000, 100_000, 300_000, 1_000_000])
    """Nodes per side."""
    seeds: PositiveInt = 20_000
    """Linked pairs at the largest size; smaller sizes have their share of them."""
    dim: PositiveInt = 128
    """Dimension of the node vectors."""
    neighbours: PositiveInt = 10
    """Number k of nearest neighbours of each node."""
    keep: PositiveInt = 16
    """Seeds remembered per node."""
    seed: int = 0
    """Seed of the node vectors."""


def run_scaling(config: GraphBenchConfig, out: Path, *, say: Callable[[str], Any]) -> list[dict[str, Any]]:
    """Measure every size that is not there yet; returns all, smallest first.

    Raises:
        UsageError: ``out`` holds measurements of other settings.
    """
    settings = config.model_dump(mode="json", exclude={"sizes"})
    results = []
    for size in sorted(config.sizes):
        file = out / f"size-{size}.json"
        if not file.exists():
            seeds = max(20, round(config.seeds * size / max(config.sizes)))
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
                measured = pool.submit(measure, size, seeds, config).result()
            runs.write_json(file, {"settings": settings, **measured})
        result = json.loads(file.read_text(encoding="utf-8"))
        if result["settings"] != settings:
            raise UsageError("was measured with other settings", file=file, remedy="choose another --out")
        say(
            f"{size:,} + {size:,} nodes, {result['seeds']:,} seeds: {result['seconds']['total']:.0f} s, "
            f"{result['peak_gib']:.1f} GiB, recall@{config.neighbours} {result['recall']:.3f}"
        )
        results.append(result)
    return results


def measure(size: int, seeds: int, config: GraphBenchConfig) -> dict[str, Any]:
    """One size: neighbours, affinity, diffusion on both sides, and links.

    Returns:
        ``seconds`` by part, ``peak_gib`` of this process, ``recall`` of the neighbours,
        ``link_precision``: share of the top links that join one cluster, and ``chance``: that of random links.
    """
    from lgdea.graph.diffusion import diffuse, seed_matrix
    from lgdea.graph.links import propagate
    from lgdea.graph.neighbours import affinity, knn

    seconds: dict[str, float] = {}
    rng = np.random.default_rng(config.seed)
    images, reports, clusters = clustered(size, config.dim, rng)
    nodes = rng.choice(size, seeds, replace=False)
    recalls, reached = [], []
    for name, vectors in (("images", images), ("reports", reports)):
        found = _timed(seconds, f"neighbours_{name}", partial(knn, vectors, config.neighbours))
        S = _timed(seconds, f"affinity_{name}", partial(affinity, *found))
        spread = partial(diffuse, S, seed_matrix(nodes, size), REACH_ALPHA, keep=config.keep)
        F = _timed(seconds, f"diffusion_{name}", spread)
        recalls.append(recall(vectors, found[0], rng))
        reached.append(F)
    links = _timed(seconds, "links", partial(propagate, *reached)).tocoo()
    seconds["total"] = sum(seconds.values())
    return {
        "size": size,
        "seeds": seeds,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "recall": round(float(np.mean(recalls)), 4),
        "reached": round(float(np.mean([np.diff(F.indptr).astype(bool).mean() for F in reached])), 4),
        "link_precision": round(float((clusters[links.row] == clusters[links.col]).mean()), 4) if links.nnz else None,
        "chance": round(float(((np.bincount(clusters) / size) ** 2).sum()), 6),
        "lgdea_version": __version__,
    }


def clustered(size: int, dim: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image and report vectors ``(N, D)`` float32 around cluster centres of their own, and each node's cluster.

    Image i and report i are of one cluster; the two sides' centres have nothing to do with each other, so that
    links can only come from the seeds.
    """
    count = max(2, size // MEMBERS)
    clusters = rng.integers(count, size=size)
    sides = []
    for _ in range(2):
        centres = rng.standard_normal((count, dim), dtype=np.float32)
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        noise = rng.standard_normal((size, dim), dtype=np.float32) * np.float32(SPREAD / dim**0.5)
        noise += centres[clusters]
        sides.append(noise)
    return sides[0], sides[1], clusters


def recall(vectors: np.ndarray, found: np.ndarray, rng: np.random.Generator) -> float:
    """Share of the exact neighbours of a sample of nodes that were found."""
    import faiss

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = rng.choice(len(unit), min(SAMPLE, len(unit)), replace=False)
    k = found.shape[1]
    _, exact = faiss.knn(unit[rows], unit, k + 1, metric=faiss.METRIC_INNER_PRODUCT)
    hits = [
        len(set(found[row]) & set([node for node in nearest if node != row][:k])) / k
        for row, nearest in zip(rows, exact, strict=True)
    ]
    return float(np.mean(hits))


def growth(results: list[dict[str, Any]], part: str = "total") -> float:
    """The exponent b of time = a N^b, by least squares in logarithms over all sizes; 1 is linear."""
    sizes = np.log([r["size"] for r in results])
    times = np.log([max(r["seconds"][part], 1e-3) for r in results])
    return float(np.polyfit(sizes, times, 1)[0])


def _timed(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    result = work()
    seconds[name] = time.perf_counter() - began
    return result
