"""The configuration of an extraction (``configs/extract/*.yaml``)."""

from __future__ import annotations

from pydantic import Field

from lgdea.config import Config


class ExtractConfig(Config):
    """Who extracts, with which prompt, and how much may be rejected."""

    backend: str = "rules"
    """Name in the entry-point group ``lgdea.backends``."""
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Passed to the backend's ``create``."""
    prompt: str | None = None
    """Prompt id, for backends that need one."""
    max_rejected: float = Field(0.05, ge=0, le=1)
    """Allowed share of rejected reports, and of units whose quote is not in the report."""
