"""The graph beside other libraries, on one size, in one process: neighbours, and diffusion of the linked pairs.

A peer that is not installed is left out by name. Threads are those of this machine for everyone.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from torch_geometric.nn.models import LabelPropagation

from benchmarks.graph import REACH_ALPHA, clustered
from lgdea.graph.diffusion import closed_form, diffuse, seed_matrix
from lgdea.graph.neighbours import affinity, knn

STEPS = 50


def compare_neighbours(size: int, dim: int, k: int, seed: int = 0) -> list[dict[str, Any]]:
    """Seconds and recall of each library for the k nearest neighbours of all nodes.

    The truth is scikit-learn's brute force, which is exact.
    """
    vectors, _, _ = clustered(size, dim, np.random.default_rng(seed))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact, rows = _time(lambda: _sklearn(vectors, k)), []
    candidates: dict[str, Callable[[], np.ndarray]] = {
        "lgdea (FAISS, as chosen by size)": lambda: knn(vectors, k)[0],
        "lgdea (FAISS, inverted lists)": lambda: knn(vectors, k, index="ivf")[0],
    }
    if importlib.util.find_spec("pynndescent"):
        importlib.import_module("pynndescent")  # imports are nobody's time
        candidates["pynndescent"] = lambda: _pynndescent(vectors, k)
    rows.append({"library": "scikit-learn (brute force)", "seconds": round(exact[0], 2), "recall": 1.0})
    for name, find in candidates.items():
        seconds, found = _time(find)
        rows.append({"library": name, "seconds": round(seconds, 2), "recall": round(_recall(found, exact[1]), 4)})
    return rows


def compare_diffusion(size: int, dim: int, k: int, keep: int, seeds: int, seed: int = 0) -> list[dict[str, Any]]:
    """Seconds and largest error of diffusing ``seeds`` linked pairs over one graph.

    The error is against the power iteration without truncation (scipy), as a share of the largest entry; PyG's
    ``LabelPropagation`` holds all nodes x seeds densely and normalises differently, so it has no error here.
    """
    rng = np.random.default_rng(seed)
    vectors, _, _ = clustered(size, dim, rng)
    S = affinity(*knn(vectors, k))
    source = seed_matrix(rng.choice(size, seeds, replace=False), size)
    whole_time, whole = _time(lambda: _power_iteration(S, source))
    rows = [{"library": "scipy (whole power iteration)", "seconds": round(whole_time, 2), "error": 0.0}]
    seconds, kept = _time(lambda: diffuse(S, source, REACH_ALPHA, steps=STEPS, keep=keep))
    error = float(abs(kept - whole).max() / whole.max())
    rows.insert(0, {"library": f"lgdea (top {keep} per node)", "seconds": round(seconds, 2), "error": round(error, 5)})
    rows.append({"library": "PyG LabelPropagation", "seconds": round(_time(lambda: _pyg(S, source))[0], 2)})
    return rows


def closed_form_error(size: int = 500, dim: int = 32, k: int = 10, seed: int = 0) -> float:
    """Largest difference between diffusion without truncation and the dense closed form, on a small graph."""
    rng = np.random.default_rng(seed)
    vectors, _, _ = clustered(size, dim, rng)
    S = affinity(*knn(vectors, k))
    source = seed_matrix(rng.choice(size, size // 10, replace=False), size)
    found = diffuse(S, source, REACH_ALPHA, steps=1000, tol=1e-12, keep=None)
    return float(np.abs(found.todense() - closed_form(S, source, REACH_ALPHA)).max())


def _sklearn(vectors: np.ndarray, k: int) -> np.ndarray:
    found = NearestNeighbors(n_neighbors=k + 1, algorithm="brute", n_jobs=-1).fit(vectors).kneighbors(vectors)[1]
    return _without_itself(found, k)


def _pynndescent(vectors: np.ndarray, k: int) -> np.ndarray:
    from pynndescent import NNDescent

    return _without_itself(NNDescent(vectors, n_neighbors=k + 1, metric="cosine", random_state=0).neighbor_graph[0], k)


def _pyg(S: sparse.csr_array, source: sparse.csr_array) -> Any:
    edges = S.tocoo()
    index = torch.as_tensor(np.stack([edges.row, edges.col]).astype(np.int64))
    labels = torch.as_tensor(source.todense(), dtype=torch.float32)
    # Its own normalisation of unit weights is D^-1/2 A D^-1/2; the mask keeps every node's label.
    model = LabelPropagation(num_layers=STEPS, alpha=REACH_ALPHA)
    return model(labels, index, post_step=lambda out: out)


def _power_iteration(S: sparse.csr_array, source: sparse.csr_array) -> Any:
    start = (1 - REACH_ALPHA) * source
    current = start
    for _ in range(STEPS):
        current = REACH_ALPHA * (S @ current) + start
    return current


def _without_itself(found: np.ndarray, k: int) -> np.ndarray:
    itself = found == np.arange(len(found))[:, None]
    order = np.argsort(itself, axis=1, kind="stable")[:, :k]
    result: np.ndarray = np.take_along_axis(found, order, axis=1)
    return result


def _recall(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, exact, strict=True)]))


def _time(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result
