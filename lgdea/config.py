"""Reading configurations: YAML files and overrides merged left to right, one validation at the end."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lgdea.errors import ConfigError, LgdeaError
from lgdea.reading import DEEPEST, parse_yaml, read_text

_COMMENT_WIDTH = 110
_SCIENTIFIC = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")  # :func:`~lgdea.room.name` reads as `name`


class Config(BaseModel):
    """Base of every configuration: frozen, an unknown key is an error, the string below a field describes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    stage: ClassVar[str | None] = None
    """Name of this configuration in `lgdea config schema`, if a command reads it."""


C = TypeVar("C", bound=Config)


def load_config(cls: type[C], files: Iterable[str | Path] = (), overrides: Iterable[str | Mapping[str, Any]] = ()) -> C:
    """Merge ``files``, then ``overrides``, left to right and validate once.

    Args:
        cls: The configuration class.
        files: YAML files; later files win, mappings merge key by key, lists are replaced.
        overrides: Nested mappings of values (``{"data": {"archive": Path("my #1")}}``), taken as they are; or the
            command line's ``dotted.key=value`` strings, read by :func:`parse_override`.

    Raises:
        ConfigError: A file is missing or not a YAML mapping, an override has no ``=``, or validation
            fails; the message names the exact key.
    """
    files = list(files)
    merged: dict[str, Any] = {}
    for file in files:
        merged = merge(merged, read_yaml(file))
    for override in overrides:
        merged = merge(merged, parse_override(override, cls) if isinstance(override, str) else override)
    return validate(cls, merged, file=files[-1] if files else None)


def validate(
    cls: type[C], content: Mapping[str, Any], *, file: str | Path | None = None, remedy: str | None = None
) -> C:
    """Make a ``cls`` of nested mappings.

    Args:
        cls: The configuration class.
        content: Its keys and values.
        file: File that an error names.
        remedy: Advice of an error; by default the command that prints the schema of ``cls``, if there is one.

    Raises:
        ConfigError: A key is unknown or a value is wrong; the message names the exact key.
    """
    try:
        return cls.model_validate(content)
    except ValidationError as error:
        schema = f"see `lgdea config schema {cls.stage}`" if cls.stage else None
        raise ConfigError(explain(error, cls), file=file, remedy=remedy or schema) from None


def read_yaml(file: str | Path) -> dict[str, Any]:
    """Read one YAML mapping; an empty file is an empty mapping."""
    try:
        content = parse_yaml(read_text(file, what="configuration file"))
    except LgdeaError as error:
        raise ConfigError(error.problem, file=file, row=error.row, remedy=error.remedy) from None
    except ValueError as error:
        raise ConfigError(f"is not valid YAML ({error})", file=file) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError("must be a mapping of keys to values", file=file)
    return content


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Lay ``top`` over ``base``.

    Args:
        base: Nested mappings; stays as it is.
        top: Nested mappings that win; mappings merge recursively, everything else is replaced.
    """
    result = dict(base)
    for key, value in top.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merge(result[key], value)
        else:
            result[key] = value
    return result


def nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``{"data.archive": value}`` into ``{"data": {"archive": value}}``."""
    result: dict[str, Any] = {}
    for key, value in settings.items():
        nested = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        result = merge(result, nested)
    return result


def parse_override(override: str, cls: type[BaseModel]) -> dict[str, Any]:
    """Read one ``dotted.key=value`` of the command line as a nested mapping.

    A field of text or of a path takes the value as it is written, so that ``#``, ``:``, blanks and quotes survive;
    ``null`` and an empty value stand for none. All other values are read as YAML (``1e-4`` is a number).

    Raises:
        ConfigError: There is no ``=``, or the value should be YAML and is not.
    """
    key, sign, text = override.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"cannot read override {override!r}", remedy="write it as key=value, e.g. optimizer.lr=1e-4")
    parts = key.strip().split(".")
    if len(parts) > DEEPEST:
        raise ConfigError(f"override {key[:40]!r}... names a key below {len(parts):,} others", remedy="check the key")
    kinds = _kinds_at(cls, parts)
    if _is_null(text):
        value: Any = None
    elif kinds and all(_is_text(kind) for kind in kinds):
        value = text
    elif any(_is_text(kind) for kind in kinds):
        value = parse_value(text)
    else:
        try:
            value = _parse_yaml(text)
        except ValueError as error:
            raise ConfigError(f"the value of override {key.strip()!r} is not valid YAML ({error})") from None
    return nest({key.strip(): value})


