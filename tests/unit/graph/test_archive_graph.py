from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lgdea.errors import DataError, UsageError
from lgdea.graph.archive_graph import MATRICES, ArchiveGraph, build_graph, load_graph, save_graph
from lgdea.graph.hetero import LINKED, PAIRED, SIMILAR_IMAGES, SIMILAR_REPORTS, to_hetero_data
from lgdea.manifests import seal


@pytest.fixture
def graph() -> ArchiveGraph:
    rng = np.random.default_rng(0)
    return build_graph(
        rng.normal(size=(40, 6)),
        rng.normal(size=(30, 6)),
        [(0, 1), (5, 7), (9, 2)],
        image_ids=[f"phantom:i{i}" for i in range(40)],
        report_ids=[f"phantom:r{i}" for i in range(30)],
        neighbours=4,
        mode="symmetric",
    )


def test_what_is_saved_is_loaded(graph: ArchiveGraph, tmp_path: Path) -> None:
    again = load_graph(save_graph(graph, tmp_path / "graph"))
    for name in MATRICES:
        assert (getattr(again, name) != getattr(graph, name)).nnz == 0
        assert getattr(again, name).shape == getattr(graph, name).shape
    np.testing.assert_array_equal(again.pairs, graph.pairs)
    assert (again.image_ids, again.report_ids, again.settings) == (graph.image_ids, graph.report_ids, graph.settings)
    assert sorted(p.name for p in (tmp_path / "graph").iterdir()) == ["graph.json", "graph.safetensors"]


def test_a_missing_or_broken_graph_is_one_clear_line(graph: ArchiveGraph, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no graph here"):
        load_graph(tmp_path)
    folder = save_graph(graph, tmp_path / "graph")
    whole = (folder / "graph.safetensors").read_bytes()
    (folder / "graph.safetensors").write_bytes(whole[:100])
    with pytest.raises(DataError, match=r"graph\.safetensors: is not as it was written"):
        load_graph(folder)
    (folder / "graph.safetensors").write_bytes(whole)
    description = json.loads((folder / "graph.json").read_text())
    (folder / "graph.json").write_text(json.dumps(seal({**description, "image_ids": ["one"]})))
    with pytest.raises(DataError, match="1 image ids for 40"):
        load_graph(folder)
    (folder / "graph.json").write_text(json.dumps(seal({**description, "format_version": 99})))
    with pytest.raises(UsageError, match="newer"):
        load_graph(folder)


def test_ids_must_fit_the_nodes() -> None:
    with pytest.raises(DataError, match="2 report ids for 3"):
        build_graph(np.eye(3), np.eye(3), [(0, 0)], report_ids=["a", "b"])


def test_hetero_data_holds_every_edge(graph: ArchiveGraph) -> None:
    data = to_hetero_data(graph, image_features=np.ones((40, 6)))
    assert data.validate()
    assert data["image"].num_nodes == 40
    assert data["image"].x.shape == (40, 6)
    assert data["report"].num_nodes == 30
    assert data[PAIRED].edge_index.tolist() == [[0, 5, 9], [1, 7, 2]]
    assert data[SIMILAR_IMAGES].edge_index.shape[1] == graph.image_affinity.nnz
    assert data[SIMILAR_REPORTS].edge_index.shape[1] == graph.report_affinity.nnz
    assert data[LINKED].edge_weight.sum().item() == pytest.approx(graph.links.sum(), rel=1e-5)
    dense = torch.zeros(40, 40)
    dense[tuple(data[SIMILAR_IMAGES].edge_index)] = data[SIMILAR_IMAGES].edge_weight
    np.testing.assert_allclose(dense.numpy(), graph.image_affinity.toarray(), atol=1e-6)
    assert data["report"].mass.shape == (30,)


def test_without_pyg_one_line_says_how_to_get_it(graph: ArchiveGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_geometric.data", None)
    with pytest.raises(UsageError, match=r"not installed; pip install 'lgdea\[pyg\]'"):
        to_hetero_data(graph)


def test_a_graph_network_of_pyg_runs_on_it(graph: ArchiveGraph) -> None:
    """Report features reach an image over its neighbours' links: two layers of GraphSAGE on both kinds of nodes."""
    from torch_geometric.nn import GraphSAGE, to_hetero
    from torch_geometric.transforms import ToUndirected

    torch.manual_seed(0)
    features = [np.random.default_rng(side).normal(size=(n, 6)) for side, n in ((0, 40), (1, 30))]
    data = ToUndirected()(to_hetero_data(graph, *features))
    network = to_hetero(GraphSAGE((6, 6), 8, num_layers=2, out_channels=3), data.metadata()).eval()
    data["report"].x.requires_grad_()
    out = network(data.x_dict, data.edge_index_dict)
    assert out["image"].shape == (40, 3)
    out["image"][0].sum().backward()  # image 0 is linked to report 1
    assert data["report"].x.grad[1].abs().sum() > 0
