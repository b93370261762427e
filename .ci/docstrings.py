"""Extension of griffe: docstrings as the package writes them, in the words that mkdocstrings reads."""

from __future__ import annotations

import re
from typing import Any

import griffe

import lgdea

_ROLE = re.compile(r":[a-z]+:`~?([\w.]+)`")
_PUBLIC = {f"lgdea.{name}" for name in lgdea.__all__}


def _reference(role: re.Match[str]) -> str:
    name = role[1]
    return f"[`{name}`][{name}]" if name in _PUBLIC else f"`{name}`"


class Docstrings(griffe.Extension):
    """Turns roles of Sphinx into references, and ``Example:`` into the section that shows code as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of ``obj``."""
        if obj.docstring is not None:
            text = _ROLE.sub(_reference, obj.docstring.value)
            obj.docstring.value = re.sub(r"(?m)^( *)Example:$", r"\1Examples:", text)
