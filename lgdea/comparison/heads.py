"""Heads in a model folder: ``NAME.json`` and ``NAME.safetensors`` beside the files of the model that they stand on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from lgdea import runs
from lgdea.errors import DataError, UsageError
from lgdea.manifests import check_file, read_manifest, seal
from lgdea.models.hub import find_model
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.serialization import load_model
from lgdea.version import __version__

FORMAT_VERSION = 1

M = TypeVar("M", bound=nn.Module)


def load_with_head(folder: str | Path, name: str, device: str, build: Callable[[LgdeaModel, dict[str, Any]], M]) -> M:
    """Load a pretrained model and its head from one folder.

    Args:
        folder: Model folder that ``lgdea compare train`` wrote, or ``ORG/NAME`` of the Hugging Face Hub.
        name: ``entity`` or ``change``.
        device: Torch device of the model.
        build: Makes the two together of the pretrained model and what :func:`read_head` gives; ``head`` gets its
            weights afterwards.

    Returns:
        The model, in evaluation mode.

    Raises:
        UsageError: No such folder, or it has no such head.
        DataError: A file is damaged.
    """
    folder = find_model(folder).folder
    content = read_head(folder, name)  # says at once that there is none
    base = load_model(folder, device)
    try:
        model = build(base, content)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"does not describe the {name} head ({error})", file=Path(folder) / f"{name}_head.json",
            remedy="copy the folder again",
        ) from None  # fmt: skip
    fill_head(folder, name, model.get_submodule("head"))
    return model.to(device).eval()


def keep_heads(source: str | Path, folder: str | Path) -> None:
    """Copy the heads of a model folder to that of a model with the same weights, so that one folder has them all.

    Args:
        source: Where the pretrained model came from; one that is no folder has none.
        folder: Model folder of the same model.
    """
    for file in sorted(Path(source).glob("*_head.*")):
        shutil.copyfile(file, Path(folder) / file.name)


def save_head(folder: str | Path, name: str, head: nn.Module, content: dict[str, Any]) -> None:
    """Add a head to a model folder.

    Args:
        folder: Model folder of :func:`lgdea.save_model`.
        name: ``entity`` or ``change``; other heads in the folder stay.
        head: Its weights.
        content: All that is needed to build it, and what is to be known of it, as JSON can hold it.
    """
    folder = Path(folder)
    weights = {key: tensor.detach().cpu().contiguous() for key, tensor in head.state_dict().items()}
    (folder / f"{name}_head.json").unlink(missing_ok=True)  # it seals the weights
    with runs.atomic(folder / f"{name}_head.safetensors") as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})
    head_file = {"format_version": FORMAT_VERSION, "lgdea_version": __version__, **content}
    # Last: without it there is no head.
    runs.write_json(folder / f"{name}_head.json", seal(head_file, folder, [f"{name}_head.safetensors"]))


def read_head(folder: str | Path, name: str) -> dict[str, Any]:
    """Read what :func:`save_head` wrote as ``content``.

    Raises:
        UsageError: The model folder has no such head, or a newer lgdea wrote it.
        DataError: The file cannot be read.
    """
    file = Path(folder) / f"{name}_head.json"
    if not file.exists():
        raise UsageError(
            f"the model has no {name} head",
            file=folder,
            remedy=f"train one: `lgdea compare train --config {name} MODEL ARCHIVE ...`",
        )
    content = read_manifest(file, what="head's file", remedy="copy the folder again")
    check_file(file.with_suffix(".safetensors"), content, file.parent)
    version = content.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise UsageError(
            f"the head has format version {version!r}, this lgdea reads {FORMAT_VERSION}",
            file=file,
            remedy="upgrade lgdea",
        )
    return content


def fill_head(folder: str | Path, name: str, head: nn.Module) -> None:
    """Give a head its saved weights.

    Raises:
        DataError: The file of weights is missing or damaged, or does not fit the head.
    """
    file = Path(folder) / f"{name}_head.safetensors"
    try:
        head.load_state_dict(load_file(file))
    except (SafetensorError, OSError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise DataError(
            f"the head's weights cannot be read ({first})", file=file, remedy="copy the folder again"
        ) from None
