import json
import re
import shutil
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.language import detect_language
from lgdea.evidence.layout import EVIDENCE_SECTIONS, split_sections
from lgdea.evidence.prompts import inspect_prompt, load_prompt, shipped_prompts
from lgdea.evidence.prompts.coverage import KINDS, count_tokens, shown_kinds
from lgdea.shipped import shipped
from lgdea.vocabulary import load_vocabulary

# A released prompt is never edited: results name it. A change gets a new id, and a line here.
RELEASED = {
    "evidence-multilingual-v1": "2ba741c0a172ae7778a146655279aaa6f8553c0234482acff2b21a59bef82b0f",
    "evidence-multilingual-v2": "a14c61ea46fbe40fb39d1de273faf78a6a0ceb0a51876a36e8962682956541a9",
    "evidence-v1": "c1ca3f7e2e16a64718e3b7f56bc260f0866ad328f3698cffbf409c129dc251ba",
    "evidence-v1-verified": "ca7d4725cc7977036a6d474ffa95b94cb3562420b8cb856948f3cc1cec927bf8",
    "evidence-v2": "3c1cb9f35eb41676e4368eeabc4b633154b0db921d7a8808e2541196c188d76b",
    "sentence-v1": "9a0e5c7c3d8b00724aafc7555bf07b231649300290ef48514447106ad9417e5a",
    "sentence-v2": "eb96a25e7bb739efe5c8c2ba61d483cc43c25b5556f9f1c3c7fa111f79e1e828",
}
REPORT = "INDICATION: Rule out edema.\nFINDINGS: Clear lungs. 1. No effusion.\n\nIMPRESSION: Normal chest."


@pytest.mark.parametrize("prompt_id", shipped_prompts())
def test_a_released_prompt_is_not_edited(prompt_id):
    assert RELEASED.get(prompt_id) == load_prompt(prompt_id).files_sha256
    assert (shipped("prompts") / prompt_id / "CHANGELOG.md").is_file()


@pytest.mark.parametrize("prompt_id", ["evidence-v2", "evidence-multilingual-v2", "sentence-v2"])
def test_a_prompt_ends_on_an_example_that_states_something(prompt_id):
    examples = load_prompt(prompt_id).examples
    assert json.loads(examples[-1][-1])["units"]
    earlier = load_prompt(prompt_id.replace("v2", "v1")).examples
    assert sorted(map(str, examples)) == sorted(map(str, earlier))


def test_a_prompt_for_whole_reports():
    prompt = load_prompt("evidence-v1")
    assert (prompt.reads, prompt.verifier) == ("report", None)
    (question,) = prompt.questions(REPORT)
    assert (question.start, question.end) == (0, len(REPORT))
    roles = [message["role"] for message in question.messages]
    assert roles == ["system", *["user", "assistant"] * len(prompt.examples), "user"]
    assert REPORT in question.messages[-1]["content"]
    assert prompt.questions("other")[0].messages[:-1] == question.messages[:-1]  # what a server computes once


def test_a_prompt_for_sentences_asks_about_those_that_hold_evidence():
    prompt = load_prompt("sentence-v1")
    questions = prompt.questions(REPORT)
    assert [REPORT[q.start : q.end] for q in questions] == ["Clear lungs.", "No effusion.", "Normal chest."]
    assert [q.messages[-1] for q in questions] == [
        {"role": "user", "content": REPORT[q.start : q.end]} for q in questions
    ]
    assert {q.messages[:-1] for q in map(_hashable, questions)} == {_hashable(questions[0]).messages[:-1]}
    assert prompt.questions("INDICATION: Edema?") == []


def _hashable(question):
    return question._replace(messages=tuple(json.dumps(message) for message in question.messages))


@given(st.text(alphabet="FINDGSIMPRESO:.\nab 1-", max_size=200))
def test_questions_about_sentences_are_ordered_and_inside_evidence(text):
    spans = [(q.start, q.end) for q in load_prompt("sentence-v1").questions(text)]
    assert all(a < b <= c for (a, b), (c, _) in pairwise(spans))
    sections = [s for s in split_sections(text) if s.name in EVIDENCE_SECTIONS]
    assert all(any(s.start <= a < b <= s.end for s in sections) for a, b in spans)


