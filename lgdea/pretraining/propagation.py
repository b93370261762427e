"""Graph of a running pretraining: diffuse the links, keep the targets that they give unlinked items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import sparse

from lgdea import runs
from lgdea.errors import DataError, UsageError
from lgdea.graph.archive_graph import ArchiveGraph, build_graph, load_graph, save_graph
from lgdea.graph.diffusion import confidence_weight
from lgdea.graph.links import link_weights, propagate, propagated_histograms
from lgdea.graph.neighbours import node_vectors
from lgdea.manifests import check_file, read_manifest, seal
from lgdea.pretraining.objective_config import GraphConfig
from lgdea.vocabulary.entailment import PRESENT, UNCERTAIN

if TYPE_CHECKING:
    from lgdea.pretraining.corpus import Corpus

Floats = NDArray[np.float32]
PROPAGATED = "propagated.safetensors"
MANIFEST = "propagated.json"
OLD_PROPAGATED = "said.safetensors"
"""Its name in format version 1."""
TARGET_NAMES = ("image_histograms", "image_weight", "report_histograms", "report_weight")


@dataclass(frozen=True)
class Nodes:
    """Encoded nodes of one side: histograms ``(N, K)`` and pooled embeddings ``(N, D)``."""

    histograms: Floats
    pooled: Floats


@dataclass(frozen=True)
class Propagated:
    """Propagated links of a graph and the targets that they give.

    Attributes:
        graph: The graph itself; nodes are the corpus's images and reports in their order.
        links: P ``(N_I, N_R)``, rows normalised to sum 1; empty rows are not reached.
        image_histograms: ``(N_I, K)`` mean histogram of the reports linked to each image.
        image_weight: ``(N_I,)`` confidence in [0, 1].
        report_histograms: ``(N_R, K)`` mean histogram of the images linked to each report.
        report_weight: ``(N_R,)`` confidence in [0, 1].
    """

    graph: ArchiveGraph
    links: sparse.csr_array
    image_histograms: Floats
    image_weight: Floats
    report_histograms: Floats
    report_weight: Floats

    def propagate_evidence(self, targets: sparse.csr_array) -> sparse.csr_array:
        """Expected evidence of each image: P ``targets`` with the whole P = F_I F_R^T, rows of P summing to 1.

        The largest entries of P alone, which ``links`` holds, are of a few reports that are near many images, and tell
        less (docs/trials.md).

        Args:
            targets: ``(N_R, T)`` of :func:`evidence_targets`.

        Returns:
            ``(N_I, T)`` in [0, 1]; empty rows for images that are not reached.
        """
        images, reports = self.graph.image_seeds, self.graph.report_seeds
        total = np.asarray(images @ np.asarray(reports.sum(axis=0)).ravel()).ravel()
        return _scaled(images @ (reports.T @ targets), total)


def propagate_links(images: Nodes, reports: Nodes, corpus: Corpus, config: GraphConfig) -> Propagated:
    """Diffuse the linked pairs over both neighbour graphs (METHOD section 3).

    Args:
        images: The image side.
        reports: The report side; its histograms are those of the extracted evidence.
        corpus: Names the nodes and holds the linked pairs.
        config: Neighbours and diffusion.
    """
    image_vectors = node_vectors(images.histograms, images.pooled, pooled_weight=config.pooled_share)
    report_vectors = node_vectors(reports.histograms, reports.pooled, pooled_weight=config.pooled_share)
    graph = build_graph(
        image_vectors,
        report_vectors,
        corpus.pairs,
        image_ids=corpus.image_ids,
        report_ids=corpus.report_ids,
        neighbours=min(config.neighbours, len(image_vectors) - 1, len(report_vectors) - 1),
        mode=config.mode,
        alpha=config.alpha,
        steps=config.steps,
        keep=config.keep,
        top=config.top,
    )
    backwards = propagate(graph.report_seeds, graph.image_seeds, top=config.top)
    return Propagated(
        graph=graph,
        links=_row_normalised(graph.links),
        image_histograms=propagated_histograms(graph.links, reports.histograms),
        image_weight=link_weights(graph.links, graph.image_seeds),
        report_histograms=propagated_histograms(backwards, images.histograms),
        report_weight=confidence_weight(graph.report_seeds).astype(np.float32),
    )


def evidence_targets(corpus: Corpus) -> sparse.csr_array:
    """Evidence targets of the reports, sparse ``(N_R, T)``: 1 for present and 0.5 for uncertain phrases."""
    rows, columns, values = [], [], []
    for start in range(0, len(corpus.report_units), 1024):
        status = corpus.phrases.status(corpus.report_units[start : start + 1024])
        row, column = np.nonzero(status >= UNCERTAIN)
        rows.append(row + start)
        columns.append(column)
        values.append(np.where(status[row, column] == PRESENT, 1.0, 0.5).astype(np.float32))
    places = (np.concatenate(rows), np.concatenate(columns))
    made: Any = sparse.coo_array(
        (np.concatenate(values), places), shape=(len(corpus.report_units), len(corpus.phrases))
    )
    targets: sparse.csr_array = made.tocsr()
    return targets


def quality(propagated: Propagated, corpus: Corpus, targets: sparse.csr_array) -> dict[str, float]:
    """Measure the propagated links against the hidden ones (which training never sees).

    Returns:
        ``link_recall``: share of hidden links among an image's top links. ``evidence_precision`` and
        ``evidence_recall``: of the evidence that the links assert (target >= 0.5) against that of the image's own
        hidden report. ``reached``: share of images with any link. ``confidence``: mean weight of the reached.
    """
    hidden = corpus.hidden_pairs
    links = propagated.links
    reached = propagated.image_weight > 0
    result = {
        "reached": float(reached[corpus.unpaired_images].mean()) if len(corpus.unpaired_images) else 0.0,
        "confidence": float(propagated.image_weight[reached].mean()) if reached.any() else 0.0,
    }
    if len(hidden) == 0:
        return result
    found = np.asarray(links[hidden[:, 0], hidden[:, 1]]).ravel() > 0
    asserted = (links @ targets)[hidden[:, 0]].toarray() >= 0.5
    true = targets[hidden[:, 1]].toarray() >= 0.99
    right = float((asserted & true).sum())
    return result | {
        "link_recall": float(found.mean()),
        "evidence_precision": right / max(1.0, float(asserted.sum())),
        "evidence_recall": right / max(1.0, float(true.sum())),
    }


def save(propagated: Propagated, folder: Path, step: int) -> None:
    """Write the graph of ``step`` and its targets; a resumed run reads them instead of making them anew."""
    place = folder / _name(step)
    (place / MANIFEST).unlink(missing_ok=True)  # killed before the end, the folder has no hash rather than a wrong one
    save_graph(propagated.graph, place)
    with runs.atomic(place / PROPAGATED) as temporary:
        save_file({name: np.ascontiguousarray(getattr(propagated, name)) for name in TARGET_NAMES}, temporary)
    runs.write_json(place / MANIFEST, seal({}, place, [PROPAGATED]))


def load(folder: Path, step: int) -> Propagated:
    """Read what :func:`save` wrote.

    Raises:
        UsageError: The graph was written in format version 1.
        DataError: A file is missing or damaged.
    """
    place = folder / _name(step)
    if (place / OLD_PROPAGATED).exists() and not (place / PROPAGATED).exists():
        raise UsageError(
            "has format version 1 of a run's graph, this lgdea reads version 2 (propagated.safetensors)",
            file=place / OLD_PROPAGATED,
            remedy="finish the run with the lgdea that began it (see env.json), or start a new run",
        )
    graph = load_graph(place)
    try:
        manifest = place / MANIFEST
        check_file(place / PROPAGATED, read_manifest(manifest) if manifest.exists() else {}, place)
        saved = load_file(place / PROPAGATED)
        targets = {name: saved[name] for name in TARGET_NAMES}
        return Propagated(graph=graph, links=_row_normalised(graph.links), **targets)
    except (SafetensorError, OSError, KeyError) as error:
        raise DataError(f"cannot be read ({error})", file=place / PROPAGATED, remedy="start the run anew") from None


def _name(step: int) -> str:
    return f"step-{step:07d}"


def _row_normalised(links: sparse.csr_array) -> sparse.csr_array:
    return _scaled(links, np.asarray(links.sum(axis=1)).ravel())


def _scaled(rows: sparse.csr_array, total: NDArray[np.floating[Any]]) -> sparse.csr_array:
    scale = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    return sparse.csr_array(sparse.diags_array(scale) @ rows)
