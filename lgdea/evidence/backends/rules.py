"""The embedded default backend: :mod:`lgdea.evidence.rules` on one CPU core, no model, no network.

The rules know their offsets and could build units directly, yet they answer in the same JSON as a language model. That
and the tables cost a third of the CPU time (0.5 of 1.7 s for Open-I's 1,974 reports) and buy one path for all
backends: the same resume, the same checks against the schema and the report, the same ``raw/`` that
:mod:`~lgdea.evidence.backends.replay` reads again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

from lgdea.errors import UsageError
from lgdea.evidence.backends.base import Request, Response
from lgdea.evidence.language import ENGLISH, foreign_language
from lgdea.evidence.response import UNSPECIFIED, dump_response
from lgdea.evidence.rules.reader import RuleMatch, read_report
from lgdea.version import __version__
from lgdea.vocabulary import Vocabulary, load_vocabulary, using_vocabulary
from lgdea.vocabulary.extension import extend_vocabulary

_LONGEST_KEPT = 2048  # characters of a report whose answer is kept for the next one like it


class RulesBackend:
    """Reads English chest reports by vocabulary and scopes; deterministic."""

    name = "rules"
    needs_prompt = False
    multiprocess = True

    def __init__(self, language: Literal["en", "any"] = "en") -> None:
        self._language = language
        self._lexicon = load_vocabulary().site

    def foreign_language(self, text: str, stated: str) -> str | None:
        """Return the name of a report's language where it is not one that this backend reads."""
        return foreign_language(text, stated) if self._language == ENGLISH else None

    def respond(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Answer each request at once and in order."""
        for request in requests:
            language = self.foreign_language(request.text, request.language)
            if language is not None:
                yield Response(request.request_id, failure="language", detail=language)
                continue
            answer = _answer_again if len(request.text) <= _LONGEST_KEPT else _answer
            vocabulary = extend_vocabulary(self._lexicon)
            with using_vocabulary(vocabulary):
                units = answer(vocabulary, request.text)
            yield Response(request.request_id, units)

    def describe(self) -> dict[str, Any]:
        """Version and a hash of the rules' tables."""
        return {"backend": self.name, "version": __version__, "tables": _hash_tables(), "language": self._language}


def create(language: str = "en") -> RulesBackend:
    """Make the backend.

    Args:
        language: ``en`` refuses reports that are not English (:func:`~lgdea.evidence.language.foreign_language`),
            ``any`` reads all as if they were.

    Raises:
        UsageError: ``language`` is something else.
    """
    if language not in ("en", "any"):
        remedy = "write en or any; other languages are for a language model (--backend vllm or http)"
        raise UsageError(f"the rules do not read language {language!r}", remedy=remedy)
    return RulesBackend("en" if language == "en" else "any")


def _answer(_vocabulary: Vocabulary, text: str) -> str:
    return dump_response([_unit_content(text, item) for item in read_report(text)])


_answer_again = lru_cache(maxsize=4096)(_answer)
"""Archives repeat their normal reports word by word."""


def _unit_content(text: str, item: RuleMatch) -> dict[str, Any]:
    unit: dict[str, Any] = {
        "quote": text[item.start : item.end],
        "start": item.start,
        "finding": item.finding,
        "finding_text": item.finding_text,
        "assertion": item.assertion,
    }
    if item.anatomy is not None:
        unit["anatomy"] = item.anatomy
    if item.laterality != UNSPECIFIED:
        unit["laterality"] = item.laterality
    if item.severity != UNSPECIFIED:
        unit["severity"] = item.severity
    if item.change != UNSPECIFIED:
        unit["change"] = item.change
    if item.refers_to_prior:
        unit["refers_to_prior"] = True
    return unit


@lru_cache(maxsize=1)
def _hash_tables() -> str:
    digest = hashlib.sha256()
    for package, name in (
        ("lgdea.vocabulary", "findings.yaml"),
        ("lgdea.vocabulary", "anatomy.yaml"),
        ("lgdea.evidence.layout", "headings.yaml"),
        ("lgdea.evidence.rules", "terms.yaml"),
        ("lgdea.evidence.rules", "cues.yaml"),
        ("lgdea.evidence.rules", "abbreviations.yaml"),
        ("lgdea.evidence.rules", "organs.yaml"),
    ):
        digest.update((resources.files(package) / name).read_bytes())
    return digest.hexdigest()[:16]
