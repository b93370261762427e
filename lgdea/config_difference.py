"""How two configurations differ, for the message that refuses to mix them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_KEYS_SHOWN = 4


def describe_difference(old: Any, new: Any) -> str:
    """Name the keys that differ: ``image.tower: a -> b``; of hashes the beginning is enough.

    Args:
        old: Nested mapping, or any other value.
        new: The same.

    Example:
        >>> describe_difference({"image": {"tower": "a"}, "seed": 0}, {"image": {"tower": "b"}, "seed": 0})
        'image.tower: a -> b'
    """
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return f"{old} -> {new}"
    before, after = _flatten(old), _flatten(new)
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    shown = [f"{key}: {_shorten(before.get(key))} -> {_shorten(after.get(key))}" for key in keys[:_KEYS_SHOWN]]
    return ", ".join([*shown, *([f"{len(keys) - _KEYS_SHOWN} more"] if len(keys) > _KEYS_SHOWN else [])])


def _flatten(content: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flatten(value, f"{above}{key}.") if isinstance(value, dict) and value else {f"{above}{key}": value}
    return flat


def _shorten(value: Any) -> str:
    text = str(value)
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:8]
    return text if len(text) <= 60 else f"{text[:25]}...{text[-25:]}"


def drop_keys(config: Any, keys: Sequence[str]) -> Any:
    """Copy a nested configuration without some keys.

    Args:
        config: Plain data.
        keys: Dotted (``trainer.devices``); those that it lacks are passed over.
    """
    copy = json.loads(json.dumps(config))
    for key in keys:
        *above, last = key.split(".")
        place = copy
        for name in above:
            place = place.get(name, {}) if isinstance(place, dict) else {}
        if isinstance(place, dict):
            place.pop(last, None)
    return copy


def add_defaults(old: Any, new: Any, stated: Any) -> Any:
    """Complete the configuration of a run that an earlier version of lgdea began, which had fewer settings.

    A setting that is new since means as a default what was always done.

    Args:
        old: Plain data, of the run.
        new: Plain data, of today.
        stated: Those settings of ``new`` that are not at their defaults.

    Returns:
        ``old`` with the settings of ``new`` that it lacks and that nobody has stated.

    Example:
        >>> add_defaults({"seed": 1}, {"seed": 0, "keep": "last", "steps": 9}, {"seed": 0, "steps": 9})
        {'seed': 1, 'keep': 'last'}
    """
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return old
    told = stated if isinstance(stated, dict) else {}
    added = {key: value for key, value in new.items() if key not in old and key not in told}
    return {**{key: add_defaults(value, new.get(key), told.get(key)) for key, value in old.items()}, **added}
