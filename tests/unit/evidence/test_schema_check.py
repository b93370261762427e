"""The start-up schema check lets the one allowed answer pass and nothing else."""

from __future__ import annotations

import json

import pytest

from lgdea.errors import EvidenceError
from lgdea.evidence.backends.base import Response
from lgdea.evidence.backends.schema_check import check_schema_answer, schema_check_request


def _allowed() -> str:
    (value,) = schema_check_request().json_schema["properties"]["answer"]["enum"]
    return json.dumps({"answer": value})


def test_the_schema_allows_one_answer_that_the_question_does_not_suggest():
    request = schema_check_request()
    (value,) = request.json_schema["properties"]["answer"]["enum"]
    assert value not in json.dumps(request.prompt)
    assert request.json_schema["required"] == ["answer"]
    assert request.json_schema["additionalProperties"] is False


@pytest.mark.parametrize("text", [_allowed(), f" {_allowed()}\n", _allowed().replace(" ", "")])
def test_the_allowed_answer_passes(text):
    check_schema_answer(Response("schema-check", text), backend="vllm", remedy="use another one")


@pytest.mark.parametrize(
    "text",
    ["Blue", '{"answer": "Blue"}', f"```json\n{_allowed()}\n```", _allowed()[:-1], f"[{_allowed()}]", '"lgdea"', ""],
)
def test_any_other_answer_stops_with_backend_answer_and_remedy(text):
    with pytest.raises(EvidenceError) as error:
        check_schema_answer(Response("schema-check", text), backend="http", remedy="use another server")
    line = str(error.value)
    assert "http" in line
    assert repr(text) in line
    assert line.endswith("; use another server")


def test_no_answer_is_explained_by_its_failure():
    response = Response("schema-check", failure="refused", detail="no such grammar")
    with pytest.raises(EvidenceError, match=r"'vllm' did not answer.*refused: no such grammar.*; mend it"):
        check_schema_answer(response, backend="vllm", remedy="mend it")
