import json

import pytest

from lgdea.evidence.prompts import shipped_prompts
from tests.helpers.command_line import run_lgdea


def _run(capsys, *arguments):
    return run_lgdea(capsys, "prompts", *arguments)


@pytest.fixture
def mine(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    unit = {"finding": "pleural_effusion", "assertion": "absent"}
    for name, text in {
        "prompt.yaml": "about: my own\nreads: sentence\n",
        "system.txt": "Read. Findings: {findings}",
        "user.txt": "{sentence}",
        "examples.jsonl": json.dumps({"sentence": "No effusion.", "units": [unit]}) + "\n",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_list(capsys):
    code, out, _ = _run(capsys, "list", "--json")
    assert code == 0
    facts = {fact["prompt_id"]: fact for fact in json.loads(out)["result"]["prompts"]}
    assert {k: (v["reads"], v["passes"]) for k, v in facts.items()} == {
        "compare-v1": ("images", 1),
        "evidence-multilingual-v1": ("report", 1),
        "evidence-multilingual-v2": ("report", 1),
        "evidence-v1": ("report", 1),
        "evidence-v2": ("report", 1),
        "sentence-v2": ("sentence", 1),
        "evidence-v1-verified": ("report", 2),
        "sentence-v1": ("sentence", 1),
    }
    assert _run(capsys, "list")[0] == 0


def test_show_prints_a_comparative_prompt(capsys):
    code, out, _ = _run(capsys, "show", "compare-v1")
    assert code == 0
    assert "Image {number} is healthy." in out
    assert (
        json.loads(_run(capsys, "show", "compare-v1", "--json")[1])["result"]["texts"]["query"]
        == "Image {number} is the query."
    )


def test_show_prints_what_a_model_sees(capsys):
    code, out, _ = _run(capsys, "show", "evidence-v1-verified")
    assert code == 0
    for words in ("pleural_effusion", "extract: example 5", "verify: system", "Statement: {statement}"):
        assert words in out
    shown = json.loads(_run(capsys, "show", "evidence-v1-verified", "--json")[1])["result"]
    assert shown["messages"][0]["role"] == "system"
    assert shown["json_schema"]["required"] == ["units"]
    assert shown["verify"]["json_schema"]["required"] == ["reason", "supported"]


@pytest.mark.parametrize("prompt_id", shipped_prompts())
def test_shipped_prompts_pass_their_check_without_a_note(capsys, prompt_id):
    code, out, _ = _run(capsys, "check", prompt_id, "--json")
    assert code == 0
    result = json.loads(out)["result"]
    assert result["problems"] == []
    assert result["notes"] == []
    assert result["prompt"]["prefix_tokens"] < 4000


def test_a_folder_of_ones_own(capsys, mine):
    code, out, _ = _run(capsys, "check", mine)
    assert code == 0
    assert "note: no example shows: uncertainty" in out
    assert "mine: fit to be used" in out


def test_all_problems_are_listed_at_once_with_file_and_row(capsys, mine):
    (mine / "system.txt").unlink()
    (mine / "user.txt").write_text("Sentence: {sentense}\nAnswer:")
    rows = [
        "{",
        json.dumps({"sentence": "Clear.", "units": [{"finding": "unicorn", "assertion": "present"}]}),
        json.dumps({"sentence": "Clear.", "units": [{"finding": "opacity", "assertion": "absent"}]}),
        json.dumps({"sentence": "Clear."}),
    ]
    (mine / "examples.jsonl").write_text("\n".join(rows))
    code, out, _ = _run(capsys, "check", mine, "--json")
    assert code == 1
    found = [(p["file"].rpartition("/")[2], p["row"], p["problem"]) for p in json.loads(out)["result"]["problems"]]
    assert [(file, row) for file, row, _ in found] == [
        ("system.txt", None),
        ("user.txt", None),
        ("user.txt", None),
        ("examples.jsonl", 1),
        ("examples.jsonl", 2),
        ("examples.jsonl", 4),
    ]
    assert "no {sentence}" in found[1][2]
    assert "{sentense}" in found[2][2]
    assert "unicorn" in found[4][2]
    code, out, _ = _run(capsys, "check", mine)
    assert code == 1
    assert "examples.jsonl row 4: is not a valid example (no 'units')" in out
    assert out.rstrip().endswith("6 problems")


def test_no_such_prompt_is_bad_usage(capsys):
    code, _, err = _run(capsys, "check", "no-such")
    assert code == 2
    assert "evidence-v1" in err
    assert err.count("\n") == 1
