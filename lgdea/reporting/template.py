"""Filling the page templates: one file, no request, no script but the package's own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lgdea.version import __version__


def fill(
    template: str,
    *,
    styles: Sequence[str],
    scripts: Sequence[str],
    **context: Any,
) -> str:
    """Fill ``template``; everything is escaped unless it is :class:`markupsafe.Markup` made in this package.

    Args:
        template: File in ``templates/``.
        styles: Style sheets there, joined into ``style``.
        scripts: Scripts there, joined into ``script``; ``script_hash`` is what a content security policy needs.
        context: Variables of the template.
    """
    environment = Environment(
        loader=PackageLoader("lgdea.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FORMATS
    script = "".join(_asset(environment, name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        style=Markup("".join(_asset(environment, name) for name in styles)),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        version=__version__,
        **context,
    )


def _asset(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0] + "\n"


def grouped(value: int) -> str:
    """A number with its thousands apart.

    >>> grouped(12345)
    '12\u202f345'
    """
    return f"{value:,}".replace(",", "\u202f")


def words(identifier: str) -> str:
    """An identifier as words."""
    return identifier.replace("_", " ")


def _number(value: float) -> str:
    return (f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}").replace("-", "−")


def _signed(value: float) -> str:
    return (f"{value:+.3f}" if abs(value) < 10 else f"{value:+.1f}").replace("-", "−")


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


_FORMATS: dict[str, Callable[..., str]] = {
    "number": _number,
    "signed": _signed,
    "count": grouped,
    "words": words,
    "p_value": _p_value,
}
