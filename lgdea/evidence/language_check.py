"""Check before an extraction that its backend reads the language of some report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from lgdea.errors import UsageError
from lgdea.evidence.backends.base import ExtractorBackend
from lgdea.evidence.report_reader import Reports

OTHER_LANGUAGES = (
    "read other languages with a language model (--backend vllm or http, --prompt evidence-multilingual-v1)"
)
"""Remedy of an error."""


def require_language(reports: Reports, backend: ExtractorBackend) -> None:
    """Refuse reports none of which is in a language that the backend reads; the first one that is ends the search."""
    foreign_language: Callable[[str, str], str | None] | None = getattr(backend, "foreign_language", None)
    if foreign_language is None:
        return
    languages = Counter[str]()
    for report in reports:
        if report.text.strip():
            language = foreign_language(report.text, report.language)
            if language is None:
                return
            languages[language] += 1
    if languages:
        raise UsageError(
            f"none of the reports is in English, which {backend.name!r} reads ({list_languages(languages)})",
            file=reports.inputs.get("reports"),
            remedy=f"{OTHER_LANGUAGES}, or read them all the same with --set options.language=any",
        )


def list_languages(counts: Mapping[str, int]) -> str:
    """List languages and the numbers of their reports: ``118 German, 2 French``."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {language}" for language, count in ordered)
