"""What finding neighbours costs at equal recall: FAISS's indexes on three kinds of vectors, by size.

An index is built once and asked with rising effort until it finds the wanted share of the true neighbours; CPU seconds
for all nodes at exactly that share are interpolated. Each (index, kind, size) leaves one JSON file and is not measured
again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
from faiss.contrib.clustering import two_level_clustering
from pydantic import Field, PositiveInt

from benchmarks.graph import MEMBERS
from lgdea import runs
from lgdea.config import Config
from lgdea.errors import UsageError
from lgdea.version import __version__

QUERIES, CHECKED = 5000, 500
"""Nodes that are asked for, from whose time that of all is computed, and those of them whose answers are compared."""
SPREAD = {"clusters": 0.8, "overlapping": 1.6}
"""Length of the noise beside a unit cluster centre."""
EFFORTS = [4, 8, 16, 32, 64, 128, 256, 512, 1024]

Kind = Literal["clusters", "overlapping", "cloud"]
Method = Literal["inverted lists", "more lists", "hnsw", "nn-descent"]


class NeighboursBenchConfig(Config):
    """Indexes, kinds of vectors and sizes."""

    methods: list[Method] = Field(default=["inverted lists", "more lists", "hnsw", "nn-descent"])
    """``inverted lists``: 4 root N of them, as lgdea has; ``more lists``: one per 64 nodes, of two-level k-means, found
    by HNSW; ``hnsw``: M = 32; ``nn-descent``: 32 neighbours are kept, effort is the pool's size."""
    kinds: list[Kind] = Field(default=["clusters", "overlapping", "cloud"])
    """``clusters`` of 100 that are apart, that overlap, and one Gaussian ``cloud``."""
    sizes: list[PositiveInt] = Field(default=[30_000, 100_000, 300_000])
    """Nodes."""
    dim: PositiveInt = 128
    """Dimension of the vectors."""
    neighbours: PositiveInt = 10
    """Neighbours per node."""
    recall: float = Field(default=0.95, gt=0, lt=1)
    """Share of the true neighbours that is to be found."""


def run_neighbours(config: NeighboursBenchConfig, out: Path, *, say: Callable[[str], Any]) -> list[dict[str, Any]]:
    """Measure what is missing, on one thread; returns all, sizes innermost.

    Raises:
        UsageError: ``out`` holds measurements of other settings.
    """
    settings = config.model_dump(mode="json", include={"dim", "neighbours", "recall"})
    results = []
    for method, kind, size in product(config.methods, config.kinds, sorted(config.sizes)):
        file = out / "neighbours" / f"{method.replace(' ', '-')}-{kind}-{size}.json"
        if not file.exists():
            runs.write_json(file, {**measure(method, kind, size, config), "settings": settings})
        results.append(json.loads(file.read_text(encoding="utf-8")))
        if results[-1]["settings"] != settings:
            raise UsageError("was measured with other settings", file=file, remedy="choose another --out")
        say(describe(results[-1]))
    return results


