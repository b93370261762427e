"""Pictures that cannot be read: what is said of them where they are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def unreadable_notes(skipped: Sequence[Mapping[str, str]], what: str = "image") -> list[str]:
    """One line about pictures that were left out, or none.

    Args:
        skipped: ``{"id", "reason"}`` of each.
        what: What each is.

    Example:
        >>> unreadable_notes([{"id": "a.png", "reason": "a.png: no such file"}])
        ['1 image cannot be read and is left out, first a.png: no such file']
    """
    if not skipped:
        return []
    first = skipped[0]
    reason = first["reason"] if first["id"] in first["reason"] else f"{first['id']}: {first['reason']}"
    count = f"1 {what} cannot be read and is" if len(skipped) == 1 else f"{len(skipped)} {what}s cannot be read and are"
    return [f"{count} left out, first {reason}"]
