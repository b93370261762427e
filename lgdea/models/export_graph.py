"""The image side of a model as graphs that run without lgdea: ONNX, and programs of torch.export.

Two graphs: from preprocessed images to embeddings, and from those and embedded phrases to scores. The text side stays
here; its embeddings of the chosen phrases are written beside the graphs.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lgdea.errors import DataError, UsageError, first_line
from lgdea.models.heads import cosine, local_similarity_at_once
from lgdea.models.inference import inferring, word_mask
from lgdea.models.lgdea_model import LgdeaModel

IMAGE_OUTPUTS = ("embedding", "pooled", "patches", "lesions", "map_patches")
SCORE_INPUTS = {
    "presence": ("patches", "lesions", "phrases"),
    "global": ("pooled", "phrases"),
    "local": ("pooled", "patches", "phrases", "tokens", "words"),
}
"""What each way of scoring is computed of: outputs of the image graph, then arrays of the phrases."""
TOLERANCE = 1e-4
"""Largest difference of a graph's output from the model's."""
OPSET = 18
TEXT_SIDE = ("text_tower", "project_report", "project_tokens", "project_evidence", "prototypes")
"""Parts of the model that images do not go through."""


class ImageGraph(nn.Module):
    """From preprocessed images to everything that is said about them."""

    def __init__(self, model: LgdeaModel) -> None:
        super().__init__()
        self.model = _without(model, TEXT_SIDE)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode images.

        Shapes:
            images (B, 1, S, S); result in the order of :data:`IMAGE_OUTPUTS`: embedding (B, E), pooled (B, D), patches
            (B, P, D), lesions (B, L, D), map_patches (B, P, D), whose products with embedded phrases are heat maps.
        """
        features = self.model.image_tower(images)
        out = self.model.forward_features(features)
        places = out["patches"]
        if self.model.scoring == "global":  # as in inference.phrase_maps
            places = self.model.project_pooled(features["patches"])
        elif self.model.scoring == "presence":
            places = self.model.retrieval_head.patches(places)
        return self.model.embed_images(out), out["pooled"], out["patches"], out["lesions"], places


class ScoreGraph(nn.Module):
    """From an image's embeddings and those of phrases to scores."""

    def __init__(self, model: LgdeaModel) -> None:
        super().__init__()
        self.model = _without(model, [name for name, _ in model.named_children()])

    def forward(self, *parts: Tensor) -> Tensor:
        """Score phrases; the parts are those of :data:`SCORE_INPUTS`.

        Shapes:
            result (B, U): probabilities of a ``presence`` model, similarities of the others.
        """
        given = dict(zip(SCORE_INPUTS[self.model.scoring], parts, strict=True))
        if self.model.scoring == "presence":
            return self.model.presence_logits(given, given["phrases"]).sigmoid()
        pooled = cosine(given["pooled"], given["phrases"])
        if self.model.scoring == "global":
            return pooled
        return (pooled + local_similarity_at_once(given["patches"], given["tokens"], given["words"])) / 2


def _without(model: LgdeaModel, parts: Sequence[str]) -> LgdeaModel:
    """A model that shares all but some of its parts: a graph holds the weights that it needs and no others."""
    kept = copy.copy(model)
    empty = nn.Identity()
    kept._modules = {name: empty if name in parts else module for name, module in model._modules.items()}
    return kept


def embed_classes(model: LgdeaModel, phrases: Sequence[str]) -> dict[str, Tensor]:
    """Embed phrases for :class:`ScoreGraph`, and for heat maps as ``map_phrases``.

    Shapes:
        phrases, map_phrases (U, D); of a ``local`` model also tokens (U, T, D) and words (U, T).
    """
    with inferring(model):
        if model.scoring == "presence":
            z = model.embed_phrases(phrases)
            return {"phrases": z, "map_phrases": z}
        texts = model.tokenize(phrases)
        encoded = model.forward_text(**texts)
        if model.scoring == "global":
            return {"phrases": encoded["pooled"], "map_phrases": encoded["pooled"]}
        words = word_mask(model, texts)
        mean = (encoded["tokens"] * words[..., None]).sum(dim=1) / words[..., None].sum(dim=1).clamp_min(1)
        return {"phrases": encoded["pooled"], "tokens": encoded["tokens"], "words": words, "map_phrases": mean}


