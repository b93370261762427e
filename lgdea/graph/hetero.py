"""Graph of an archive as PyTorch Geometric's ``HeteroData``, for graph neural networks of your own (extra ``pyg``).

lgdea itself passes messages by sparse products (:mod:`lgdea.graph.diffusion`); docs/trials.md compares them with PyG's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from lgdea.errors import UsageError
from lgdea.graph.archive_graph import ArchiveGraph
from lgdea.graph.diffusion import confidence

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

SIMILAR_IMAGES = ("image", "similar", "image")
SIMILAR_REPORTS = ("report", "similar", "report")
PAIRED = ("image", "paired", "report")
LINKED = ("image", "linked", "report")


def to_hetero_data(
    graph: ArchiveGraph, image_features: np.ndarray | None = None, report_features: np.ndarray | None = None
) -> HeteroData:
    """Convert ``graph`` for PyG.

    Args:
        graph: Graph of an archive; :func:`~lgdea.graph.archive_graph.load_graph` reads that of a run,
            ``run/graph/step-...``.
        image_features: (N_I, D_I), stored as ``data["image"].x``.
        report_features: (N_R, D_R), stored as ``data["report"].x``.

    Returns:
        Nodes ``image`` and ``report`` with ``num_nodes``, ``mass`` and ``entropy`` (N,) of their diffused seeds;
        edges image-similar-image, report-similar-report (both directions, weighted by the normalised affinity),
        image-paired-report (the known links) and image-linked-report (the propagated ones, weighted by P).

    Raises:
        UsageError: PyG is not installed.

    Example:
        >>> import numpy as np
        >>> from lgdea.graph.archive_graph import build_graph
        >>> rng = np.random.default_rng(0)
        >>> graph = build_graph(rng.normal(size=(9, 4)), rng.normal(size=(7, 4)), [(0, 0), (5, 3)], neighbours=3)
        >>> data = to_hetero_data(graph, image_features=np.ones((9, 4)))
        >>> data["image"].x.shape, data["report"].num_nodes, data["image", "paired", "report"].edge_index.tolist()
        (torch.Size([9, 4]), 7, [[0, 5], [0, 3]])
    """
    try:
        from torch_geometric.data import HeteroData
    except ImportError:
        raise UsageError(
            "HeteroData needs torch_geometric, which is not installed", remedy="pip install 'lgdea[pyg]'"
        ) from None
    data = HeteroData()
    sides = (
        ("image", len(graph.image_ids), image_features, graph.image_seeds),
        ("report", len(graph.report_ids), report_features, graph.report_seeds),
    )
    for name, count, features, seeds in sides:
        data[name].num_nodes = count
        mass, entropy = confidence(seeds)
        data[name].mass = torch.from_numpy(mass.astype(np.float32))
        data[name].entropy = torch.from_numpy(entropy.astype(np.float32))
        if features is not None:
            data[name].x = torch.as_tensor(features, dtype=torch.float32)
    for kind, matrix in (
        (SIMILAR_IMAGES, graph.image_affinity),
        (SIMILAR_REPORTS, graph.report_affinity),
        (LINKED, graph.links),
    ):
        data[kind].edge_index, data[kind].edge_weight = _edges(matrix)
    data[PAIRED].edge_index = torch.from_numpy(np.ascontiguousarray(graph.pairs.T, dtype=np.int64))
    return data


def _edges(matrix: sparse.csr_array) -> tuple[torch.Tensor, torch.Tensor]:
    entries = sparse.csr_array(matrix).tocoo()
    places = np.stack([entries.row, entries.col]).astype(np.int64)
    return torch.from_numpy(places), torch.from_numpy(entries.data.astype(np.float32))
