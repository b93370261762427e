"""The second pass: is one unit what its sentence says?"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from lgdea.config_errors import explain
from lgdea.evidence.prompts.fence import fence, fill, neutralise
from lgdea.evidence.prompts.sentence import SentenceUnit
from lgdea.evidence.response import UNSPECIFIED, InvalidResponse
from lgdea.evidence.schema import Unit
from lgdea.vocabulary import load_vocabulary

Reason = Literal[
    "stated", "negated", "affirmed", "uncertain", "history", "hypothetical", "other_finding", "other_place",
    "other_side", "other_degree", "other_change", "not_mentioned",
]  # fmt: skip
"""Reasons that a unit is supported (``stated``) or not: what the sentence says instead."""


class Verdict(NamedTuple):
    """Answer of the second pass: does the sentence support the unit, and why."""

    supported: bool
    reason: str


class VerdictAnswer(BaseModel):
    """The answer of the second pass; the reason comes first, so that the verdict follows from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Reason
    supported: Literal["yes", "no"]


@dataclass(frozen=True)
class Verifier:
    """Second pass of a prompt: asks whether a sentence supports a unit.

    ``examples`` are (sentence, statement, answer). The user template has the slots ``{sentence}``, ``{statement}`` and,
    when it goes on after the sentence, ``{fence}``.
    """

    system: str
    user: str
    examples: tuple[tuple[str, str, str], ...]

    def messages(self, sentence: str, unit: Unit) -> tuple[dict[str, str], ...]:
        """The chat messages; all but the last are the same for every unit."""
        return (*self.prefix, self._user_turn(sentence, statement(unit)))

    def json_schema(self) -> dict[str, Any]:
        """Two enums."""
        return verdict_schema()

    def parse(self, answer: str) -> Verdict:
        """The verdict; ``yes`` counts only with the reason ``stated``.

        Raises:
            InvalidResponse: The answer is not JSON of the schema.
        """
        try:
            stated = VerdictAnswer.model_validate_json(answer)
        except ValidationError as error:
            raise InvalidResponse(explain(error)[:300]) from None
        return Verdict(stated.supported == "yes" and stated.reason == "stated", stated.reason)

    @cached_property
    def sha256(self) -> str:
        """Hash of all that is the same in every question."""
        content = json.dumps([self.prefix, self.user, self.json_schema()])
        return hashlib.sha256(content.encode()).hexdigest()

    @cached_property
    def prefix(self) -> tuple[dict[str, str], ...]:
        """The messages that all questions share: instruction and examples."""
        turns = [{"role": "system", "content": self.system}]
        for sentence, claim, answer in self.examples:
            turns += [self._user_turn(sentence, claim), {"role": "assistant", "content": answer}]
        return tuple(turns)

    def _user_turn(self, sentence: str, claim: str) -> dict[str, str]:
        values = {"sentence": neutralise(sentence), "statement": claim, "fence": fence(sentence)}
        return {"role": "user", "content": fill(self.user, values)}


@lru_cache(maxsize=1)
def verdict_schema() -> dict[str, Any]:
    """The schema of :class:`VerdictAnswer`."""
    return {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "enum": list(get_args(Reason))},
            "supported": {"type": "string", "enum": ["yes", "no"]},
        },
        "required": ["reason", "supported"],
        "additionalProperties": False,
    }


def statement(unit: Unit | SentenceUnit) -> str:
    """A unit in words of the vocabulary alone: nothing of the report gets into the statement.

    >>> statement(SentenceUnit(finding="edema", assertion="absent", laterality="left"))
    'pulmonary edema: absent; side: left'
    """
    vocabulary = load_vocabulary()
    finding = vocabulary.findings[unit.finding]
    if finding.kind == "normality":
        return "the study is normal" if unit.assertion == "present" else f"the study is normal: {unit.assertion}"
    parts = [f"{finding.name}: {unit.assertion}"]
    if unit.anatomy not in (None, UNSPECIFIED):
        parts.append(f"place: {vocabulary.anatomy[str(unit.anatomy)].name}")
    for name, value in (("side", unit.laterality), ("severity", unit.severity), ("change", unit.change)):
        if value != UNSPECIFIED:
            parts.append(f"{name}: {value}")
    return "; ".join(parts)
