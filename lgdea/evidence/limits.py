"""Shares of a run that may be lost: what was rejected, and what a language model answered with nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lgdea.errors import RejectedShareError
from lgdea.evidence.io import QUALITY, REJECTS
from lgdea.evidence.language_check import OTHER_LANGUAGES, list_languages

SUSPICIOUS_SHARE = 0.9
"""Share of empty answers that is warned of; a model too weak for its prompt has more, also with every report normal."""

_log = logging.getLogger(__name__)


def rejected_shares(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the rejected share of the reports, of the questions, and of the units (quote not in the report)."""
    return {
        "reports": summary["rejected"] / max(1, summary["reports"]),
        "questions": summary.get("rejected_questions", 0) / max(1, summary.get("questions", 0)),
        "units": summary["share_unaligned"],
    }


def check_rejected(summary: Mapping[str, Any], allowed: float, out: Path) -> None:
    """Compare the rejected shares with what is allowed.

    Raises:
        RejectedShareError: One is larger.
    """
    for what, share in rejected_shares(summary).items():
        if share > allowed:
            languages = summary.get("rejected_languages") if what != "units" else None
            why = f" ({list_languages(languages)})" if languages else ""
            are_most = languages and 2 * sum(languages.values()) > summary["rejected"]
            remedy = OTHER_LANGUAGES if are_most else "read the reasons there"
            raise RejectedShareError(
                f"{share:.1%} of the {what} were rejected{why}, allowed are {allowed:.1%}",
                file=out / REJECTS,
                remedy=f"{remedy}, or allow more with --max-rejected",
            )


def check_empty(summary: Mapping[str, Any], allowed: float, out: Path) -> None:
    """Tell a model that reads from one that answers everything with nothing: both reject nothing.

    Raises:
        RejectedShareError: More answers than allowed have no unit.
    """
    empty, questions = summary.get("empty_answers", 0), summary["questions"]  # earlier versions did not count them
    share, silent = empty / max(1, questions), summary["reports"] - summary["reports_with_units"]
    what = f"{share:.1%} of the questions were answered with no unit"
    what += f", {silent:,} of {summary['reports']:,} reports have none"
    remedy = "look at some answers, and try a larger model or another prompt"
    if share > allowed:
        raise RejectedShareError(
            f"{what}; allowed are {allowed:.1%}", file=out / QUALITY, remedy=f"{remedy}, or allow more with --max-empty"
        )
    if share >= SUSPICIOUS_SHARE:
        _log.warning("%s; %s", what, remedy)