def test_a_sentence_without_end_is_cut():
    text = "word " * 10_000
    spans = [(q.start, q.end) for q in load_prompt("sentence-v1").questions(text)]
    assert max(b - a for a, b in spans) <= 2000
    assert "".join(text[a:b] for a, b in spans).strip() == text.strip()


def test_the_answer_about_a_sentence_quotes_it_and_finds_its_words():
    sentence = "Small  Pleural\nEffusions, no air."
    stated = [
        {"finding": "pleural_effusion", "assertion": "present", "change": "new"},
        {"finding": "pneumothorax", "assertion": "absent"},
    ]
    first, second = load_prompt("sentence-v1").parse(json.dumps({"units": [*stated, stated[0]]}), sentence)
    assert (first.quote, first.start, first.finding_text) == (sentence, 0, "Pleural\nEffusions")
    assert first.refers_to_prior
    assert (second.finding_text, second.refers_to_prior, second.anatomy) == (sentence, False, "unspecified")


def test_the_model_is_told_the_ids_that_the_schema_allows():
    for prompt_id in ("evidence-v2", "evidence-multilingual-v2", "sentence-v2"):
        prompt = load_prompt(prompt_id)
        told = set(re.findall(r"[a-z0-9_]+", prompt.system.partition("\nFindings:")[2]))
        properties = prompt.json_schema()["properties"]["units"]["items"]["properties"]
        assert {*properties["finding"]["enum"], *properties["anatomy"]["enum"]} <= told
        assert set(load_vocabulary().findings) == set(properties["finding"]["enum"])


@pytest.mark.parametrize("prompt_id", shipped_prompts())
def test_examples_show_all_that_matters_and_the_shared_part_is_short(prompt_id):
    prompt = load_prompt(prompt_id)
    shown = shown_kinds(prompt)
    assert set(shown) == set(KINDS) - ({"repeated"} if prompt.reads == "sentence" else set())
    assert all(shown.values())
    assert 1000 < count_tokens(prompt.prefix) < 4000


def test_quotes_stay_in_the_language_of_the_report():
    for prompt_id in ("evidence-v2", "evidence-multilingual-v2"):
        assert "stays in the report's own language" in load_prompt(prompt_id).system
    examples = load_prompt("evidence-multilingual-v1").examples
    assert {detect_language(report) for report, _ in examples} == {"de", "es", "fr"}
    stated = [unit for _, answer in examples for unit in json.loads(answer)["units"]]
    assert all(unit["finding"] in load_vocabulary().findings for unit in stated)


def test_tokens_are_counted_like_a_tokeniser_would():
    assert count_tokens(({"role": "user", "content": ""},)) == 4
    # Pieces: "No", " pneumothorax" (3), ".", " ", "12", " mm"; a tokeniser of 100,000 entries makes about as many.
    assert count_tokens(({"role": "user", "content": "No pneumothorax. 12 mm"},)) == 4 + 8


def test_the_hash_of_a_question_covers_the_second_pass_and_the_vocabulary(monkeypatch):
    one, two = load_prompt("evidence-v1"), load_prompt("evidence-v1-verified")
    assert one.prefix == two.prefix
    assert len({one.sha256, two.sha256, one.files_sha256, two.files_sha256}) == 4
    assert one.describe() == {"prompt_id": "evidence-v1", "sha256": one.sha256, "files_sha256": one.files_sha256}
    monkeypatch.setattr("lgdea.evidence.prompts.prompt.json_schema", dict)
    assert load_prompt("evidence-v1").sha256 != one.sha256
    assert load_prompt("evidence-v1").files_sha256 == one.files_sha256


@pytest.mark.parametrize("prompt_id", ["no-such", "../configs-that-are-not", ""])
def test_an_unknown_prompt(prompt_id):
    with pytest.raises(UsageError, match="evidence-v1"):
        load_prompt(prompt_id)


