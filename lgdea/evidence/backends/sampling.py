"""Sampling of a language model's answers: the options that all backends of language models share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lgdea.errors import UsageError


@dataclass(frozen=True)
class Sampling:
    """Settings of the sampling of answers.

    Args:
        max_tokens: Longest answer at the first attempt, in tokens; each further attempt has twice as many.
        temperature: 0 takes the most probable token.
        seed: Of a temperature above 0.

    Raises:
        UsageError: A value is out of range.
    """

    max_tokens: int
    temperature: float
    seed: int

    def __post_init__(self) -> None:
        require_at_least("max_tokens", self.max_tokens, 1)
        require_at_least("temperature", self.temperature, 0)

    def budget(self, attempt: int) -> int:
        """Return the longest answer of an attempt, in tokens; the first is 1."""
        return self.max_tokens * 2 ** (attempt - 1)

    def describe(self) -> dict[str, Any]:
        """Return plain JSON data for ``run.json``."""
        return asdict(self)


def require_at_least(option: str, value: float, least: float) -> None:
    """Check an option of a backend.

    Raises:
        UsageError: The value is below ``least``.
    """
    if value < least:
        raise UsageError(f"options.{option} is {value}, at least {least} is needed")
