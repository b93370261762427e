"""Answers of backends: evidence as quotes, before the code finds their offsets.

The JSON Schema for constrained decoding is made from the same class that validates the answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lgdea.config_errors import explain
from lgdea.evidence.schema import Assertion, Change, Severity
from lgdea.records.schema import Laterality
from lgdea.vocabulary import Vocabulary, load_vocabulary

UNSPECIFIED: Literal["unspecified"] = "unspecified"
MAX_UNITS = 100
"""More than any report holds; stops a model that repeats itself."""

# One line without quotation marks or backslashes, so that no grammar engine needs JSON escapes for it; the aligner
# reads ' for " and a blank for a line end. No length: xgrammar takes no maxLength beside a pattern, and a bound inside
# the pattern costs it seconds per schema or fails; the token limit stops a model that does not stop.
_WORDS = r'^[^"\\\x00-\x1f\x7f]+$'


_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class ResponseUnit(BaseModel):
    """One unit as a backend states it; ``quote`` must stand in the report word for word."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quote: str = Field(min_length=1)
    finding: str
    finding_text: str
    assertion: Assertion
    anatomy: str = UNSPECIFIED
    laterality: Laterality = UNSPECIFIED
    severity: Severity = UNSPECIFIED
    change: Change = UNSPECIFIED
    refers_to_prior: bool = False
    start: int | None = None
    """Only for backends that know the offset; never part of the schema that a language model sees."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    units: list[ResponseUnit]


class InvalidResponse(ValueError):  # noqa: N818  # it is a finding about an answer, not a failure of lgdea
    """The answer is not JSON of the schema; the message is one line."""


class _Named(Protocol):
    @property
    def finding(self) -> str: ...
    @property
    def anatomy(self) -> str: ...


def parse_response(text: str) -> list[ResponseUnit]:
    """Validate an answer in full: shape, enums, and that finding and anatomy are in the vocabulary.

    Raises:
        InvalidResponse: It is anything else.
    """
    try:
        units = _Answer.model_validate_json(text).units
    except ValidationError as error:
        raise InvalidResponse(explain(error)[:300]) from None
    check_ids(units)
    return units


def check_ids(units: Iterable[_Named]) -> None:
    """Refuse units whose finding or anatomy is not in the vocabulary.

    Raises:
        InvalidResponse: Naming the first such id.
    """
    vocabulary = load_vocabulary()
    for unit in units:
        if unit.finding not in vocabulary.findings:
            raise InvalidResponse(f"finding {unit.finding[:60]!r} is not in the vocabulary")
        if unit.anatomy != UNSPECIFIED and unit.anatomy not in vocabulary.anatomy:
            raise InvalidResponse(f"anatomy {unit.anatomy[:60]!r} is not in the vocabulary")


def json_schema() -> dict[str, Any]:
    """The schema for constrained decoding of whole reports."""
    return object_schema(ResponseUnit, maximum=MAX_UNITS)


def object_schema(unit: type[BaseModel], *, maximum: int) -> dict[str, Any]:
    """The JSON Schema of ``{"units": [unit, ...]}``: objects, arrays, enums, booleans and anchored patterns only.

    All fields are required, which OpenAI-compatible servers ask of a strict schema; ``start`` is left out.
    """
    return _make_schema(load_vocabulary(), unit, maximum)


@lru_cache(maxsize=16)
def _make_schema(vocabulary: Vocabulary, unit: type[BaseModel], maximum: int) -> dict[str, Any]:
    enums = {"finding": list(vocabulary.findings), "anatomy": [UNSPECIFIED, *vocabulary.anatomy]}
    properties: dict[str, Any] = {}
    for name, entry in unit.model_json_schema()["properties"].items():
        if name == "start":
            continue
        values = enums.get(name) or entry.get("enum")
        if values:
            properties[name] = {"type": "string", "enum": values}
        elif entry["type"] == "string":
            properties[name] = {"type": "string", "pattern": _WORDS}
        else:
            properties[name] = {"type": entry["type"]}
    item = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"units": {"type": "array", "items": item, "maxItems": maximum}},
        "required": ["units"],
        "additionalProperties": False,
    }


def dump_response(units: list[dict[str, Any]]) -> str:
    """The answer of a backend that makes its units in code, compact."""
    return _COMPACT.encode({"units": units})
