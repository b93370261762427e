"""The model folder: config.json, model.safetensors, preprocess.json, the tokenizer's files and a model card."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lgdea import runs
from lgdea.errors import DataError, LgdeaError, UsageError
from lgdea.manifests import FILES, check_file, read_manifest, seal
from lgdea.models.card import model_card
from lgdea.models.folders import CONFIG, require_model
from lgdea.models.image_tower import build_image_tower
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.text_tower import load_tokenizer, rebuild_text_tower
from lgdea.models.tower_weights import load_published, read_checkpoint
from lgdea.reading import read_json
from lgdea.version import __version__
from lgdea.vocabulary.extension import LEXICON, using_vocabulary_of, write_lexicon

FORMAT_VERSION = 5
WEIGHTS = "model.safetensors"
PREPROCESS = "preprocess.json"
CARD = "README.md"
HEAD = "retrieval_head."
TOWER = "image_tower."
"""Prefixes of the names of weights."""


def save_model(model: LgdeaModel, folder: str | Path, card_fields: dict[str, Any] | None = None) -> Path:
    """Save a model as a folder: weights, configuration, preprocessing, tokenizer and model card; nothing is pickled.

    Args:
        model: The model; it must have its preprocessing.
        folder: Model folder; a model already there is replaced.
        card_fields: Sections of the model card: ``name``, ``data``, ``training``, ``results``, ``limits``, ...

    Returns:
        The folder.

    Raises:
        UsageError: The model has no preprocessing, so that no image could be given to it.

    Example:
        >>> model = lgdea.create_model("test_resnet", texts=["No pneumothorax."], image_size=64, hidden=32)
        >>> sorted(file.name for file in lgdea.save_model(model, folder / "model").iterdir())
        ['README.md', 'config.json', 'model.safetensors', 'preprocess.json', 'tokenizer.json', 'tokenizer_config.json']
    """
    if model.preprocess is None:
        raise UsageError("the model has no preprocessing", remedy="set model.preprocess before saving")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "format_version": FORMAT_VERSION,
        "lgdea_version": __version__,
        "image_tower": model.image_tower.describe(),
        "text_tower": model.text_tower.describe(),
        "model": model.settings,
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    (folder / CONFIG).unlink(missing_ok=True)  # it seals the other files
    with runs.atomic(folder / WEIGHTS) as temporary:
        # One key only: safetensors writes several in any order, and equal weights are to give equal files.
        save_file(weights, temporary, metadata={"format": "pt"})
    runs.write_json(folder / PREPROCESS, model.preprocess.to_dict())
    tokenizer = {Path(file).name for file in model.tokenizer.save_pretrained(str(folder))}
    write_lexicon(model.vocabulary.site, folder)
    runs.write_text(folder / CARD, model_card(config, weights, card_fields or {}))
    computed_with = [n for n in {WEIGHTS, PREPROCESS, LEXICON, *tokenizer} if (folder / n).is_file()]  # not the card
    runs.write_json(folder / CONFIG, seal(config, folder, computed_with))  # last: without it a folder is no model yet
    return folder


def model_files(folder: str | Path) -> list[str]:
    """List the files of a model folder that decide what the model computes: all but its card."""
    return sorted(file.name for file in Path(folder).iterdir() if file.is_file() and file.name != CARD)


def load_model(folder: str | Path, device: str = "cpu") -> LgdeaModel:
    """Load a model; its embeddings are bit for bit those of the saved one.

    Args:
        folder: Model folder, written by :func:`save_model`, or the run folder of :func:`pretrain`.
        device: Torch device of the model (``cuda``).

    Returns:
        The model, in evaluation mode.

    Raises:
        UsageError: No such folder, or it is not a model folder, or a newer lgdea wrote it.
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
    from lgdea.imaging.transforms import Preprocess

    folder = require_model(folder)
    config = read_manifest(folder / CONFIG, what="model's file", remedy="copy the whole folder")
    version = config.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise UsageError(
            f"the model has format version {version!r}, this lgdea reads up to {FORMAT_VERSION}",
            file=folder / CONFIG,
            remedy=f"upgrade lgdea (the model was written by {config.get('lgdea_version', 'an unknown version')})",
        )
    for name in config.get(FILES, ()):
        check_file(folder / name, config, folder)
    _read_json(folder / "tokenizer.json")
    preprocess = _read_json(folder / PREPROCESS)
    try:
        with using_vocabulary_of(folder):
            model = LgdeaModel(
                build_image_tower(pretrained=False, **config["image_tower"]),
                rebuild_text_tower(config["text_tower"]),
                load_tokenizer(folder),
                preprocess=Preprocess.from_dict(preprocess),
                **config["model"],
            )
    except LgdeaError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"does not describe a model ({type(error).__name__}: {error})",
            file=folder / CONFIG,
            remedy="it was changed by hand or written by an incompatible version",
        ) from None
    weights = _read_weights(folder / WEIGHTS, remedy="copy the whole folder")
    if version < FORMAT_VERSION:
        weights = _upgrade_weights(weights, model)
    _fill(model, weights, folder / WEIGHTS, remedy=f"take it and {CONFIG} from the same model")
    place = folder.resolve()
    model.name = place.parent.name if place.name == "model" else place.name  # a run's model is called as the run
    return model.to(device).eval()


def _upgrade_weights(weights: dict[str, Tensor], model: LgdeaModel) -> dict[str, Tensor]:
    """Bring the weights of formats 1 to 4 to the names of today.

    The retrieval head was called ``whole``. Formats 1 to 3 have none or only part of it: the rest stays uncalibrated.
    """
    weights = {re.sub(r"^whole\.", HEAD, name): value for name, value in weights.items()}
    head = {f"{HEAD}{name}": value for name, value in model.retrieval_head.state_dict().items()}
    return head | {name: value for name, value in weights.items() if name in head or not name.startswith(HEAD)}


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
    _fill(tower, weights, Path(file), remedy="set image.tower, size and stride as they were in its training")


def _read_weights(file: Path, *, remedy: str) -> dict[str, Tensor]:
    if not file.exists():
        raise DataError("the file of weights is missing", file=file, remedy=remedy)
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise DataError(f"is damaged ({error})", file=file, remedy="copy it again") from None


def _fill(module: nn.Module, weights: dict[str, Tensor], file: Path, *, remedy: str) -> None:
    expected = module.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in weights]
    problems += [f"{name} is unknown" for name in weights if name not in expected]
    problems += [
        f"{name} has shape {tuple(weights[name].shape)}, the configuration says {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise DataError(
            f"the weights do not fit the configuration: {problems[0]}{more}",
            file=file,
            remedy=remedy,
        )
    module.load_state_dict(weights)


def _read_json(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise DataError("the model's file is missing", file=file, remedy="copy the whole folder")
    content = read_json(file, remedy="copy it again")
    if not isinstance(content, dict):
        raise DataError("must hold a JSON object", file=file, remedy="copy it again")
    return content
