"""Weights of image towers as others publish them: found in their file, brought to the tower's shapes, and reported."""

from __future__ import annotations

import argparse
import logging
import pickle
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from lgdea.errors import DataError, UsageError, first_line
from lgdea.models.finite_weights import require_finite
from lgdea.models.image_tower import PyramidTower, TokenTower, build_whole

Weights = dict[str, Tensor]
LEAST_SHARE = 0.5
"""A file that fills less of the tower than this is of another architecture."""
NEARLY_ALL = 0.9
"""A mapping that names so much of the tower is the one; no other is looked at."""
AVERAGED = re.compile(r"(?:^|[._])(?:teacher|ema|averaged|target)")
"""Names of the averaged of two models in one file, which is the one to use."""
COUNTERS = "num_batches_tracked"
"""Of batch normalisation; older files lack it, and nothing depends on it."""

_log = logging.getLogger(__name__)


@dataclass
class Report:
    """What became of a file: how many of the backbone's tensors it filled, and what was left on either side."""

    loaded: int
    expected: int
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    """Tensors that both have, of different shapes."""
    prefix: str = ""
    folded: bool = False

    def describe(self, tower: str) -> str:
        """Return one line for the log."""
        notes = [f"prefix {self.prefix!r} taken off"] if self.prefix else []
        notes += ["stem folded to one channel"] if self.folded else []
        parts = [f"{self.loaded} of {self.expected} tensors of {tower} loaded", *notes]
        if self.missing:
            parts.append(f"{len(self.missing)} stay random ({_examples(self.missing)})")
        if self.misfits:
            parts.append(self.describe_misfits())
        parts.append(
            f"{len(self.unused)} of the file not used" + (f" ({_examples(self.unused)})" if self.unused else "")
        )
        return "; ".join(parts)

    def describe_misfits(self) -> str:
        """Return how many tensors have another shape, and the first."""
        return f"{len(self.misfits)} of another shape, such as {self.misfits[0]}"


def read_checkpoint(file: str | Path) -> Mapping[str, Any]:
    """Read a file of weights without running anything that it holds.

    Args:
        file: safetensors, or anything that ``torch.save`` wrote, whatever its name.

    Returns:
        Its content: tensors by name, or nested mappings that hold them.

    Raises:
        DataError: The file is missing, damaged, or no file of weights.
        UsageError: It holds Python objects besides tensors and plain data.
    """
    file = Path(file)
    if file.is_dir():
        raise DataError("is a folder, not a file of weights", file=file, remedy="set image.weights to a file in it")
    if not file.is_file():
        raise DataError("the file of weights is missing", file=file, remedy="set image.weights to a file, or to null")
    kind = _format_of(file)
    if kind == "unknown":
        raise DataError(
            "is no file of weights: neither safetensors nor what torch.save writes",
            file=file,
            remedy="download it again, or convert it to safetensors",
        )
    try:
        if kind == "safetensors":
            return load_file(file)
        with torch.serialization.safe_globals(_plain_data()):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f"Python objects ({found[1]})" if found else "more than tensors"
        raise UsageError(
            f"holds {what}, which could run code and are never unpickled",
            file=file,
            remedy="save its weights alone: torch.save(model.state_dict(), FILE), or as safetensors",
        ) from None
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        if "TorchScript" in str(error):
            raise UsageError(
                "is a TorchScript program, which would have to run to be read",
                file=file,
                remedy="save its weights alone: torch.save(model.state_dict(), FILE)",
            ) from None
        raise DataError(
            f"is damaged, or no file of weights ({first_line(error, 120)})", file=file, remedy="copy it again"
        ) from None
    if not isinstance(content, Mapping):
        raise DataError(
            f"holds a {type(content).__name__}, no tensors by name", file=file, remedy="save the model's state_dict"
        )
    return content


def _format_of(file: Path) -> Literal["safetensors", "torch", "unknown"]:
    """The format, by the first bytes: names often say another."""
    with file.open("rb") as stream:
        head = stream.read(9)
    if file.suffix.lower() == ".safetensors" or head[8:] == b"{":  # the length of a header of JSON, and the header
        return "safetensors"
    return "torch" if head[:2] in (b"PK", b"\x80\x02") or not head else "unknown"