@pytest.fixture
def mine(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    files = {"prompt.yaml": "about: mine", "system.txt": "s", "user.txt": "{report}", "examples.jsonl": ""}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def _example(**changes):
    unit = {"quote": "No mass", "finding": "mass", "finding_text": "mass", "assertion": "absent"} | changes
    return json.dumps({"report": "No mass.", "units": [unit]})


def test_a_folder_of_ones_own(mine):
    (mine / "examples.jsonl").write_text(_example() + "\n\n")
    prompt = load_prompt(str(mine))
    assert (prompt.prompt_id, prompt.about, prompt.reads) == ("mine", "mine", "report")
    (_, answer) = prompt.examples[0]
    assert json.loads(answer)["units"][0]["anatomy"] == "unspecified"  # every key that the schema requires
    before = prompt.files_sha256
    (mine / "system.txt").write_text("S")
    assert load_prompt(str(mine)).files_sha256 != before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("prompt.yaml", None, r"prompt\.yaml: is missing"),
        ("prompt.yaml", "about: [", "is not YAML"),
        ("prompt.yaml", "just words", "prompt.yaml"),
        ("prompt.yaml", "about: mine\nread: report", "read"),
        ("prompt.yaml", "about: mine\nreads: novel", "reads"),
        ("system.txt", "{finding}", r"unknown slot \{finding\}"),
        ("user.txt", "no slot", r"has no \{report\}"),
        ("user.txt", "{report} JSON:", "imitate"),
        ("user.txt", b"\xff{report}", "UTF-8"),
        ("examples.jsonl", "{", "row 1"),
        ("examples.jsonl", "[]", "row 1"),
        ("examples.jsonl", "\n" + _example(quote="No nodule"), "row 2.*does not hold"),
        ("examples.jsonl", _example(quote="no mass"), "does not hold"),
        ("examples.jsonl", _example(finding_text="masses"), "not in their quote"),
        ("examples.jsonl", _example(finding="unicorn"), "unicorn"),
        ("examples.jsonl", _example(anatomy="moon"), "moon"),
        ("examples.jsonl", _example(assertion="perhaps"), "assertion"),
        ("examples.jsonl", json.dumps({"units": []}), "no 'report'"),
        ("examples.jsonl", None, r"examples\.jsonl: is missing"),
    ],
)  # fmt: skip
def test_a_broken_prompt_is_refused_before_any_call(mine, name, content, message):
    (mine / name).unlink()
    if content is not None:
        (mine / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(EvidenceError, match=message) as error:
        load_prompt(str(mine))
    assert "\n" not in str(error.value)


def _verify(folder, **changes):
    unit = {"finding": "mass", "assertion": "present"}
    record = {"sentence": "No mass.", "unit": unit, "reason": "negated", "supported": "no"} | changes
    texts = {"system.txt": "s", "user.txt": "{statement}? {sentence}", "examples.jsonl": json.dumps(record)}
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)


def test_a_prompt_that_extends_another(mine):
    for name in ("system.txt", "user.txt", "examples.jsonl"):
        (mine / name).unlink()
    (mine / "prompt.yaml").write_text("about: mine\nextends: evidence-v1")
    _verify(mine / "verify")
    prompt = load_prompt(str(mine))
    assert prompt.prefix == load_prompt("evidence-v1").prefix
    assert prompt.verifier.examples == (("No mass.", "mass: present", '{"reason":"negated","supported":"no"}'),)


@pytest.mark.parametrize("base", ["mine", "nothing", "evidence-v1-verified", "sentence-v1", "../mine"])
def test_what_cannot_be_extended(mine, base):
    (mine / "prompt.yaml").write_text(f"about: mine\nextends: {base}")
    _verify(mine / "verify")
    prompt, problems = inspect_prompt(str(mine))
    assert prompt is None
    assert any(base in p.problem and p.file.endswith("prompt.yaml") for p in problems)
    assert any("is not read" in p.problem for p in problems)  # system.txt beside `extends`


def test_an_extension_without_a_second_pass(mine):
    shutil.rmtree(mine)
    mine.mkdir()
    (mine / "prompt.yaml").write_text("about: mine\nextends: evidence-v1")
    with pytest.raises(EvidenceError, match="verify"):
        load_prompt(str(mine))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"supported": "yes"}, "contradicts"),
        ({"reason": "whatever"}, "reason"),
        ({"unit": {"finding": "unicorn", "assertion": "present"}}, "unicorn"),
    ],
)
def test_examples_of_the_second_pass_are_held_to_their_schema(mine, changes, message):
    _verify(mine / "verify", **changes)
    with pytest.raises(EvidenceError, match=rf"verify/examples\.jsonl row 1.*{message}"):
        load_prompt(str(mine))
