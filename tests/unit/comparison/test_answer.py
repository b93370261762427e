"""A question set is answered by a served model and scored: a real server on loopback, from the command line."""

from __future__ import annotations

import json
import shutil

import pytest

import lgdea
from lgdea.comparison.questions.files import chat_row, completion, image_root_of, read_questions
from lgdea.phantom import generate
from tests.helpers.command_line import run_lgdea
from tests.helpers.openai_server import OpenAIServer, Reply, Seen, error


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    from lgdea.comparison.questions.make import make_question_set

    folder = tmp_path_factory.mktemp("answer")
    phantom = generate(folder / "archive", studies=200, size=64, revisits=0.8, masks=False, workers=1)
    make_question_set(phantom, phantom.extra("evidence_truth"), folder / "set", split="all", most=2, truth="image")
    return folder / "set"


class Knows:
    """Gives the right answer to every question that it can tell by its words and pictures."""

    def __init__(self, folder):
        self.answers = {}
        for question in read_questions(folder):
            self.answers.setdefault(self._words(chat_row(question)["messages"][0]["content"]), completion(question))

    @staticmethod
    def _words(content):
        return "\n".join(part["text"] for part in content if part["type"] == "text")

    def __call__(self, seen: Seen) -> Reply:
        assert seen.images == 2
        assert not {"response_format", "structured_outputs", "logprobs"} & set(seen.body)  # its own words
        return Reply(self.answers[self._words(seen.body["messages"][0]["content"])])


def test_answered_in_free_words_resumed_and_scored(questions, tmp_path, capsys):
    out, count = tmp_path / "answers", len(read_questions(questions))
    different = len({json.dumps(chat_row(q)["messages"]) for q in read_questions(questions)})
    with OpenAIServer(Knows(questions), constrains=False) as server:  # nothing holds the answers to a schema
        arguments = ["compare", "answer", questions, "--url", server.url, "--out", out]
        code, said, err = run_lgdea(capsys, *arguments)
        assert code == 0, err
        assert f"{count:,} questions to tiny, {different:,} asked now" in said
        before = len(server.seen)
        code, said, _ = run_lgdea(capsys, *arguments)
        assert (code, len(server.seen)) == (0, before)
        assert " 0 asked now" in said
    rows = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert [row["qid"] for row in rows] == [q.qid for q in read_questions(questions)]
    code, said, err = run_lgdea(capsys, "compare", "score", questions, out, "--replicates", 0, "--json")
    assert code == 0, err
    found = json.loads(said)["result"]
    assert found["model"] == "answers"
    # Questions with the same words have different answers: the server knows the words alone.
    assert 0.2 < found["metrics"]["accuracy"]["value"] < 1
    assert lgdea.score_answers(questions, out, bootstrap_replicates=0).n_ids == count


def test_what_failed_is_asked_again_and_what_was_cut_is_missing(questions, tmp_path, capsys):
    out, right, count = tmp_path / "answers", Knows(questions), len(read_questions(questions))
    cut = next(iter(right.answers))
    options = ["--set", "options.retries=0", "--set", "options.backoff_seconds=0.01", "--out", out]

    def cuts(seen: Seen) -> Reply:
        words = right._words(seen.body["messages"][0]["content"])
        return Reply("it is", finish_reason="length") if words == cut else right(seen)

    with OpenAIServer(lambda seen: error(500, "ill") if len(server.seen) % 7 == 3 else cuts(seen)) as server:
        code, _, err = run_lgdea(capsys, "compare", "answer", questions, "--url", server.url, *options)
        assert code == 1
        assert "run the same command again to ask only these" in err
    with OpenAIServer(cuts, port=server.port) as again:
        code, said, err = run_lgdea(capsys, "compare", "answer", questions, "--url", again.url, *options)
        assert code == 0, err
        assert "have no answer, cut or refused" in said
        assert 0 < len(again.seen) < count
    code, _, err = run_lgdea(capsys, "compare", "score", questions, out)
    assert code == 1
    assert f"of {count} have no answer, first" in err
    code, said, _ = run_lgdea(capsys, "compare", "score", questions, out, "--allow-missing", "--replicates", 0)
    assert code == 0
    assert "count as wrong" in said


def test_questions_about_an_unreadable_picture_are_not_asked(questions, tmp_path, capsys):
    asked, root = read_questions(questions), tmp_path / "pictures"
    shutil.copytree(image_root_of(questions / "report.json"), root)
    bad = asked[0].images[0]
    (root / bad).write_bytes(b"no picture")
    about = sum(bad in q.images for q in asked)
    with OpenAIServer(Knows(questions)) as server:
        arguments = ["compare", "answer", questions, "--url", server.url, "--image-root", root, "--out", tmp_path / "a"]
        code, said, err = run_lgdea(capsys, *arguments)
    assert code == 0, err
    told = "".join(said.split())  # paths are folded where a line ends
    assert f"1 picture cannot be read and is left out, first {root / bad}".replace(" ", "") in told
    assert f"{about} questions about them are not asked".replace(" ", "") in told
    assert "cut or refused" not in said
    rows = [json.loads(line)["qid"] for line in (tmp_path / "a" / "answers.jsonl").read_text().splitlines()]
    assert rows == [q.qid for q in asked if bad not in q.images]


def test_what_cannot_be_asked_is_one_line(questions, tmp_path, capsys):
    with OpenAIServer(most_images=1) as server:
        code, _, err = run_lgdea(capsys, "compare", "answer", questions, "--url", server.url, "--out", tmp_path / "a")
    assert code == 2
    assert "1 image" in err
    for arguments in (
        [questions, "--backend", "rules", "--out", tmp_path / "b"],
        [tmp_path, "--url", "http://127.0.0.1:1/v1", "--out", tmp_path / "c"],
        [questions, "--url", "http://example.org/v1", "--out", tmp_path / "d"],
    ):
        code, said, err = run_lgdea(capsys, "compare", "answer", *arguments)
        assert (code, said) == (2, "")
        assert len(err.strip().splitlines()) == 1
