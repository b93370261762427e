from __future__ import annotations

import pytest

from lgdea.comparison.references.prompt import load_compare_prompt, shipped_compare_prompts
from lgdea.errors import DataError, UsageError
from lgdea.evidence.prompts import shipped_prompts
from lgdea.shipped import shipped

# A released prompt is never edited: results name it. A change gets a new id, and a line here.
RELEASED = {"compare-v1": "917703b11c700c687b1dd06e48706dee95526810395ca15c194622e507b5a45b"}


def test_a_released_prompt_is_not_edited():
    assert set(RELEASED) == set(shipped_compare_prompts())
    for prompt_id, digest in RELEASED.items():
        assert load_compare_prompt(prompt_id).files_sha256 == digest
        assert (shipped("prompts") / prompt_id / "CHANGELOG.md").is_file()
    assert not set(RELEASED) & set(shipped_prompts()), "a comparative prompt reads no reports"


def test_training_rows_and_requests_say_the_same():
    prompt = load_compare_prompt()
    row = prompt.training_row("nodule", ["a.png", "b.png"], "q.png", True)
    (message,) = prompt.messages("nodule", [b"a", b"b"], b"q")
    assert row["images"] == ["a.png", "b.png", "q.png"]
    assert [p["png"] for p in message["content"] if p["type"] == "image"] == [b"a", b"b", b"q"]
    taught = row["prompt"][0]["content"]
    assert [(p["type"], p.get("text") or "") for p in message["content"]] == [(p["type"], p["text"]) for p in taught]
    assert taught[-1]["text"] == "Does image 3 show pulmonary nodule? Answer yes or no."
    assert row["completion"] == [{"role": "assistant", "content": [{"type": "text", "text": "yes"}]}]


def test_a_query_alone_is_not_told_of_healthy_images():
    content = load_compare_prompt().messages("a bright spot", [], b"q")[0]["content"]
    assert [p.get("text") for p in content] == [
        "Image 1 is the query.", None, "Does image 1 show a bright spot? Answer yes or no.",
    ]  # fmt: skip


GOOD = 'about: a\nbeside: b\nhealthy: "{number}"\nquery: "{number}"\nquestion: "{phrase}?"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD.replace("{phrase}", "what"), r"question has no \{phrase\}"),
        (GOOD.replace("healthy: \"{number}\"", "healthy: \"{number} {age}\""), r"healthy has the unknown slot \{age\}"),
        (GOOD.replace("about: a\n", ""), "about"),
        ("a: [", "is not YAML"),
    ],
)  # fmt: skip
def test_a_prompt_of_ones_own_is_checked(tmp_path, text, problem):
    (tmp_path / "compare.yaml").write_text(GOOD)
    assert load_compare_prompt(str(tmp_path)).prompt_id == tmp_path.name
    (tmp_path / "compare.yaml").write_text(text)
    with pytest.raises(DataError, match=problem):
        load_compare_prompt(str(tmp_path))


def test_a_prompt_that_is_not_there():
    with pytest.raises(UsageError, match="no comparative prompt 'compare-v9'"):
        load_compare_prompt("compare-v9")
