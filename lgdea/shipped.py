"""The files that ship beside the code: prompts, configurations, data cards.

In a source checkout they stand at the top of the repository; the wheel carries them inside the package.
"""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from lgdea.errors import UsageError


def shipped(kind: str) -> Traversable:
    """The folder of shipped files of one ``kind``: ``prompts``, ``configs`` or ``data_cards``.

    Raises:
        UsageError: The installation lacks it.
    """
    package = resources.files("lgdea")
    in_wheel = package / "_shipped" / kind
    if in_wheel.is_dir():
        return in_wheel
    in_checkout = Path(str(package)).parent / kind
    if in_checkout.is_dir():
        return in_checkout
    raise UsageError(f"this installation ships no {kind}", remedy="reinstall lgdea")
