"""Graph of an archive: neighbours among images and among reports, linked pairs, and propagated links."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import sparse

from lgdea import runs
from lgdea.errors import DataError, UsageError
from lgdea.graph.diffusion import diffuse, seed_matrix
from lgdea.graph.links import propagate
from lgdea.graph.neighbours import AFFINITY_POWER, Index, Mode, affinity, knn
from lgdea.manifests import check_file, read_manifest, seal

FORMAT_VERSION = 1
TENSORS = "graph.safetensors"
DESCRIPTION = "graph.json"
MATRICES = ("image_affinity", "report_affinity", "image_seeds", "report_seeds", "links")


@dataclass(frozen=True, eq=False)
class ArchiveGraph:
    """Neighbour graphs, seeds and links; nodes are numbered in the order of ``image_ids`` and ``report_ids``.

    ``pairs`` (S, 2) holds the linked pairs as (image node, report node); ``image_affinity`` and ``report_affinity``
    are S_I and S_R; ``image_seeds`` (N_I, S) and ``report_seeds`` (N_R, S) are F_I and F_R; ``links`` (N_I, N_R) holds
    the largest entries of each row of P = F_I F_R^T; ``settings`` says how all of it was made.
    """

    image_ids: list[str]
    report_ids: list[str]
    pairs: np.ndarray
    image_affinity: sparse.csr_array
    report_affinity: sparse.csr_array
    image_seeds: sparse.csr_array
    report_seeds: sparse.csr_array
    links: sparse.csr_array
    settings: dict[str, Any] = field(default_factory=dict)


def build_graph(
    image_vectors: np.ndarray,
    report_vectors: np.ndarray,
    pairs: np.ndarray | Sequence[tuple[int, int]],
    *,
    image_ids: Sequence[str] | None = None,
    report_ids: Sequence[str] | None = None,
    neighbours: int = 10,
    mode: Mode = "mutual",
    power: float = AFFINITY_POWER,
    alpha: float = 0.9,
    steps: int = 50,
    keep: int = 16,
    top: int = 16,
    index: Index = "auto",
) -> ArchiveGraph:
    """Build the graph: neighbours, affinity, diffusion and links.

    Args:
        image_vectors: (N_I, D_I), see :func:`lgdea.graph.neighbours.node_vectors`.
        report_vectors: (N_R, D_R).
        pairs: (S, 2) linked pairs as (image node, report node).
        image_ids: N_I ids; default their numbers.
        report_ids: N_R ids; default their numbers.
        neighbours: k of :func:`lgdea.graph.neighbours.knn`.
        mode: ``mutual`` or ``symmetric``, see :func:`lgdea.graph.neighbours.affinity`.
        power: W = cosine ** power.
        alpha: Reach of the diffusion.
        steps: Most power iterations.
        keep: m, entries per node kept in diffusion.
        top: Links kept per image.
        index: FAISS index, see :func:`lgdea.graph.neighbours.knn`.
    """
    seeds = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    sides = []
    for vectors, nodes in ((image_vectors, seeds[:, 0]), (report_vectors, seeds[:, 1])):
        S = affinity(*knn(vectors, neighbours, index=index), mode=mode, power=power)
        sides.append((S, diffuse(S, seed_matrix(nodes, len(vectors)), alpha, steps=steps, keep=keep)))
    (image_affinity, image_seeds), (report_affinity, report_seeds) = sides
    return ArchiveGraph(
        image_ids=_ids(image_ids, len(image_vectors), "image"),
        report_ids=_ids(report_ids, len(report_vectors), "report"),
        pairs=seeds,
        image_affinity=image_affinity,
        report_affinity=report_affinity,
        image_seeds=image_seeds,
        report_seeds=report_seeds,
        links=propagate(image_seeds, report_seeds, top),
        settings={
            "neighbours": neighbours,
            "mode": mode,
            "power": power,
            "alpha": alpha,
            "steps": steps,
            "keep": keep,
            "top": top,
            "index": index,
        },
    )


def save_graph(graph: ArchiveGraph, folder: str | Path) -> Path:
    """Write ``graph`` as ``graph.safetensors`` and ``graph.json`` into ``folder``; an older one is replaced."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"pairs": graph.pairs}
    shapes = {}
    for name in MATRICES:
        matrix: sparse.csr_array = getattr(graph, name)
        shapes[name] = [int(n) for n in matrix.shape]
        for part in ("data", "indices", "indptr"):
            tensors[f"{name}.{part}"] = np.ascontiguousarray(getattr(matrix, part))
    (folder / DESCRIPTION).unlink(missing_ok=True)  # it seals the tensors
    with runs.atomic(folder / TENSORS) as temporary:
        save_file(tensors, temporary)
    description = {
        "format_version": FORMAT_VERSION,
        "settings": graph.settings,
        "shapes": shapes,
        "image_ids": graph.image_ids,
        "report_ids": graph.report_ids,
    }
    sealed = seal(description, folder, [TENSORS])
    runs.write_text(folder / DESCRIPTION, json.dumps(sealed, ensure_ascii=False, allow_nan=False) + "\n")
    return folder


def load_graph(folder: str | Path) -> ArchiveGraph:
    """Read the graph in ``folder``.

    Raises:
        UsageError: There is none, or a newer lgdea wrote it.
        DataError: A file is missing, damaged, or the two do not belong together.
    """
    folder = Path(folder)
    if not (folder / DESCRIPTION).exists():
        raise UsageError("no graph here", file=folder, remedy="`lgdea pretrain` writes one into its run folder")
    remedy = "delete the folder; resuming the run builds the graph again"
    try:
        description = read_manifest(folder / DESCRIPTION, what="graph's description", remedy=remedy)
        if description["format_version"] > FORMAT_VERSION:
            raise UsageError("a newer lgdea wrote this graph", file=folder / DESCRIPTION, remedy="upgrade lgdea")
        check_file(folder / TENSORS, description, folder)
        tensors = load_file(folder / TENSORS)
        matrices = {
            name: sparse.csr_array(
                tuple(tensors[f"{name}.{part}"] for part in ("data", "indices", "indptr")),
                shape=tuple(description["shapes"][name]),
            )
            for name in MATRICES
        }
        return ArchiveGraph(
            image_ids=_ids(description["image_ids"], matrices["links"].shape[0], "image"),
            report_ids=_ids(description["report_ids"], matrices["links"].shape[1], "report"),
            pairs=tensors["pairs"],
            settings=description["settings"],
            **matrices,
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the graph cannot be read ({error})", file=folder, remedy=remedy) from None


def _ids(ids: Sequence[str] | None, count: int, what: str) -> list[str]:
    if ids is None:
        return [str(i) for i in range(count)]
    if len(ids) != count:
        raise DataError(f"{len(ids)} {what} ids for {count} {what} nodes")
    return list(ids)
