"""medspaCy over the same reports with the same words: ``python medspacy_peer.py REPORTS VOCABULARY ANSWERS``.

Needs ``pip install medspacy`` in this interpreter's environment, and nothing of lgdea. The pipeline is medspaCy's
default one: a blank English spaCy model, its tokenizer, PyRuSH sentences, the target matcher and ConText with its own
rules. REPORTS are JSON lines ``{"text_sha256", "text", "stretches": [[start, end], ...]}``: the sections that hold
evidence, found beforehand for free. VOCABULARY is ``{finding: [words, ...]}``. ANSWERS are recorded responses.
The last line of the output is JSON: ``seconds`` and ``cpu_seconds`` for reading the reports (not for starting),
``reports``, ``versions``.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

WARM_UP = 20
"""Reports that are read before the clock starts."""


def build_pipeline(vocabulary: dict[str, list[str]]) -> Any:
    """medspaCy's default pipeline with one target rule per word of the vocabulary."""
    import medspacy
    from loguru import logger
    from medspacy.ner import TargetRule

    logger.remove()  # PyRuSH logs every sentence otherwise, which would cost it time
    nlp = medspacy.load()
    rules = [TargetRule(word, finding.upper()) for finding, words in vocabulary.items() for word in words]
    nlp.get_pipe("medspacy_target_matcher").add(rules)
    return nlp


def assertion_of(entity: Any) -> str | None:
    """Return ConText's assertion of a target: present, absent, uncertain; None for history, hypotheses, relatives."""
    marks = entity._
    if marks.is_historical or marks.is_hypothetical or marks.is_family:
        return None
    if marks.is_negated:
        return "absent"
    return "uncertain" if marks.is_uncertain else "present"


def read_report(nlp: Any, text: str, stretches: list[list[int]]) -> list[dict[str, Any]]:
    """The units of one report."""
    units: list[dict[str, Any]] = []
    for start, end in stretches:
        doc = nlp(text[start:end])
        for entity in doc.ents:
            assertion = assertion_of(entity)
            if assertion is not None:
                finding = entity.label_.lower()
                at = start + entity.start_char
                units.append(_unit(finding, entity.text, at, assertion))
    if stretches and not any(unit["assertion"] != "absent" for unit in units):
        start, end = stretches[-1]
        units.append(_unit("no_finding", text[start:end].strip(), start, "present"))
    return units


def _unit(finding: str, quote: str, start: int, assertion: str) -> dict[str, Any]:
    return {"quote": quote, "start": start, "finding": finding, "finding_text": quote, "assertion": assertion}


def main(reports_file: str, vocabulary_file: str, answers_file: str) -> None:
    """Read, time, write."""
    logging.disable(logging.WARNING)
    reports = [json.loads(line) for line in Path(reports_file).read_text(encoding="utf-8").splitlines()]
    nlp = build_pipeline(json.loads(Path(vocabulary_file).read_text(encoding="utf-8")))
    for report in reports[:WARM_UP]:
        read_report(nlp, report["text"], report["stretches"])
    began, cpu_began = time.perf_counter(), time.process_time()
    answers = [read_report(nlp, report["text"], report["stretches"]) for report in reports]
    measured = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu_began}
    with Path(answers_file).open("w", encoding="utf-8") as stream:
        for report, units in zip(reports, answers, strict=True):
            stream.write(
                json.dumps({"text_sha256": report["text_sha256"], "text": json.dumps({"units": units})}) + "\n"
            )
    versions = {name: metadata.version(name) for name in ("medspacy", "spacy", "PyRuSH")}
    print(json.dumps({**measured, "reports": len(reports), "versions": versions}))


if __name__ == "__main__":
    main(*sys.argv[1:])