def _plain_data() -> list[Any]:
    """What training scripts save beside weights, and what can run nothing: their arguments, and numbers of numpy."""
    kinds: list[Any] = [argparse.Namespace, np.dtype, *{type(np.dtype(name)) for name in ("f4", "f8", "i4", "i8", "?")}]
    scalar = np.float64(0).__reduce__()[0]
    if not torch.__version__.startswith("2.5."):  # newer ones also know what older versions of numpy call it
        return [*kinds, *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core"))]
    return [*kinds, scalar]


def load_published(tower: nn.Module, content: Mapping[str, Any], file: Path) -> Report:
    """Give a tower's backbone the weights of a published checkpoint, and log what was not used.

    Args:
        tower: Of :func:`lgdea.models.image_tower.build_image_tower`.
        content: Of :func:`read_checkpoint`.
        file: Named in the log and in errors.

    Returns:
        What was loaded.

    Raises:
        DataError: The file holds no tensors, or nearly none that fit.
    """
    backbone: nn.Module = tower.backbone  # type: ignore[assignment]
    name = str(tower.name)
    whole = build_whole(tower) if isinstance(tower, PyramidTower | TokenTower) else backbone
    places = _published_names(backbone, whole)  # published name -> name in the backbone
    weights, prefix = _find(content, whole, file)
    taken, report = _match(weights, places, backbone, prefix)
    if report.loaded < LEAST_SHARE * report.expected:
        what = f"it holds {_examples(weights)}; {name} has {_examples(places)}"
        raise DataError(
            f"only {report.loaded} of the {report.expected} tensors of {name} fit the file's {len(weights)} "
            f"({report.describe_misfits() if report.misfits else what})",
            file=file,
            remedy="set image.tower to the architecture of the weights",
        )
    require_finite(taken.items(), file)
    backbone.load_state_dict(taken, strict=False)
    level = logging.WARNING if report.missing else logging.INFO
    _log.log(level, "%s: %s", file, report.describe(name))
    return report


def _published_names(backbone: nn.Module, whole: nn.Module) -> dict[str, str]:
    """The backbone's names by their published ones: timm's wrappers for features join the first two parts by ``_``."""
    published = set(whole.state_dict())
    names = {}
    for name in backbone.state_dict():
        first, dot, rest = name.partition(".")
        candidates = [name, name.removeprefix("model.")]
        candidates += [f"{first[:i]}.{first[i + 1 :]}{dot}{rest}" for i, c in enumerate(first) if c == "_"]
        names[next((c for c in candidates if c in published), name)] = name
    return names


def _find(content: Mapping[str, Any], whole: nn.Module, file: Path) -> tuple[Weights, str]:
    """The weights in a file, under the names of ``whole``, and the prefix that was taken off.

    Of all mappings of tensors and all prefixes of their names, that is taken which names most of what is expected,
    as it is or after timm's conversion of other projects' names.
    """
    expected = set(whole.state_dict())
    candidates: list[tuple[int, bool, int, Weights, str]] = []
    for path, tensors in _mappings(content):
        prefixes = Counter(prefix for name in tensors for prefix in _prefixes(name, expected))
        for prefix in {**prefixes, "": 0, _common_prefix(tensors): 0}:
            averaged = bool(AVERAGED.search(f"{'.'.join(path)}.{prefix}"))
            candidates.append((prefixes[prefix], averaged, -len(prefix), tensors, prefix))
    if not candidates:
        raise DataError("holds no tensors by name", file=file, remedy="save the model's state_dict")
    candidates.sort(key=lambda candidate: candidate[:3], reverse=True)
    found: list[tuple[Weights, str]] = []
    for count, _, _, tensors, prefix in candidates:
        stripped = {name.removeprefix(prefix): value for name, value in tensors.items()}
        found.append((_convert(stripped, whole), prefix))
        if count >= NEARLY_ALL * len(expected):
            break
    return max(found, key=lambda pair: len(expected & set(pair[0])))


def _mappings(content: Mapping[Any, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Weights]]:
    tensors = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if tensors:
        yield path, tensors
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, Mapping):
            yield from _mappings(value, (*path, key))


def _prefixes(name: str, expected: set[str]) -> Iterator[str]:
    """Every beginning of ``name``, ending in a dot or empty, after which an expected name follows."""
    starts = [0, *(i + 1 for i, c in enumerate(name) if c == ".")]
    yield from (name[:start] for start in starts if name[start:] in expected)


def _common_prefix(names: Weights) -> str:
    first, last = min(names), max(names)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[: first.rfind(".", 0, same) + 1]


def _convert(weights: Weights, whole: nn.Module) -> Weights:
    """Bring other projects' names and sizes of the same architecture to timm's, as timm does for its own downloads."""
    convert = getattr(sys.modules[type(whole).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return weights
    expected = set(whole.state_dict())
    try:
        converted = {name: value for name, value in convert(dict(weights), whole).items() if isinstance(value, Tensor)}
    except Exception:  # whatever it expects of a checkpoint, this one is not so; it is taken as it is
        return weights
    return converted if len(expected & set(converted)) >= len(expected & set(weights)) else weights


def _match(weights: Weights, places: dict[str, str], backbone: nn.Module, prefix: str) -> tuple[Weights, Report]:
    own = backbone.state_dict()
    taken, misfits, folded = {}, [], False
    for published, name in places.items():
        value, wanted = weights.get(published), own[name]
        if value is None:
            continue
        value, was_folded = _folded(value, wanted)
        if value.shape != wanted.shape and published.endswith("pos_embed") and value.dim() == 3:
            value = _resized(value, wanted, backbone)
        if value.shape == wanted.shape:
            taken[name], folded = value, folded or was_folded
        else:
            misfits.append(f"{published}: {tuple(value.shape)} for {tuple(wanted.shape)}")
    counted = [published for published, name in places.items() if not name.endswith(COUNTERS)]
    missing = [published for published in counted if places[published] not in taken]
    used = {published for published, name in places.items() if name in taken}
    unused = [name for name in weights if name not in used and not name.endswith(COUNTERS)]
    return taken, Report(len(counted) - len(missing), len(counted), missing, unused, misfits, prefix, folded)


def _folded(value: Tensor, wanted: Tensor) -> tuple[Tensor, bool]:
    """A stem of three channels for grey pictures: what it gives for three equal channels."""
    if value.dim() != 4 or wanted.dim() != 4 or value.shape[1] != 3 * wanted.shape[1]:
        return value, False
    if (value.shape[0], *value.shape[2:]) != (wanted.shape[0], *wanted.shape[2:]):
        return value, False
    outputs, inputs, *kernel = value.shape
    return value.reshape(outputs, inputs // 3, 3, *kernel).sum(dim=2), True


def _resized(value: Tensor, wanted: Tensor, backbone: Any) -> Tensor:
    prefix = int(getattr(backbone, "num_prefix_tokens", 0))
    rows, columns = backbone.patch_embed.grid_size
    without = wanted.shape[1] == rows * columns  # the embedding is of the patches alone
    return resample_abs_pos_embed(value, [rows, columns], num_prefix_tokens=0 if without else prefix)


def _examples(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
