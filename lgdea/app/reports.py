"""Evidence of a report that somebody pastes: marked in its text, as a table, as files."""

from __future__ import annotations

import ipaddress
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pandas as pd
from markupsafe import Markup

from lgdea.app.bench import AppSettings
from lgdea.app.fragments import badge, note, table
from lgdea.errors import UsageError
from lgdea.records.csv_io import write_spreadsheet
from lgdea.reporting.examples import spans_of
from lgdea.reporting.highlight import highlight
from lgdea.runs import write_json

if TYPE_CHECKING:
    from lgdea.api.evidence import Evidence

RULES = "rules"
LONGEST = 50_000
"""Characters of a report."""
COLUMNS = (
    "finding", "assertion", "anatomy", "laterality", "severity", "change", "refers_to_prior", "section", "quote",
    "start", "end",
)  # fmt: skip
"""Of the files."""
_ID = "report"


@dataclass(frozen=True)
class ReadReport:
    """A report with its evidence; ``reader`` says who has read it."""

    text: str
    evidence: Evidence
    reader: str

    @property
    def units(self) -> pd.DataFrame:
        """Its units in the order of the text."""
        return self.evidence.to_frame().sort_values(["start", "end"], kind="stable")


def readers(settings: AppSettings) -> list[str]:
    """Names of those who can read: the rules, and the language model that the app was started with.

    Args:
        settings: What the app was started with.
    """
    return [RULES, *([settings.language_model or "language model"] if settings.url else [])]


def require_local(url: str) -> None:
    """Refuse a server that is not on this machine, by its address alone: looking up a name would leave it too.

    Args:
        url: Address of the language model's server.

    Raises:
        UsageError: It is no loopback address.
    """
    try:
        host = urlsplit(url).hostname or ""
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise UsageError(
            f"the page sends reports to this machine alone, not to {url[:80]!r}",
            remedy="serve the model here, or reach it through a tunnel: http://127.0.0.1:8000/v1",
        )


def read_report(text: str, settings: AppSettings, reader: str = RULES) -> ReadReport:
    """Extract the evidence of one report.

    Args:
        text: The report.
        settings: Where the language model is served.
        reader: One of :func:`readers`.

    Raises:
        UsageError: The text is empty or too long, or the server is not on this machine.
        EvidenceError: The server does not answer.
    """
    from lgdea.api.extraction import extract

    text = text.replace("\r\n", "\n")
    if not text.strip():
        raise UsageError("the report is empty", remedy="paste its text")
    if len(text) > LONGEST:
        raise UsageError(f"the report has {len(text):,} characters, more than {LONGEST:,}", remedy="paste one report")
    options: dict[str, Any] = {}
    if reader != RULES:
        require_local(settings.url or "")
        options = {
            "backend": "http", "url": settings.url, "model": settings.language_model, "prompt": settings.prompt,
        }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about rejects, which the page shows
        return ReadReport(text, extract({_ID: text}, **options), reader)


def marked_html(text: str, units: pd.DataFrame) -> str:
    """The report with its evidence marked, each mark followed by the finding, its assertion and its side in words.

    Args:
        text: The report, untrusted.
        units: Its units.
    """
    keys = Markup(" ").join(badge(name) for name in ("present", "absent", "uncertain"))
    body = highlight(text, spans_of(units), tags=True)
    return str(
        Markup('<p class="lg-key">{}</p><div class="lg-report" lang="en" tabindex="0" role="region" '
               'aria-label="Report with its evidence marked">{}</div>').format(keys, body)
    )  # fmt: skip


def units_html(read: ReadReport) -> str:
    """The evidence as a table, with what was left out and why.

    Args:
        read: The report that was read.
    """
    rows = [
        (
            _words(u.finding), badge(str(u.assertion)), _words(u.anatomy), _said(u.laterality), _said(u.severity),
            _said(u.change), u.section, u.quote,
        )
        for u in read.units.itertuples()
    ]  # fmt: skip
    head = ("finding", "assertion", "place", "side (the patient's)", "severity", "change", "section", "words")
    count = f"{len(rows)} {'piece' if len(rows) == 1 else 'pieces'} of evidence, read by {read.reader}"
    left = [f"left out: {reject.reason}" for reject in read.evidence.rejects]
    return (table(count, head, rows) if rows else note(f"{count}: nothing was found")) + note(*left)


def write_files(read: ReadReport, folder: Path) -> tuple[Path, Path]:
    """Write the evidence as ``evidence.json`` and ``evidence.csv``.

    Args:
        read: The report that was read.
        folder: Where; it is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{name: getattr(unit, name) for name in COLUMNS} for unit in read.units.itertuples()]
    content = {
        "reader": read.reader, "text": read.text, "units": _plain(rows),
        "rejects": [reject.reason for reject in read.evidence.rejects],
    }  # fmt: skip
    write_json(folder / "evidence.json", content)
    write_spreadsheet(folder / "evidence.csv", COLUMNS, rows)
    return folder / "evidence.json", folder / "evidence.csv"


def _plain(rows: Sequence[dict[str, Any]]) -> Any:
    """Rows without numpy's numbers and pandas' missing values."""
    cleaned = [{k: v if pd.notna(v) else None for k, v in row.items()} for row in rows]
    return json.loads(json.dumps(cleaned, default=lambda v: v.item() if hasattr(v, "item") else str(v)))


def _words(name: object) -> str:
    return str(name).replace("_", " ") if isinstance(name, str) else ""


def _said(value: object) -> str:
    return "" if value in (None, "unspecified") else str(value)
