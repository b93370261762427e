import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgdea.evidence.prompts import load_prompt
from lgdea.evidence.prompts.sentence import sentence_schema
from lgdea.evidence.response import MAX_UNITS, InvalidResponse, json_schema, parse_response
from lgdea.vocabulary import load_vocabulary

UNIT = {"quote": "q", "finding": "nodule", "finding_text": "q", "assertion": "present"}


@pytest.mark.parametrize("schema", [json_schema(), sentence_schema()])
def test_the_schema_stays_what_every_grammar_engine_can_do(schema):
    text = json.dumps(schema)
    assert all(word not in text for word in ("anyOf", "$ref", "maxLength", "minLength", "title", "default", '"start"'))
    items = schema["properties"]["units"]["items"]
    assert schema["properties"]["units"]["maxItems"] == MAX_UNITS
    assert items["properties"]["finding"]["enum"] == list(load_vocabulary().findings)
    assert items["properties"]["assertion"]["enum"] == ["present", "absent", "uncertain"]
    for level in (schema, items):  # as strict mode of OpenAI-compatible servers wants it
        assert level["required"] == list(level["properties"])
        assert level["additionalProperties"] is False


def test_the_schema_of_a_sentence_is_enums_only():
    properties = sentence_schema()["properties"]["units"]["items"]["properties"]
    assert list(properties) == ["finding", "assertion", "anatomy", "laterality", "severity", "change"]
    assert all("enum" in entry for entry in properties.values())


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("No effusion (5 mm), 100% – é 肺 😀 [x] {y} 'z' / ^ ~ <\u200b|", True),
        ("x" * 1000, True),
        ("", False),
        ('5" nail', False),
        ("a\nb", False),
        ("a\x00b", False),
        ("a\\b", False),
    ],
)
def test_the_pattern_of_a_quote_is_one_line_without_escapes(words, allowed):
    pattern = json_schema()["properties"]["units"]["items"]["properties"]["quote"]["pattern"]
    assert pattern.startswith("^")
    assert pattern.endswith("$")
    assert bool(re.fullmatch(pattern, words)) == allowed


def test_examples_satisfy_the_schema_they_teach():
    for prompt_id in ("evidence-v1", "sentence-v1"):
        prompt = load_prompt(prompt_id)
        properties = prompt.json_schema()["properties"]["units"]["items"]["properties"]
        for _, answer in prompt.examples:
            for unit in json.loads(answer)["units"]:
                assert list(unit) == list(properties)
                for name, value in unit.items():
                    assert value in properties[name].get("enum", [value])
                    assert "pattern" not in properties[name] or re.fullmatch(properties[name]["pattern"], value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"units": [UNIT | {"anatomy": "moon"}]}, "moon"),
        ({"units": [UNIT | {"finding": "unicorn"}]}, "unicorn"),
        ({"units": [UNIT | {"assertion": "maybe"}]}, "assertion"),
        ({"units": [UNIT | {"quote": ""}]}, "quote"),
        ({"units": [UNIT | {"note": "x"}]}, "note"),
        ({"units": [], "note": "x"}, "note"),
        ({"unit": []}, "units"),
        ([UNIT], "object|dict|valid"),
    ],
)
def test_what_breaks_the_schema_is_refused_in_one_line(answer, message):
    with pytest.raises(InvalidResponse, match=message) as error:
        parse_response(json.dumps(answer))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) <= 300


@pytest.mark.parametrize(
    "answer",
    ["", "null", "NaN", "{", '{"units":[', '{"units":[]}{"units":[]}', '{"units":[]} trailing', "```json\n{}\n```",
     "[" * 50_000, '{"units":' * 5_000, '{"units":[{"quote":"\\ud800"}]}', "\ud800", "\x00", "1e999999",
     '{"units":[]}\x00', "\ufeff{}"],
    ids=lambda text: ascii(text[:20]),
)  # fmt: skip
def test_no_answer_is_more_than_invalid(answer):
    for prompt_id in ("evidence-v1", "sentence-v1"):
        with pytest.raises(InvalidResponse):
            load_prompt(prompt_id).parse(answer, "text")


@given(st.text(max_size=200))
def test_any_text_is_units_or_invalid(answer):
    try:
        units = parse_response(answer)
    except InvalidResponse:
        return
    assert isinstance(units, list)


@pytest.mark.parametrize("word", ["\n", "a\r\nb", "\u2028", "\x85", "\x1c", "x" * 100_000, "\n" * 500])
def test_keys_and_values_of_an_answer_leave_its_rejection_one_short_line(word):
    unit = {"quote": word, "finding": word, "finding_text": word, "assertion": word, word: word}
    for answer in ({word: None}, {"units": [{word: word}]}, {"units": word}, {"units": [unit]}, [word]):
        with pytest.raises(InvalidResponse) as error:
            parse_response(json.dumps(answer))
        assert len(str(error.value).splitlines()) == 1
        assert len(str(error.value)) <= 300
