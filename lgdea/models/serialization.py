"""Saving and loading of models, and of image towers out of them (:mod:`lgdea.models.model_folder`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lgdea.models.finite_weights import require_finite
from lgdea.models.hub import PROSE
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.model_folder import fill
from lgdea.models.published_names import with_own_names
from lgdea.models.tower_weights import load_published, read_checkpoint
from lgdea.outputs import is_leftover

TOWER = "image_tower."
"""Prefix of the names of an image tower's weights."""


def save_model(model: LgdeaModel, folder: str | Path, card_fields: dict[str, Any] | None = None) -> Path:
    """Save a model as a folder: weights, configuration, preprocessing, tokenizer and model card; nothing is pickled.

    Args:
        model: The model; it must have its preprocessing.
        folder: Model folder; a model already there is replaced.
        card_fields: Sections of the model card: ``name``, ``data``, ``training``, ...; kept in provenance.json, so that
            the card can be written again. Sections that the model was loaded with stay.

    Returns:
        The folder.

    Raises:
        UsageError: The model has no preprocessing, so that no image could be given to it.

    Example:
        >>> model = lgdea.create_model("test_resnet", texts=["No pneumothorax."], image_size=64, hidden=32)
        >>> sorted(file.name for file in lgdea.save_model(model, folder / "model").iterdir())
        ['README.md', 'config.json', 'model.safetensors', 'preprocess.json', 'tokenizer.json', 'tokenizer_config.json']
    """
    return model.save_pretrained(folder, card_fields)


def model_files(folder: str | Path) -> list[str]:
    """List the files of a model folder that decide what the model computes: all but its card and provenance."""
    files = (file for file in Path(folder).iterdir() if file.is_file() and not is_leftover(file))
    return sorted(file.name for file in files if file.name not in PROSE)


def load_model(folder: str | Path, device: str = "cpu", *, revision: str | None = None) -> LgdeaModel:
    """Load a model; its embeddings are bit for bit those of the saved one.

    Args:
        folder: Model folder, written by :func:`save_model`, or the run folder of :func:`pretrain`; or a
            model of the Hugging Face Hub: ``ORG/NAME`` or ``hf://ORG/NAME``, ``@REVISION`` behind it or not. A folder
            that exists goes first. ``HF_HUB_OFFLINE=1`` takes what is in the Hub's cache.
        device: Torch device of the model (``cuda``).
        revision: Branch, tag or commit of a model of the Hub; its main branch by default.

    Returns:
        The model, in evaluation mode. Of a model of the Hub, ``name`` says ``ORG/NAME@COMMIT``.

    Raises:
        UsageError: No such folder, repository or revision, or it is no model, or a newer lgdea wrote it.
        DataError: A file is missing or damaged, or the weights do not fit the configuration.

    Example:
        >>> model = lgdea.create_model("test_resnet", texts=["No pneumothorax."], image_size=64, hidden=32)
        >>> loaded = lgdea.load_model(lgdea.save_model(model, folder / "saved"))
        >>> bool((loaded.encode_text("No pneumothorax.") == model.encode_text("No pneumothorax.")).all())
        True
        >>> lgdea.load_model(folder / "nowhere")
        Traceback (most recent call last):
        lgdea.errors.UsageError: ...nowhere: no such model folder; check the path; `lgdea pretrain` makes one
    """
    return LgdeaModel.from_pretrained(folder, revision=revision, device=device)


def load_image_tower(tower: nn.Module, file: str | Path) -> None:
    """Give an image tower trained weights.

    Args:
        tower: Of :func:`lgdea.models.image_tower.build_image_tower`.
        file: ``model.safetensors`` of a model folder whose image tower is the same, a safetensors file of such a
            tower's own ``state_dict``, or a checkpoint of its architecture as others publish it (safetensors, or what
            ``torch.save`` wrote; see :mod:`lgdea.models.tower_weights`).

    Raises:
        DataError: The file is missing or damaged, or is of another tower.
        UsageError: It holds Python objects besides tensors.
    """
    content = read_checkpoint(file)
    whole = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    weights = {name.removeprefix(TOWER): value for name, value in whole.items() if name.startswith(TOWER)} or whole
    added = [name for name in tower.state_dict() if not name.startswith("backbone.")]
    if weights is whole and not (added and all(name in weights for name in added)):
        load_published(tower, content, Path(file))
        return
    require_finite(weights.items(), file)
    fill(
        tower,
        with_own_names(weights, tower),
        Path(file),
        remedy="set image.tower, size and stride as they were in its training",
    )
