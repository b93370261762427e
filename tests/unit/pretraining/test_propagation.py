from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from lgdea.errors import LgdeaError, UsageError
from lgdea.graph.archive_graph import load_graph
from lgdea.graph.hetero import to_hetero_data
from lgdea.pretraining import propagation
from lgdea.pretraining.inputs import read_inputs
from lgdea.pretraining.objective_config import GraphConfig
from lgdea.pretraining.propagation import Nodes, evidence_targets, propagate_links, quality


@pytest.fixture
def corpus(config, tmp_path):
    return read_inputs(config("lgdea"), tmp_path).corpus


def oracle(corpus, rng: np.random.Generator, shuffled: bool = False) -> tuple[Nodes, Nodes]:
    """Nodes that say exactly what the reports state; an image is known by its own report."""
    stated = evidence_targets(corpus).toarray()
    stated = (stated + 1e-3) / (stated + 1e-3).sum(axis=1, keepdims=True)
    both = np.concatenate([corpus.pairs, corpus.hidden_pairs])
    of_image = np.full((len(corpus.image_ids), stated.shape[1]), 1 / stated.shape[1])
    of_image[both[:, 0]] = stated[rng.permutation(both[:, 1]) if shuffled else both[:, 1]]
    sides = (of_image.astype(np.float32), stated.astype(np.float32))
    return tuple(Nodes(s, np.zeros((len(s), 2), np.float32) + 1) for s in sides)  # type: ignore[return-value]


def test_an_oracle_propagates_right_evidence_and_a_shuffled_one_does_not(corpus):
    config, rng = GraphConfig(pooled_share=0.0, neighbours=5), np.random.default_rng(0)
    targets = evidence_targets(corpus)
    right = quality(propagate_links(*oracle(corpus, rng), corpus, config), corpus, targets)
    wrong = quality(propagate_links(*oracle(corpus, rng, shuffled=True), corpus, config), corpus, targets)
    assert right["evidence_precision"] > 0.9
    assert wrong["evidence_precision"] < right["evidence_precision"] - 0.2


def test_what_was_saved_is_what_a_resumed_run_reads(corpus, tmp_path):
    made = propagate_links(*oracle(corpus, np.random.default_rng(0)), corpus, GraphConfig())
    propagation.save(made, tmp_path, 40)
    again = propagation.load(tmp_path, 40)
    assert (again.links != made.links).nnz == 0
    for name in propagation.TARGET_NAMES:
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))
    data = to_hetero_data(load_graph(tmp_path / "step-0000040"))
    assert data["image"].num_nodes == len(corpus.image_ids)
    assert data["report"].num_nodes == len(corpus.report_ids)


def test_a_damaged_file_is_named(corpus, tmp_path):
    propagation.save(propagate_links(*oracle(corpus, np.random.default_rng(0)), corpus, GraphConfig()), tmp_path, 1)
    (tmp_path / "step-0000001" / propagation.PROPAGATED).write_bytes(b"half")
    with pytest.raises(LgdeaError, match=r"propagated\.safetensors"):
        propagation.load(tmp_path, 1)


def test_a_graph_of_the_first_format_is_refused_by_its_version(corpus, tmp_path):
    propagation.save(propagate_links(*oracle(corpus, np.random.default_rng(0)), corpus, GraphConfig()), tmp_path, 1)
    place = tmp_path / "step-0000001"
    (place / propagation.PROPAGATED).rename(place / "said.safetensors")
    with pytest.raises(UsageError, match=r"said\.safetensors: has format version 1 .* reads version 2"):
        propagation.load(tmp_path, 1)


def test_evidence_of_the_links_is_that_of_the_whole_product(corpus):
    made = propagate_links(*oracle(corpus, np.random.default_rng(0)), corpus, GraphConfig())
    dense = made.graph.image_seeds.toarray() @ made.graph.report_seeds.toarray().T
    total = dense.sum(axis=1, keepdims=True)
    share = np.divide(dense, total, out=np.zeros_like(dense), where=total > 0)
    targets = sparse.csr_array(np.random.default_rng(0).random((dense.shape[1], 5)))
    found = made.propagate_evidence(targets).toarray()
    np.testing.assert_allclose(found, share @ targets.toarray(), atol=1e-9)
    assert found.min() >= 0
    assert found.max() <= 1