def export_graphs(
    model: LgdeaModel, classes: Mapping[str, Tensor], folder: Path, formats: Sequence[str]
) -> tuple[list[str], dict[str, float]]:
    """Write both graphs in each format, and run them beside the model.

    Args:
        model: The model, on the CPU.
        classes: Of :func:`embed_classes`.
        folder: Where they are written.
        formats: ``onnx``, ``torch``.

    Returns:
        Names of the files, and file to the largest difference of its outputs from the model's.

    Raises:
        UsageError: A package is missing, or the tower cannot be exported.
        DataError: A graph does not compute what the model does.
    """
    side = int(model.preprocess.size) if model.preprocess is not None else 0
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 1, side, side, generator=generator)
    written, differences = [], {}
    with inferring(model):
        image_graph, score_graph = ImageGraph(model).eval(), ScoreGraph(model).eval()
        names = SCORE_INPUTS[model.scoring]
        parts = dict(zip(IMAGE_OUTPUTS, image_graph(images), strict=True)) | dict(classes)
        inputs = tuple(parts[name] for name in names)
        graphs = [
            ("image_tower", image_graph, {"images": images}, IMAGE_OUTPUTS),
            ("scores", score_graph, dict(zip(names, inputs, strict=True)), ("scores",)),
        ]
        for kind in formats:
            for name, graph, given, outputs in graphs:
                file = folder / f"{name}.{'onnx' if kind == 'onnx' else 'pt2'}"
                program = _trace(graph, given, name)
                run = _write_onnx(program, given, outputs, file) if kind == "onnx" else _write_torch(program, file)
                differences[file.name] = _compare(graph, run, given, file)
                written.append(file.name)
    return written, differences


def _trace(graph: nn.Module, given: Mapping[str, Tensor], name: str) -> torch.export.ExportedProgram:
    batch, phrases = torch.export.Dim("batch", min=1), torch.export.Dim("phrases", min=1)
    tokens = torch.export.Dim("tokens", min=1)
    of_phrases = {"phrases": {0: phrases}, "tokens": {0: phrases, 1: tokens}, "words": {0: phrases, 1: tokens}}
    dims = tuple(of_phrases.get(key, {0: batch}) for key in given)
    # One phrase, as it stands, would be taken for a number that never changes.
    given = {
        key: v.repeat(2, *[1] * (v.dim() - 1)) if key in of_phrases and len(v) == 1 else v for key, v in given.items()
    }
    shapes: Any = (dims,) if name == "scores" else dims  # its arguments are one list, *parts
    try:
        with _quiet():
            return torch.export.export(graph, tuple(given.values()), dynamic_shapes=shapes, strict=False)
    except Exception as error:
        raise UsageError(
            f"the {name} graph cannot be exported ({first_line(error)})", remedy="choose a model with another tower"
        ) from None


def _write_onnx(program: Any, given: Mapping[str, Tensor], outputs: Sequence[str], file: Path) -> Any:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(f"needs the package {error.name}", remedy="pip install 'lgdea[onnx]'") from None
    with _quiet():
        exported = torch.onnx.export(
            program, (), input_names=list(given), output_names=list(outputs), opset_version=OPSET, verbose=False
        )
        assert exported is not None
        exported.save(str(file), external_data=False)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(values: Mapping[str, Tensor]) -> list[np.ndarray]:
        return list(session.run(list(outputs), {key: value.numpy() for key, value in values.items()}))

    return run


def _write_torch(program: Any, file: Path) -> Any:
    with _quiet():
        torch.export.save(program, str(file))
        module = torch.export.load(str(file)).module()

    def run(values: Mapping[str, Tensor]) -> list[np.ndarray]:
        found = module(*values.values())
        return [part.numpy() for part in (found if isinstance(found, tuple) else (found,))]

    return run


def _compare(graph: nn.Module, run: Any, given: Mapping[str, Tensor], file: Path) -> float:
    """The largest difference between graph and model, on batches of one and of three."""
    largest = 0.0
    for count in (1, 3):
        # What belongs to phrases is cut too: their number is as free as that of the images.
        values = {key: value[:count].contiguous() for key, value in given.items()}
        expected = graph(*values.values())
        for found, wanted in zip(run(values), expected if isinstance(expected, tuple) else (expected,), strict=True):
            if found.shape != tuple(wanted.shape):
                raise DataError(f"gives {found.shape}, the model {tuple(wanted.shape)}", file=file)
            largest = max(largest, float(np.abs(found - wanted.numpy()).max(initial=0.0)))
    if not largest <= TOLERANCE:
        raise DataError(
            f"differs from the model by {largest:.2g}", file=file, remedy="choose the other format, or another tower"
        )
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' remarks about their own insides from the user's terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
