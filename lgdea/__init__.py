"""lgdea: image-text pretraining from diagnostic evidence when few images are linked to their reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lgdea.version import __version__

if TYPE_CHECKING:
    from lgdea.models.serialization import load_model as load_model

__all__ = ["__version__", "load_model"]


def __getattr__(name: str) -> Any:
    # torch costs seconds to import; `import lgdea` and `lgdea --help` must not pay for it.
    if name == "load_model":
        from lgdea.models.serialization import load_model

        return load_model
    raise AttributeError(f"module 'lgdea' has no attribute {name!r}")
