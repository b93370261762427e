"""Proof at start-up that a language model's answers are held to the schema.

A server or an engine that ignores the schema still answers, with prose or with JSON of its own invention; better to
learn that before the first report than from ten thousand rejects.
"""

from __future__ import annotations

import json
from typing import Any

from lgdea.errors import EvidenceError
from lgdea.evidence.backends.base import Request, Response

_EXPECTED = {"answer": "lgdea-7f3a-constrained"}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": [_EXPECTED["answer"]]}},
    "required": ["answer"],
    "additionalProperties": False,
}
# The words ask for something else, so that no model gives the expected answer unless it is made to.
_MESSAGES = (
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Which colour has a clear sky at noon? Answer with one word and nothing else."},
)


def schema_check_request() -> Request:
    """A question with a schema that allows one answer only, which has nothing to do with the question."""
    return Request(request_id="schema-check", text=_MESSAGES[-1]["content"], prompt=_MESSAGES, json_schema=_SCHEMA)


def check_schema_answer(response: Response, *, backend: str, remedy: str) -> None:
    """Check the answer to :func:`schema_check_request`.

    Raises:
        EvidenceError: There is no answer, or another one than the schema allows.
    """
    if response.text is None:
        reason = ": ".join(filter(None, (response.failure, response.detail)))
        raise EvidenceError(f"backend {backend!r} did not answer the start-up schema check ({reason})", remedy=remedy)
    try:
        constrained = json.loads(response.text) == _EXPECTED
    except ValueError:
        constrained = False
    if not constrained:
        raise EvidenceError(
            f"backend {backend!r} does not hold its answers to the schema: the start-up schema check got "
            f"{response.text[:80]!r} where only {json.dumps(_EXPECTED)} is allowed",
            remedy=remedy,
        )
