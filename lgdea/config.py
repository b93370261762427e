"""Reading configurations: YAML files merged left to right, ``key=value`` overrides, one validation at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lgdea.errors import ConfigError


class Config(BaseModel):
    """Base of every configuration: frozen, and a key that does not exist is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


C = TypeVar("C", bound=Config)


def load_config(cls: type[C], files: Iterable[str | Path] = (), overrides: Iterable[str] = ()) -> C:
    """Merge ``files`` left to right, apply ``overrides`` and validate once.

    Args:
        cls: The configuration class.
        files: YAML files; later files win, mappings merge key by key, lists are replaced.
        overrides: ``dotted.key=value`` strings; the value is parsed as YAML (``1e-4`` is a number).

    Raises:
        ConfigError: A file is missing or not a YAML mapping, an override has no ``=``, or validation
            fails; the message names the exact key.
    """
    files = list(files)
    merged: dict[str, Any] = {}
    for file in files:
        merged = merge(merged, read_yaml(file))
    for override in overrides:
        merged = merge(merged, _parse_override(override))
    try:
        return cls.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(
            explain(error), file=files[-1] if files else None, remedy="see `lgdea config schema`"
        ) from None


def read_yaml(file: str | Path) -> dict[str, Any]:
    """Read one YAML mapping; an empty file is an empty mapping."""
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("no such configuration file", file=file, remedy="check the path") from None
    except IsADirectoryError:
        raise ConfigError("is a folder, not a configuration file", file=file) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not valid YAML ({str(error).splitlines()[0]})", file=file) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError("must be a mapping of keys to values", file=file)
    return content


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``top`` laid over it; mappings merge recursively, everything else is replaced."""
    result = dict(base)
    for key, value in top.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merge(result[key], value)
        else:
            result[key] = value
    return result


def dump_yaml(config: Config) -> str:
    """The resolved configuration as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def explain(error: ValidationError) -> str:
    """All validation errors in one line, each with its dotted path."""
    parts = []
    for item in error.errors():
        path = ".".join(str(p) for p in item["loc"]) or "(top level)"
        if item["type"] == "extra_forbidden":
            parts.append(f"{path}: no such key")
        else:
            parts.append(f"{path}: {item['msg']} (got {str(item['input'])[:60]!r})")
    return "; ".join(parts)


def _parse_override(override: str) -> dict[str, Any]:
    key, sign, text = override.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"cannot read override {override!r}", remedy="write it as key=value, e.g. optimizer.lr=1e-4")
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"the value of override {override!r} is not valid YAML") from None
    if isinstance(value, str):
        # YAML 1.1 reads 1e-4 as a string because it has no dot; people mean the number.
        try:
            value = float(value)
        except ValueError:
            pass
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    return value  # type: ignore[no-any-return]
