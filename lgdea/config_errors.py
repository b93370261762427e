"""Words for what is wrong with a configuration: the exact key, the nearest right one, and where the value was given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

_LONGEST = 60  # characters of a key or value that are shown


@dataclass(frozen=True)
class Layer:
    """A part of a configuration that was given in one place.

    Attributes:
        content: Nested mappings.
        file: The file that holds it.
        name: Of what is no file, such as ``--set optimizer.lr=1``; None for what needs no name.
    """

    content: Mapping[str, Any]
    file: str | None = None
    name: str | None = None


def explain(error: ValidationError, cls: type[BaseModel] | None = None) -> str:
    """Put all validation errors into one line, each with its dotted path.

    Args:
        error: Of pydantic.
        cls: The class that was validated, for a "did you mean" behind an unknown key or word.
    """
    return "; ".join(_explain_one(item, cls) for item in _causes(error))


def explain_layers(errors: Sequence[ValidationError | None], layers: Sequence[Layer], cls: type[BaseModel]) -> str:
    """Put what is wrong into one line that says where it was given.

    Args:
        errors: Of no layer, of the first, of the first two, and so on, None where they are valid; the last is told.
        layers: As they were merged.
        cls: The class that was validated.
    """
    first: dict[Any, int] = {}
    for place, error in enumerate(errors):
        here = {_identity(item) for item in (error.errors() if error else ())}
        first = {key: first.get(key, place) for key in here}
    # What is wrong with no layer at all is missing in the last file.
    files = [layer.file for layer in layers if layer.file]
    names = [files[-1] if files else None, *(layer.file or layer.name for layer in layers)]
    told: dict[str | None, list[str]] = {}
    for item in _causes(errors[-1]) if errors[-1] else ():
        absent = item["type"] == "missing" and all(isinstance(part, str) for part in item["loc"])
        name = names[0 if absent else first[_identity(item)]]
        text = _explain_one(item, cls)
        key = text.partition(": ")[0]
        says_so = (name or "").startswith((f"--set {key}=", f"--option {key}="))
        told.setdefault(name, []).append(text.removeprefix(f"{key}: ") if says_so else text)
    return "; ".join((f"{name}: " if name else "") + "; ".join(texts) for name, texts in told.items())


def _causes(error: ValidationError) -> list[Any]:
    """The errors without those that only follow: a list whose wrong items pydantic has dropped is then too short."""
    items: list[Any] = error.errors()
    wrong = [item["loc"] for item in items]
    return [
        item for item in items
        if item["type"] != "too_short" or not any(loc[: len(item["loc"])] == item["loc"] != loc for loc in wrong)
    ]  # fmt: skip


def _identity(item: Any) -> tuple[Any, ...]:
    """What makes two errors the same; of a key that is missing, or of a whole mapping, the content does not."""
    given = item["input"]
    plain = item["type"] != "missing" and not isinstance(given, dict)
    return item["loc"], item["type"], item["msg"], repr(given) if plain else None


def _explain_one(item: Any, cls: type[BaseModel] | None) -> str:
    path = ".".join(_short(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{path}: no such key{'' if cls is None else did_you_mean(cls, item['loc'])}"
    if item["type"] == "missing":
        return f"{path}: is required"
    near = ""
    if item["type"] == "literal_error" and cls is not None:
        words = [str(word) for kind in kinds_at(cls, [str(part) for part in item["loc"]]) for word in _words(kind)]
        close = get_close_matches(str(item["input"]), words, n=1)
        near = f"; did you mean {close[0]}?" if close else ""
    message = " ".join(str(item["msg"]).split()).removeprefix("Value error, ")
    if not item["loc"]:  # of keys together, which the message names: the whole configuration would be shown
        return message
    return f"{path}: {message} (got {_short(item['input'])!r}){near}"


def _words(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _short(value: Any) -> str:
    """One line of at most sixty characters."""
    return " ".join(str(value)[:_LONGEST].split())


def did_you_mean(cls: type[BaseModel], path: Iterable[int | str]) -> str:
    """Propose the valid key nearest to the unknown one at the end of ``path``; empty when none is near."""
    *parents, wrong = (str(part) for part in path)
    siblings = [key for kind in kinds_at(cls, list(parents)) for key in _keys(kind)]
    near = get_close_matches(wrong, siblings, n=1)
    if near:
        return f"; did you mean {'.'.join([*parents, *near])}?"
    everywhere = list(_paths(cls))
    near = [path for path in everywhere if path.rpartition(".")[2] == wrong]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def kinds_at(cls: Any, keys: list[str]) -> list[Any]:
    """Types that the value at a path of keys may have, without None; none when there is no such key."""
    kinds = [cls]
    for key in keys:
        kinds = [kind for outer in kinds for kind in _kinds_below(outer, key)]
    return kinds


def _kinds_below(kind: Any, key: str) -> Iterator[Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            if key == (field.alias or name):
                yield from _alternatives(field.annotation)
    elif get_origin(kind) is dict:
        yield from _alternatives(get_args(kind)[1])
    elif get_origin(kind) in (list, tuple):  # the key is a position
        yield from _alternatives(get_args(kind)[0])
    elif kind is Any:
        yield str  # of an untyped mapping: text unless it reads as something else
        yield Any


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types of a union, without None and without what ``Annotated`` adds."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _alternatives(part)
    elif annotation is Any:
        yield from (str, Any)
    elif annotation is not type(None):
        yield annotation


def _keys(kind: Any) -> list[str]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [field.alias or name for name, field in kind.model_fields.items()]
    return []


def _paths(kind: Any, before: str = "") -> Iterator[str]:
    """Dotted paths of all keys of a configuration class."""
    for key in _keys(kind):
        yield before + key
        for below in _kinds_below(kind, key):
            yield from _paths(below, f"{before}{key}.")
