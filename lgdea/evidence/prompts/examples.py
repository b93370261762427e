"""Few-shot examples: each is held to what it teaches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from lgdea.evidence.alignment.aligner import Aligner
from lgdea.evidence.prompts.sentence import SentenceUnit, parse_sentence
from lgdea.evidence.prompts.verify import VerdictAnswer, statement
from lgdea.evidence.response import InvalidResponse, check_ids, dump_response, parse_response


def read_report_example(record: dict[str, Any]) -> tuple[str, str]:
    """``{"report": ..., "units": [...]}``: the report and its answer, in the order of the schema, nothing left out.

    Raises:
        ValueError: The answer breaks the schema, a quote is not in the report, or a finding's words not in its quote.
        KeyError: A key is missing.
    """
    report = str(record["report"])
    units = parse_response(dump_response(record["units"]))
    aligner = Aligner(report)
    for unit in units:
        found = aligner.align(unit.quote)
        if found is None or found.alignment != "exact":
            raise InvalidResponse(f"quotes {unit.quote!r}, which its report does not hold")
        if unit.finding_text not in unit.quote:
            raise InvalidResponse(f"the words {unit.finding_text!r} are not in their quote")
    return report, _dump(units)


def read_sentence_example(record: dict[str, Any]) -> tuple[str, str]:
    """``{"sentence": ..., "units": [...]}``: the sentence and its answer.

    Raises:
        ValueError: The answer breaks the schema.
        KeyError: A key is missing.
    """
    sentence = str(record["sentence"])
    parse_sentence(dump_response(record["units"]), sentence)
    return sentence, _dump([SentenceUnit.model_validate(unit) for unit in record["units"]])


def read_verify_example(record: dict[str, Any]) -> tuple[str, str, str]:
    """``{"sentence": ..., "unit": {...}, "reason": ..., "supported": ...}``: sentence, statement and answer.

    Raises:
        ValueError: The unit or the answer breaks its schema, or reason and verdict contradict each other.
        KeyError: A key is missing.
    """
    unit = SentenceUnit.model_validate(record["unit"])
    check_ids([unit])
    answer = VerdictAnswer(reason=record["reason"], supported=record["supported"])
    if (answer.reason == "stated") != (answer.supported == "yes"):
        raise InvalidResponse(f"the reason {answer.reason!r} contradicts supported {answer.supported!r}")
    return str(record["sentence"]), statement(unit), _compact(answer.model_dump())


def _dump(units: Sequence[BaseModel]) -> str:
    return _compact({"units": [unit.model_dump(exclude={"start"}) for unit in units]})


def _compact(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