def parse_value(text: str) -> Any:
    """Read a value that may be text or something else.

    Numbers, truth values, ``null``, ``[lists]`` and ``{mappings}`` are read as YAML; all else is text as it is written,
    even what YAML would take for a comment (``#1``), a mapping (``C: x``), a date or a number of base 60 (``12:30``).
    """
    if _is_null(text):
        return None
    try:
        value = _parse_yaml(text)
    except ValueError:
        return text
    if isinstance(value, list | dict):
        return value if text.lstrip()[0] in "[{" else text
    return value if isinstance(value, bool | int | float) and not set(text) & set("#:") else text


def _is_null(text: str) -> bool:
    return text.strip() in ("", "null", "~")


def _parse_yaml(text: str) -> Any:
    if _SCIENTIFIC.fullmatch(text.strip()):
        return float(text)  # YAML 1.1 reads 1e-4 as a string because it has no dot; people mean the number
    return parse_yaml(text)


def _is_text(kind: Any) -> bool:
    return kind in (str, Path) or (get_origin(kind) is Literal and all(isinstance(v, str) for v in get_args(kind)))


def _kinds_at(cls: Any, keys: list[str]) -> list[Any]:
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


def dump_yaml(config: Config) -> str:
    """Write out the resolved configuration as YAML, with every default."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def dump_commented_yaml(config: Config) -> str:
    """Write out the resolved configuration as YAML, the description of each field above it as a comment."""
    return "\n".join(_commented_lines(config, config.model_dump(mode="json", by_alias=True), "")) + "\n"


def _commented_lines(config: BaseModel, dumped: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, field in type(config).model_fields.items():
        key, value = field.alias or name, getattr(config, name)
        yield from _comment(field.description or "", indent)
        if isinstance(value, BaseModel):
            yield f"{indent}{key}:"
            yield from _commented_lines(value, dumped[key], indent + "  ")
        else:
            text = yaml.safe_dump({key: dumped[key]}, sort_keys=False, allow_unicode=True, width=_COMMENT_WIDTH)
            yield from (indent + line for line in text.splitlines())


def json_schema(cls: type[Config]) -> dict[str, Any]:
    """Make the JSON Schema of a configuration: keys, types, limits, defaults and descriptions."""

    def tidy(part: Any) -> Any:
        if isinstance(part, list):
            return [tidy(item) for item in part]
        if not isinstance(part, dict):
            return part
        return {
            key: plain_text(value) if key == "description" and isinstance(value, str) else tidy(value)
            for key, value in part.items()
        }

    return dict(tidy(cls.model_json_schema()))


def plain_text(text: str) -> str:
    """A docstring without the marks of reStructuredText.

    Args:
        text: The docstring.
    """
    return " ".join(_ROLE.sub(r"`\1`", text).replace("``", "`").split())


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        plain_text(text), _COMMENT_WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
    )


def explain(error: ValidationError, cls: type[BaseModel] | None = None) -> str:
    """Put all validation errors into one line, each with its dotted path.

    Args:
        error: Of pydantic.
        cls: The class that was validated, for a "did you mean" behind an unknown key.
    """
    parts = []
    for item in error.errors():
        path = ".".join(str(p) for p in item["loc"]) or "(top level)"
        if item["type"] == "extra_forbidden":
            parts.append(f"{path}: no such key{'' if cls is None else did_you_mean(cls, item['loc'])}")
        elif item["type"] == "missing":
            parts.append(f"{path}: is required")
        else:
            parts.append(f"{path}: {item['msg']} (got {str(item['input'])[:60]!r})")
    return "; ".join(parts)


def did_you_mean(cls: type[BaseModel], path: Iterable[int | str]) -> str:
    """Propose the valid key nearest to the unknown one at the end of ``path``; empty when none is near."""
    *parents, wrong = (str(part) for part in path)
    siblings = [key for kind in _kinds_at(cls, list(parents)) for key in _keys(kind)]
    near = get_close_matches(wrong, siblings, n=1)
    if near:
        return f"; did you mean {'.'.join([*parents, *near])}?"
    everywhere = list(_paths(cls))
    near = [path for path in everywhere if path.rpartition(".")[2] == wrong]
    return f"; did you mean {' or '.join(near)}?" if near else ""


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
