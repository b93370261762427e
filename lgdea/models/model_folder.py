"""The model folder: config.json, model.safetensors, preprocess.json, the tokenizer's files and a model card.

It knows no class of models: :class:`~lgdea.models.lgdea_model.LgdeaModel` saves and loads itself with these functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lgdea import runs
from lgdea.errors import DataError, LgdeaError, UsageError
from lgdea.imaging.transforms import Preprocess
from lgdea.manifests import FILES, check_file, read_manifest, seal
from lgdea.models.card import Metric, is_edited, model_card
from lgdea.models.hub import CARD, CONFIG, PROVENANCE, ModelPlace, card_head, read_provenance
from lgdea.models.image_tower import build_image_tower
from lgdea.models.migrations import FORMAT_VERSION, migrate
from lgdea.models.published_names import published_names, with_own_names
from lgdea.models.text_tower import rebuild_text_tower, stored_tokenizer
from lgdea.reading import read_json, require_file
from lgdea.version import __version__
from lgdea.vocabulary.extension import LEXICON, using_vocabulary_of, write_lexicon

WEIGHTS = "model.safetensors"
PREPROCESS = "preprocess.json"
MOST_PROBLEMS = 5
"""Tensors that a message names, of those that do not fit."""

M = TypeVar("M", bound=nn.Module)


def write_folder(model: Any, folder: Path, card_fields: Mapping[str, Any]) -> Path:
    """Save a model; see :func:`lgdea.save_model`."""
    if model.preprocess is None:
        raise UsageError("the model has no preprocessing", remedy="set model.preprocess before saving")
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "format_version": FORMAT_VERSION,
        "lgdea_version": __version__,
        "image_tower": model.image_tower.describe(),
        "text_tower": model.text_tower.describe(),
        "model": model.settings,
    }
    names, state = published_names(model), model.state_dict()
    weights = {names[name]: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    (folder / CONFIG).unlink(missing_ok=True)  # it seals the other files
    with runs.atomic(folder / WEIGHTS) as temporary:
        # One key only: safetensors writes several in any order, and equal weights are to give equal files.
        save_file(weights, temporary, metadata={"format": "pt"})
    runs.write_json(folder / PREPROCESS, model.preprocess.to_dict())
    tokenizer = {Path(file).name for file in model.tokenizer.save_pretrained(str(folder))}
    write_lexicon(model.vocabulary.site, folder)
    (folder / PROVENANCE).unlink(missing_ok=True)
    if card_fields:
        runs.write_json(folder / PROVENANCE, seal({"sections": dict(card_fields)}))
    parameters = sum(tensor.numel() for tensor in weights.values() if tensor.is_floating_point())
    runs.write_text(folder / CARD, model_card(config, parameters, card_fields))
    computed_with = [n for n in {WEIGHTS, PREPROCESS, LEXICON, *tokenizer} if (folder / n).is_file()]  # not the card
    runs.write_json(folder / CONFIG, seal(config, folder, computed_with))  # last: without it a folder is no model yet
    return folder


def write_card(
    folder: Path,
    *,
    license: str = "",
    tags: Sequence[str] = (),
    metrics: Sequence[Metric] = (),
    fields: Mapping[str, Any] | None = None,
    out: Path | None = None,
    force: bool = False,
) -> Path:
    """Write the card of a model folder anew.

    Args:
        folder: Model folder; its other files stay as they are.
        license: Licence; that of the present card by default.
        tags: Tags beside the usual ones and those of the present card.
        metrics: What was measured.
        fields: Sections of the card; by default those that the model was saved with.
        out: File to write in the place of the folder's README.md.
        force: Replace a card that a person has changed.

    Raises:
        UsageError: A person has changed the card.
    """
    config, card = read_config(folder), folder / CARD
    target = out or card
    if not force and is_edited(target):
        raise UsageError(
            "was changed by hand", file=target, remedy="--out FILE writes another file, --force replaces it"
        )
    head = card_head(card)
    text = model_card(
        config,
        count_parameters(folder),
        read_provenance(folder) if fields is None else fields,
        license=license or str(head.get("license") or ""),
        tags=[*(head.get("tags") or ()), *tags],
        metrics=metrics,
    )
    runs.write_text(target, text)
    return target


def count_parameters(folder: Path) -> int:
    """Count a model's floating-point weights, by the header of their file alone.

    Raises:
        DataError: The file is missing or damaged.
    """
    file = folder / WEIGHTS
    try:
        with safe_open(file, framework="pt") as content:
            parts = [content.get_slice(name) for name in content.keys()]  # noqa: SIM118  # it is no mapping
            return sum(math.prod(p.get_shape()) for p in parts if p.get_dtype().startswith(("F", "BF")))
    except (SafetensorError, OSError) as error:
        raise DataError(f"is damaged ({error})", file=file, remedy="copy it again") from None


def read_folder(build: Callable[..., M], place: ModelPlace, device: str) -> M:
    """Load a model; see :func:`lgdea.load_model`.

    Args:
        build: Makes the model of its towers and tokenizer, ``preprocess`` and the settings of its configuration.
        place: Its folder.
        device: Torch device.
    """
    folder = place.folder
    config = read_config(folder)
    for name in config.get(FILES, ()):
        check_file(folder / name, config, folder)
    _read_json(folder / "tokenizer.json")
    preprocess = _read_json(folder / PREPROCESS)
    weights = read_weights(folder / WEIGHTS, remedy="copy the whole folder")
    try:
        config, weights = migrate(config, weights)
        with using_vocabulary_of(folder):
            model: Any = build(
                build_image_tower(pretrained=False, **config["image_tower"]),
                rebuild_text_tower(config["text_tower"]),
                stored_tokenizer(folder),
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
    fill(model, with_own_names(weights, model), folder / WEIGHTS, remedy=f"take it and {CONFIG} from the same model")
    model.name = place.name
    model.card_fields = read_provenance(folder)
    loaded: M = model.to(device).eval()
    return loaded


def read_config(folder: Path) -> dict[str, Any]:
    """Read a model's config.json and check its seal and its format.

    Raises:
        UsageError: It is of no model of lgdea, or a newer lgdea wrote it.
        DataError: It is missing or damaged.
    """
    config = read_manifest(folder / CONFIG, what="model's file", remedy="copy the whole folder")
    version = config.get("format_version")
    if version is None:
        raise UsageError(
            "is no model of lgdea (it has no format version)",
            file=folder / CONFIG,
            remedy=f"for a model of transformers write hf:{folder}",
        )
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise UsageError(
            f"the model has format version {version!r}, this lgdea reads up to {FORMAT_VERSION}",
            file=folder / CONFIG,
            remedy=f"upgrade lgdea (the model was written by {config.get('lgdea_version', 'an unknown version')})",
        )
    return config


def read_weights(file: Path, *, remedy: str) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Raises:
        DataError: It is missing or damaged.
    """
    if not file.exists():
        raise DataError("the file of weights is missing", file=file, remedy=remedy)
    require_file(file, what="file of weights", remedy=remedy)
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise DataError(f"is damaged ({error})", file=file, remedy="copy it again") from None


def fill(module: nn.Module, weights: Mapping[str, Tensor], file: Path, *, remedy: str) -> None:
    """Give a module its weights, all of them and no others.

    Args:
        module: What is filled.
        weights: Tensors by name.
        file: Where they are from, for the message.
        remedy: What helps when they do not fit.

    Raises:
        DataError: Tensors are missing, unknown, or of another shape; the message names the first of them.
    """
    expected = module.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in weights]
    problems += [f"{name} is unknown" for name in weights if name not in expected]
    problems += [
        f"{name} has shape {tuple(weights[name].shape)}, the configuration says {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
        listed = ", ".join(problems[:MOST_PROBLEMS])
        raise DataError(f"the weights do not fit the configuration: {listed}{more}", file=file, remedy=remedy)
    module.load_state_dict(weights)


def _read_json(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise DataError("the model's file is missing", file=file, remedy="copy the whole folder")
    content = read_json(file, remedy="copy it again")
    if not isinstance(content, dict):
        raise DataError("must hold a JSON object", file=file, remedy="copy it again")
    return content
