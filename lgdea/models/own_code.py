"""Models of transformers by name: is there one, and may the Python files run that it brings along."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from transformers.utils import SAFE_WEIGHTS_NAME, WEIGHTS_NAME

from lgdea.errors import UsageError, first_line
from lgdea.foreign_code import refusal


def require_place(name: str | Path, what: str) -> None:
    """Check that a model's name is a folder, or can be one of the Hugging Face Hub.

    Args:
        name: As it was given.
        what: What it names, such as ``tokenizer``.

    Raises:
        UsageError: It is neither.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    place = Path(name)
    if str(name) and place.is_dir():
        if not any(place.iterdir()):
            raise UsageError(f"the folder of the {what} is empty", file=name, remedy="check the path, or copy it again")
        return
    if str(name) and place.exists():
        problem = f"is a file, not the folder of the {what}"
        raise UsageError(problem, file=name, remedy="name the folder, which holds config.json")
    try:
        validate_repo_id(str(name))
    except HFValidationError:
        problem = f"no such folder of the {what}, and no name that the Hugging Face Hub can have"
        remedy = "check the path (~ is not resolved), or write NAME or ORGANISATION/NAME"
        raise UsageError(problem, file=str(name) or "''", remedy=remedy) from None


@contextmanager
def unasked(name: str | Path) -> Iterator[None]:
    """Load ``name`` inside this block; a model that needs Python files of its own is refused unless they may run.

    It also covers what other packages load through transformers, such as open_clip's text towers: transformers asks
    nobody when it may wait no time for the answer.

    Raises:
        UsageError: The model needs its own code.
    """
    from transformers import dynamic_module_utils

    patience = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise refusal(name) from None
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = patience


@contextmanager
def quietly() -> Iterator[None]:
    """Keep transformers from logging warnings inside this block."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def loading_error(what: str, name: str | Path, error: Exception, *, otherwise: str = "") -> UsageError:
    """Say in one line why transformers could not load a model.

    Args:
        what: What was to be loaded, such as ``text tower``.
        name: Folder, or name of the Hub.
        error: What transformers raised.
        otherwise: What else the user can do about a name of the Hub.
    """
    folder = Path(name)
    if not folder.is_dir():
        return UsageError(
            f"{what} {str(name)!r} cannot be loaded, and is no folder here ({first_line(error)})",
            remedy=f"check the name, the network or the Hugging Face cache{otherwise}",
        )
    if isinstance(error, pickle.UnpicklingError):
        return UsageError(
            f"holds more than the tensors of the {what}: Python objects could run code and are never unpickled",
            file=folder / WEIGHTS_NAME,
            remedy="save the weights as safetensors: model.save_pretrained(FOLDER)",
        )
    if isinstance(error, SafetensorError) and (folder / SAFE_WEIGHTS_NAME).is_file():
        problem = f"the weights of the {what} are damaged ({first_line(error)})"
        return UsageError(problem, file=folder / SAFE_WEIGHTS_NAME, remedy="copy the file again")
    told = f"{type(error).__name__}: {first_line(error)}"
    remedy = "copy the whole folder again; config.json and, for a tokenizer, tokenizer.json have to be whole"
    return UsageError(f"the {what} in this folder cannot be loaded ({told})", file=name, remedy=remedy)
