"""One sentence at a time, answered in enums alone: what a small model can do.

The model copies no quote. The quote is the sentence, whose offsets the code knows.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lgdea.config_errors import explain
from lgdea.evidence.response import MAX_UNITS, UNSPECIFIED, InvalidResponse, ResponseUnit, check_ids, object_schema
from lgdea.evidence.schema import Assertion, Change, Severity
from lgdea.records.schema import Laterality
from lgdea.vocabulary import Vocabulary, load_vocabulary


class SentenceUnit(BaseModel):
    """Statement of one sentence about one finding."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    finding: str
    assertion: Assertion
    anatomy: str = UNSPECIFIED
    laterality: Laterality = UNSPECIFIED
    severity: Severity = UNSPECIFIED
    change: Change = UNSPECIFIED


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    units: list[SentenceUnit]


def parse_sentence(answer: str, sentence: str) -> list[ResponseUnit]:
    """Units of an answer about one sentence: the sentence is the quote, ``start`` is 0.

    ``finding_text`` is the vocabulary's word for the finding as the sentence has it, else the sentence.

    Raises:
        InvalidResponse: The answer is not JSON of the schema, or names what the vocabulary does not hold.
    """
    try:
        stated = _Answer.model_validate_json(answer).units
    except ValidationError as error:
        raise InvalidResponse(explain(error)[:300]) from None
    check_ids(stated)
    return [
        ResponseUnit(
            quote=sentence,
            start=0,
            finding_text=words_of(unit.finding, sentence) or sentence,
            refers_to_prior=unit.change != UNSPECIFIED,
            **unit.model_dump(),
        )
        for unit in dict.fromkeys(stated)
    ]


def words_of(finding: str, sentence: str) -> str | None:
    """The longest of the vocabulary's words for a finding that the sentence holds, as it stands there."""
    found: list[str] = [match[0] for match in _pattern(load_vocabulary(), finding).finditer(sentence)]
    return max(found, key=len, default=None)


def sentence_schema() -> dict[str, Any]:
    """The schema for constrained decoding: enums only."""
    return object_schema(SentenceUnit, maximum=MAX_UNITS)


@lru_cache(maxsize=512)
def _pattern(vocabulary: Vocabulary, finding: str) -> re.Pattern[str]:
    entry = vocabulary.findings[finding]
    words = sorted({entry.name, *entry.synonyms}, key=lambda word: (-len(word), word))
    patterns = [re.escape(word).replace(r"\ ", r"\s+") for word in words]
    return re.compile(rf"\b(?:{'|'.join(patterns)})(?:s|es)?\b", re.IGNORECASE)
