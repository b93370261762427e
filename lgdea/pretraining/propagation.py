"""The graph of a running pretraining: encode everything, diffuse the links, keep what they say of unlinked items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy import sparse

from lgdea import runs
from lgdea.errors import DataError
from lgdea.graph.diffusion import confidence_weight, diffuse, seed_matrix
from lgdea.graph.links import link_weights, propagate, propagated_histograms
from lgdea.graph.neighbours import affinity, knn, node_vectors
from lgdea.objectives.presence import PRESENT, UNCERTAIN
from lgdea.pretraining.config import GraphConfig

if TYPE_CHECKING:
    from lgdea.pretraining.corpus import Corpus

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Nodes:
    """What the model says of one side: histograms ``(N, K)`` and pooled embeddings ``(N, D)``."""

    histograms: Floats
    pooled: Floats


@dataclass(frozen=True)
class Propagated:
    """What the links say after diffusion.

    Attributes:
        links: P ``(N_I, N_R)``, rows normalised to sum 1; empty rows are not reached.
        image_histograms: ``(N_I, K)`` what the reports linked to an image say.
        image_weight: ``(N_I,)`` confidence in [0, 1].
        report_histograms: ``(N_R, K)`` what the images linked to a report show.
        report_weight: ``(N_R,)`` confidence in [0, 1].
    """

    links: sparse.csr_array
    image_histograms: Floats
    image_weight: Floats
    report_histograms: Floats
    report_weight: Floats


def propagate_links(images: Nodes, reports: Nodes, pairs: NDArray[np.int64], config: GraphConfig) -> Propagated:
    """Diffuse the linked pairs over both neighbour graphs (METHOD section 3).

    Args:
        images: The image side.
        reports: The report side; its histograms are those of the extracted evidence.
        pairs: ``(S, 2)`` linked rows (image, report).
        config: Neighbours and diffusion.
    """
    sides = []
    for nodes, seeds in ((images, pairs[:, 0]), (reports, pairs[:, 1])):
        vectors = node_vectors(nodes.histograms, nodes.pooled, pooled_weight=config.pooled_share)
        graph = affinity(*knn(vectors, min(config.neighbours, len(vectors) - 1)), mode=config.mode)
        marks = seed_matrix(seeds, len(vectors))
        sides.append(diffuse(graph, marks, config.alpha, steps=config.steps, keep=config.keep))
    of_image, of_report = sides
    links = propagate(of_image, of_report, top=config.top)
    backwards = propagate(of_report, of_image, top=config.top)
    return Propagated(
        links=_row_normalised(links),
        image_histograms=propagated_histograms(links, reports.histograms),
        image_weight=link_weights(links, of_image),
        report_histograms=propagated_histograms(backwards, images.histograms),
        report_weight=confidence_weight(of_report).astype(np.float32),
    )


def evidence_targets(corpus: Corpus) -> sparse.csr_array:
    """What reports say is there: ``(N_R, T)``, 1 for present and 0.5 for uncertain phrases."""
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
    return made.tocsr()  # type: ignore[no-any-return]


def quality(propagated: Propagated, corpus: Corpus, targets: sparse.csr_array) -> dict[str, float]:
    """How good the propagated links are, judged by the hidden ones (which training never sees).

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
    said = (links @ targets)[hidden[:, 0]].toarray() >= 0.5
    true = targets[hidden[:, 1]].toarray() >= 0.99
    right = float((said & true).sum())
    return result | {
        "link_recall": float(found.mean()),
        "evidence_precision": right / max(1.0, float(said.sum())),
        "evidence_recall": right / max(1.0, float(true.sum())),
    }


def save(propagated: Propagated, folder: Path, step: int) -> None:
    """Write ``propagated-<step>.safetensors`` atomically; a resumed run reads it instead of making it anew."""
    links = propagated.links
    content = {
        "links_data": links.data.astype(np.float32),
        "links_indices": links.indices.astype(np.int64),
        "links_indptr": links.indptr.astype(np.int64),
        "links_shape": np.array(links.shape, dtype=np.int64),
        "image_histograms": propagated.image_histograms,
        "image_weight": propagated.image_weight,
        "report_histograms": propagated.report_histograms,
        "report_weight": propagated.report_weight,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with runs.atomic(folder / _name(step)) as temporary:
        save_file({k: np.ascontiguousarray(v) for k, v in content.items()}, temporary)


def load(folder: Path, step: int) -> Propagated:
    """Read what :func:`save` wrote.

    Raises:
        DataError: The file is missing or damaged.
    """
    file = folder / _name(step)
    try:
        content = load_file(file)
    except Exception as error:
        raise DataError(f"cannot be read ({error})", file=file, remedy="start the run anew") from None
    rows, columns = (int(n) for n in content["links_shape"])
    parts = (content["links_data"], content["links_indices"], content["links_indptr"])
    links = sparse.csr_array(parts, shape=(rows, columns))
    names = ("image_histograms", "image_weight", "report_histograms", "report_weight")
    return Propagated(links, *(content[name] for name in names))


def _name(step: int) -> str:
    return f"propagated-{step:07d}.safetensors"


def _row_normalised(links: sparse.csr_array) -> sparse.csr_array:
    total = np.asarray(links.sum(axis=1)).ravel()
    scale = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    return sparse.csr_array(sparse.diags_array(scale) @ links)
