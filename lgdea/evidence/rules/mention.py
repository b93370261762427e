"""A mention of a finding and what was attached to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from lgdea.evidence.rules.hit import Hit

LIST = frozenset({",", "and", "or", "/", "nor"})


@dataclass(slots=True)
class Mention:
    """A finding at tokens ``i`` to ``j``; ``used`` holds the tokens of everything that was attached to it."""

    finding: str
    i: int
    j: int
    normal: bool = False
    """Made by "the heart is normal": the finding is denied."""
    general: str | None = None
    """What the finding was before its structure made it more special: the "fracture" of a rib fracture."""
    place: str | None = None
    place_hit: Hit | None = None
    laterality: str = "unspecified"
    severity: str = "unspecified"
    change: str = "unspecified"
    head: str | None = None
    plural: bool = False
    """The side comes from a plural ("the diaphragms") instead of a word like "both"."""
    more: list[tuple[str | None, str, str | None]] = field(default_factory=list)
    """The same finding elsewhere: structure, side and, where it is another, severity."""
    used: set[int] = field(default_factory=set)
