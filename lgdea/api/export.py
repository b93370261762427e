"""A model's image side for programs without lgdea."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lgdea import runs
from lgdea.errors import UsageError
from lgdea.manifests import seal
from lgdea.version import __version__

if TYPE_CHECKING:
    from lgdea.models.lgdea_model import LgdeaModel

FORMATS = ("onnx", "torch")
SIDECAR = "export.json"
CLASSES = "classes.npz"
EXPORT_VERSION = 1
SCORES = {
    "presence": "probability that the image shows the phrase",
    "global": "cosine of image and phrase",
    "local": "similarity of image and phrase in [-1, 1]",
}
USE = (
    "For research only; no medical device, not for diagnosis. Read the picture as luminance in [0, 1], bright where "
    "the body is dense, and round it to bytes; pad it with black (letterbox) or crop it (center_crop) to a square at "
    "its centre; resize that to size x size (Pillow, bilinear, which averages when it shrinks); divide by 255, "
    "subtract mean, divide by std."
)


def export_model(
    model: str | Path | LgdeaModel,
    out: str | Path,
    *,
    phrases: Sequence[str] | None = None,
    formats: Sequence[Literal["onnx", "torch"]] = ("onnx",),
) -> Path:
    """Export a model's image side, and its phrases embedded, for programs without lgdea.

    Each graph is run beside the model, on one image and on several, and refused where it differs by more than 1e-4.

    Args:
        model: Model folder, ``ORG/NAME`` of the Hub, or a model that has its preprocessing.
        out: New folder: ``image_tower.onnx`` (preprocessed images to embeddings) and ``scores.onnx`` (those and
            embedded phrases to scores), ``.pt2`` for torch; ``classes.npz``, the embedded phrases; ``export.json``,
            which tells preprocessing, inputs, outputs and phrases.
        phrases: What is scored, such as ``left pleural effusion``; by default the findings of the model with both
            sides, as :meth:`LgdeaModel.evidence` asks for them.
        formats: ``onnx`` (needs ``lgdea[onnx]``), ``torch`` (torch.export).

    Returns:
        The folder.

    Raises:
        UsageError: The folder is not empty, there is no such model or format, a package is missing, or a tower cannot
            be exported.
        DataError: A graph does not compute what the model does.

    Example:
        >>> place = lgdea.export_model(model, folder / "exported", formats=["torch"], phrases=["left effusion"])
        >>> sorted(file.name for file in place.iterdir())
        ['classes.npz', 'export.json', 'image_tower.pt2', 'scores.pt2']
    """

    from lgdea.evidence.rules.lexicon import warn_of_misspelt
    from lgdea.models.inference import candidates
    from lgdea.models.serialization import load_model

    if not formats or not set(formats) <= set(FORMATS):
        raise UsageError(f"no such format in {', '.join(formats) or 'none'}", remedy=f"choose {', '.join(FORMATS)}")
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("is there already", file=out, remedy="choose a new folder")
    source = load_model(model) if isinstance(model, str | Path) else model
    if source.preprocess is None:
        raise UsageError("the model has no preprocessing", remedy="set model.preprocess before exporting")
    found: list[dict[str, Any]] = (
        [{"finding": f, "laterality": side, "phrase": text} for f, side, text in candidates(source)]
        if phrases is None
        else [{"phrase": phrase} for phrase in phrases]
    )
    if not found or not all(entry["phrase"].strip() for entry in found):
        raise UsageError("a phrase is empty", remedy="give phrases such as 'left pleural effusion'")
    warn_of_misspelt(phrases or ())
    with runs.atomic(out) as whole:  # a kill leaves no part of an export in its place
        whole.mkdir()
        _write(source, found, list(dict.fromkeys(formats)), whole)
        if out.exists():
            out.rmdir()
    return out


def _write(source: LgdeaModel, found: list[dict[str, Any]], formats: list[str], out: Path) -> None:
    import numpy as np

    from lgdea.models.export_graph import IMAGE_OUTPUTS, SCORE_INPUTS, embed_classes, export_graphs

    assert source.preprocess is not None
    device, classes = source.device, embed_classes(source.cpu(), [entry["phrase"] for entry in found])
    try:
        files, differences = export_graphs(source, classes, out, formats)
    finally:
        source.to(device)
    with runs.atomic(out / CLASSES) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **{name: value.numpy() for name, value in classes.items()})
    rows, columns = source.grid
    sidecar = {
        "export_version": EXPORT_VERSION,
        "lgdea_version": __version__,
        "model": source.name,
        "use": USE,
        "preprocess": source.preprocess.to_dict(),
        "image_outputs": list(IMAGE_OUTPUTS),
        "score_inputs": list(SCORE_INPUTS[source.scoring]),
        "scoring": source.scoring,
        "score": SCORES[source.scoring],
        "grid": [rows, columns],
        "classes": found,
        "largest_difference": differences,
    }
    runs.write_json(out / SIDECAR, seal(sidecar, out, [*files, CLASSES]))
