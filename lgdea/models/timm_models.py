"""timm models for one-channel pictures; what goes wrong is said in one line."""

from __future__ import annotations

import logging
from typing import Any

import timm
from torch import nn

from lgdea.errors import ConfigError, LgdeaError, UsageError

FOLDERS = ("local-dir:", "hf-hub:")
"""Names that timm reads from a folder or from the hub, with the architecture beside the weights."""


def architecture_of(name: str) -> tuple[str, dict[str, Any]]:
    """The architecture that a folder or a hub repository of timm holds, and further arguments to build it."""
    from timm.models import _hub

    kind, _, place = name.partition(":")
    try:
        read = _hub.load_model_config_from_path if kind == "local-dir" else _hub.load_model_config_from_hf
        _, architecture, options = read(place)
    except Exception as error:
        raise UsageError(
            f"image tower {name!r} cannot be loaded ({first_line(error)})",
            remedy="give a folder with timm's config.json, or check the network",
        ) from None
    kept = {key: value for key, value in options.items() if key not in ("in_chans", "img_size", "num_classes")}
    return str(architecture), kept


def create_timm(name: str, *, pretrained: bool, image_size: int, **options: Any) -> nn.Module:
    """``timm.create_model`` for one-channel pictures of ``image_size``, its failures in one line."""
    options = {"pretrained": pretrained, "in_chans": 1, **options}
    log = logging.getLogger("timm.models._builder")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of the classifier that a tower does not have
    try:
        try:
            return timm.create_model(name, img_size=image_size, **options)
        except TypeError:  # convnets take pictures of any size and know no such argument
            return timm.create_model(name, **options)
    except LgdeaError:
        raise
    except Exception as error:
        raise _creation_error(name, image_size, pretrained, error) from None
    finally:
        log.setLevel(level)


def _creation_error(name: str, image_size: int, pretrained: bool, error: Exception) -> LgdeaError:
    base = name.split(".", maxsplit=1)[0]
    if not name.startswith(FOLDERS) and not timm.is_model(base):
        import difflib

        near = difflib.get_close_matches(base, timm.list_models(), n=3)
        remedy = f"did you mean {', '.join(near)}?" if near else "see `timm.list_models()`"
        return ConfigError(f"timm knows no image tower {name!r}", remedy=remedy)
    if pretrained:
        return UsageError(
            f"the pretrained weights of image tower {name!r} cannot be loaded ({first_line(error)})",
            remedy="check the network or the Hugging Face cache, or set pretrained: false",
        )
    return size_error(name, image_size, error)


def size_error(name: str, image_size: int, error: Exception) -> ConfigError:
    """Say that a tower does not take pictures of this size."""
    return ConfigError(
        f"image tower {name!r} cannot be built for {image_size} px pictures ({first_line(error)})",
        remedy="choose another image size or tower",
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, cut to 160 characters."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:160]
