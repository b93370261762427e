import json

import pytest

from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.prompts import load_prompt
from lgdea.evidence.response import InvalidResponse, json_schema, parse_response
from lgdea.vocabulary import load_vocabulary


def test_the_shipped_prompt_is_checked_and_hashed():
    prompt = load_prompt("evidence-v1")
    assert len(prompt.sha256) == 64
    assert len(prompt.examples) == 3
    messages = prompt.messages("The lungs are {clear}.")
    assert [m["role"] for m in messages] == ["system", *["user", "assistant"] * 3, "user"]
    assert "The lungs are {clear}." in messages[-1]["content"]
    assert prompt.messages("other")[:-1] == messages[:-1]  # the shared prefix that a server caches


def test_examples_satisfy_the_schema_they_teach():
    for _, answer in load_prompt("evidence-v1").examples:
        allowed = json_schema()["properties"]["units"]["items"]
        for unit in json.loads(answer)["units"]:
            assert set(unit) == set(allowed["required"])
            for name, value in unit.items():
                assert value in allowed["properties"][name].get("enum", [value])


def test_the_schema_stays_simple():
    text = json.dumps(json_schema())
    assert all(word not in text for word in ("anyOf", "$ref", "maxLength", "title", "default", '"start"'))
    unit = json_schema()["properties"]["units"]["items"]["properties"]
    assert unit["finding"]["enum"] == list(load_vocabulary().findings)
    assert unit["assertion"]["enum"] == ["present", "absent", "uncertain"]


def test_parse_refuses_what_is_not_in_the_vocabulary():
    unit = {"quote": "q", "finding": "nodule", "finding_text": "q", "assertion": "present", "anatomy": "moon"}
    with pytest.raises(InvalidResponse, match="moon"):
        parse_response(json.dumps({"units": [unit]}))


def test_an_unknown_prompt():
    with pytest.raises(UsageError, match="evidence-v1"):
        load_prompt("no-such")
    with pytest.raises(UsageError):
        load_prompt("../configs")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("user.txt", "no slot", "report"),
        ("examples.jsonl", "{", "row 1"),
        ("examples.jsonl", json.dumps({"report": "Clear.", "units": [
            {"quote": "mass", "finding": "mass", "finding_text": "mass", "assertion": "present"}]}), "does not hold"),
        ("examples.jsonl", None, "examples.jsonl: is missing"),
    ],
)  # fmt: skip
def test_a_broken_prompt_is_refused_before_any_call(tmp_path, name, content, message):
    folder = tmp_path / "mine"
    folder.mkdir()
    for file, text in (
        ("prompt.yaml", "about: mine"),
        ("system.txt", "s"),
        ("user.txt", "{report}"),
        ("examples.jsonl", ""),
    ):
        (folder / file).write_text(text)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(EvidenceError, match=message):
        load_prompt(str(folder))