def measure(method: Method, kind: Kind, size: int, config: NeighboursBenchConfig) -> dict[str, Any]:
    """Raise the effort until the wanted recall is reached, on one thread; ``seconds`` is None where it is not."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return _measure(method, kind, size, config)
    finally:
        faiss.omp_set_num_threads(threads)


def _measure(method: Method, kind: Kind, size: int, config: NeighboursBenchConfig) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    vectors = make_vectors(kind, size, config.dim, rng)
    rows = rng.choice(size, min(QUERIES, size), replace=False)
    checked = rows[:CHECKED]
    exact = faiss.knn(vectors[checked], vectors, config.neighbours + 1, metric=faiss.METRIC_INNER_PRODUCT)[1]
    steps = []
    for effort, seconds, found in INDEXES[method](vectors, rows, config.neighbours + 1):
        recall = _recall(found[: len(checked)], exact, checked)
        steps.append({"effort": effort, "seconds": round(seconds, 2), "recall": round(recall, 4)})
        if recall >= config.recall:
            break
    return {
        **{"method": method, "kind": kind, "size": size, "steps": steps, "lgdea_version": __version__},
        "seconds": _seconds_at(config.recall, steps),
    }


def make_vectors(kind: Kind, size: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors ``(N, D)`` float32."""
    vectors = rng.standard_normal((size, dim), dtype=np.float32)
    if kind != "cloud":
        centres = rng.standard_normal((max(2, size // MEMBERS), dim), dtype=np.float32)
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        vectors *= np.float32(SPREAD[kind] / dim**0.5)
        vectors += centres[rng.integers(len(centres), size=size)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def growth(results: list[dict[str, Any]]) -> float | None:
    """The exponent b of seconds = a N^b by least squares in logarithms; None where a size never reached the recall."""
    seconds = [result["seconds"] for result in results]
    if len(seconds) < 2 or None in seconds:
        return None
    return float(np.polyfit(np.log([result["size"] for result in results]), np.log(seconds), 1)[0])


def tabulate(results: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: seconds of each size, and how they grow, by kind and method."""
    sizes = sorted({result["size"] for result in results})
    rows = []
    for kind, method in dict.fromkeys((result["kind"], result["method"]) for result in results):
        mine = {r["size"]: r for r in results if (r["kind"], r["method"]) == (kind, method)}
        power = growth(list(mine.values()))
        cells = [_cell(mine[size]) if size in mine else "-" for size in sizes]
        rows.append([kind, method, *cells, "-" if power is None else f"N^{power:.2f}"])
    return ["vectors", "index", *(f"{size:,}" for size in sizes), "growth"], rows


def describe(result: dict[str, Any]) -> str:
    """One line: what it took, or how far it came."""
    last = result["steps"][-1]
    reached = "not reached" if result["seconds"] is None else f"{result['seconds']:.1f} CPU seconds"
    return (
        f"{result['method']}, {result['kind']}, {result['size']:,}: {reached} "
        f"(effort {last['effort']}: recall {last['recall']:.3f}, {last['seconds']:.1f} s)"
    )


def _inverted_lists(vectors: np.ndarray, rows: np.ndarray, width: int) -> Iterator[tuple[int, float, np.ndarray]]:
    count, dim = vectors.shape
    began = time.process_time()
    lists = min(int(4 * count**0.5), count // 39)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid = 8, 64
    index.train(vectors)
    index.add(vectors)
    yield from _probe(index, vectors, rows, width, time.process_time() - began, lists)


def _more_lists(vectors: np.ndarray, rows: np.ndarray, width: int) -> Iterator[tuple[int, float, np.ndarray]]:
    count, dim = vectors.shape
    began = time.process_time()
    lists = count // 64
    centres, _ = two_level_clustering(vectors, int(lists**0.5), lists, clustering_niter=8, spherical=True)
    coarse = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
    coarse.add(centres)
    index = faiss.IndexIVFFlat(coarse, dim, lists, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    yield from _probe(index, vectors, rows, width, time.process_time() - began, lists, coarse.hnsw)


def _probe(
    index: Any, vectors: np.ndarray, rows: np.ndarray, width: int, built: float, lists: int, coarse: Any = None
) -> Iterator[tuple[int, float, np.ndarray]]:
    for probes in EFFORTS:
        index.nprobe = min(probes, lists)
        if coarse is not None:
            coarse.efSearch = 2 * probes
        yield probes, *_search(index, vectors, rows, width, built)


def _hnsw(vectors: np.ndarray, rows: np.ndarray, width: int) -> Iterator[tuple[int, float, np.ndarray]]:
    began = time.process_time()
    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    built = time.process_time() - began
    for effort in EFFORTS:
        if effort >= width:
            index.hnsw.efSearch = effort
            yield effort, *_search(index, vectors, rows, width, built)


def _nn_descent(vectors: np.ndarray, rows: np.ndarray, width: int) -> Iterator[tuple[int, float, np.ndarray]]:
    for pool in (40, 56, 80, 112, 160, 224):
        began = time.process_time()
        index = faiss.IndexNNDescentFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        descent = index.nndescent
        descent.S, descent.R, descent.L, descent.iter = 10, 100, pool, 15
        index.add(vectors)
        graph = faiss.vector_to_array(descent.final_graph).reshape(len(vectors), -1)
        yield pool, time.process_time() - began, graph[rows, : width - 1]


def _search(index: Any, vectors: np.ndarray, rows: np.ndarray, width: int, built: float) -> tuple[float, np.ndarray]:
    """CPU seconds to build the index and ask for all nodes, and the rows' answers."""
    began = time.process_time()
    found = index.search(vectors[rows], width)[1]
    return built + (time.process_time() - began) * len(vectors) / len(rows), found


INDEXES = {
    "inverted lists": _inverted_lists,
    "more lists": _more_lists,
    "hnsw": _hnsw,
    "nn-descent": _nn_descent,
}


def _cell(result: dict[str, Any]) -> str:
    if result["seconds"] is not None:
        return f"{result['seconds']:.1f}"
    last = result["steps"][-1]
    return f"(recall {last['recall']:.2f} in {last['seconds']:.0f})"


def _recall(found: np.ndarray, exact: np.ndarray, rows: np.ndarray) -> float:
    """Share of the true neighbours, the node itself left out, that were found."""
    k = exact.shape[1] - 1
    pairs = zip(rows, found, exact, strict=True)
    return float(np.mean([len({*got} & {*[n for n in true if n != row][:k]}) / k for row, got, true in pairs]))


def _seconds_at(wanted: float, steps: list[dict[str, Any]]) -> float | None:
    if steps[-1]["recall"] < wanted:
        return None
    if len(steps) == 1:
        return float(steps[0]["seconds"])
    (r0, t0), (r1, t1) = [(step["recall"], step["seconds"]) for step in steps[-2:]]
    return round(float(np.exp(np.interp(wanted, [r0, r1], np.log([t0, t1])))), 2)
