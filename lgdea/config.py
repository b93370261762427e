"""Reading configurations: YAML files and overrides merged left to right, one validation at the end."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lgdea.config_errors import Layer, explain_layers, kinds_at
from lgdea.errors import ConfigError, LgdeaError
from lgdea.reading import DEEPEST, parse_yaml, read_text

_COMMENT_WIDTH = 110
_LONGEST_SHOWN = 100  # characters of an override in a message
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
        ConfigError: A file is missing or not a YAML mapping, an override has no ``=``, or validation fails; the message
            names the exact key, and the file or the override that is wrong.
    """
    layers = [Layer(read_yaml(file), file=str(file)) for file in files]
    for override in overrides:
        if isinstance(override, str):
            layers.append(Layer(parse_override(override, cls), name=f"--set {_shorten(override)}"))
        else:
            layers.append(Layer(override))
    return validate_layers(cls, layers)


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
    return validate_layers(cls, [Layer(content, file=None if file is None else str(file))], remedy=remedy)


def validate_layers(cls: type[C], layers: Sequence[Layer], *, remedy: str | None = None) -> C:
    """Merge parts of a configuration left to right and make a ``cls`` of them.

    Args:
        cls: The configuration class.
        layers: The parts.
        remedy: As of :func:`validate`.

    Raises:
        ConfigError: A key is unknown or a value is wrong; the message names the exact key, and where it was given.
    """
    parts: list[dict[str, Any]] = [{}]
    for layer in layers:
        parts.append(merge(parts[-1], layer.content))
    try:
        return cls.model_validate(parts[-1])
    except ValidationError as error:
        errors = [*(_error_of(cls, part) for part in parts[:-1]), error]
        schema = f"see `lgdea config schema {cls.stage}`" if cls.stage else None
        raise ConfigError(explain_layers(errors, layers, cls), remedy=remedy or schema) from None


def _error_of(cls: type[C], content: Mapping[str, Any]) -> ValidationError | None:
    try:
        cls.model_validate(content)
    except ValidationError as error:
        return error
    return None


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
        raise ConfigError(f"--set {key[:40]}... names a key below {len(parts):,} others", remedy="check the key")
    _refuse_entries(cls, parts, override)
    kinds = kinds_at(cls, parts)
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
            raise ConfigError(f"the value of --set {key.strip()} is not valid YAML ({error})") from None
    return nest({key.strip(): value})


def _shorten(override: str) -> str:
    return override if len(override) <= _LONGEST_SHOWN else f"{override[:_LONGEST_SHOWN]}..."


def _refuse_entries(cls: type[BaseModel], parts: list[str], override: str) -> None:
    """Refuse a key below a list, whose entries have no names."""
    for place, part in enumerate(parts):
        kinds = kinds_at(cls, parts[:place])
        if part.lstrip("-").isdigit() and kinds and all(get_origin(kind) in (list, tuple) for kind in kinds):
            whole = ".".join(parts[:place])
            remedy = f"give the list whole, {whole}=[...], or change it in a YAML file"
            raise ConfigError(
                f"--set {_shorten(override)}: {whole} is a list, whose entries are not set one by one", remedy=remedy
            )


def parse_value(text: str) -> Any:
    """Read a value that may be text or something else.

    Numbers, truth values, ``null``, ``[lists]`` and ``{mappings}`` are read as YAML; all else is text as it is written,
    even what YAML would take for a comment (``#1``), a mapping (``C: x``), a date or a number of base 60 (``12:30``).
    A template (``{image}``) is text: only what has a colon is a mapping.
    """
    if _is_null(text):
        return None
    try:
        value = _parse_yaml(text)
    except ValueError:
        return text
    if isinstance(value, dict) and value and ":" not in text:
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
