"""Questions about images: what a server is sent, what its answer means, and what it cannot take."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lgdea.errors import UsageError
from lgdea.evidence.answer_log import AnswerLog
from lgdea.evidence.backends.base import Request
from lgdea.evidence.backends.choices import choice_logprobs, choice_schema, read_choice
from lgdea.evidence.backends.http import create
from lgdea.evidence.backends.parts import count_images, image_part, text_part, with_pictures
from tests.helpers.openai_server import OpenAIServer, Reply, Seen, error

YES_NO = ("yes", "no")


def _png(grey: int = 0) -> bytes:
    out = BytesIO()
    Image.fromarray(np.full((4, 6), grey, np.uint8)).save(out, format="PNG")
    return out.getvalue()


def _request(images: int, name: str = "a1" * 12) -> Request:
    content = [part for n in range(images) for part in (text_part(f"Image {n + 1}."), image_part(_png(n)))]
    content.append(text_part("Well?"))
    return Request(name, "", ({"role": "user", "content": content},), choice_schema(YES_NO), choices=YES_NO)


def _ask(server: OpenAIServer, *requests: Request):
    return {r.request_id: r for r in create(server.url, backoff_seconds=0.01, retries=1).respond(requests)}


def _entry(token: str, **others: float) -> dict:
    return {"token": token, "logprob": others[token.strip()],
            "top_logprobs": [{"token": t, "logprob": p} for t, p in others.items()]}  # fmt: skip


def test_images_go_in_their_order_and_the_choices_come_back_with_their_probabilities():
    def behave(seen: Seen) -> Reply:
        assert seen.body["structured_outputs"] == {"choice": ["yes", "no"]}
        assert "response_format" not in seen.body
        return Reply("no", logprobs={"content": [_entry("no", no=-0.25, yes=-1.5)]})

    with OpenAIServer(behave) as server:
        (answer,) = _ask(server, _request(3)).values()
        content = server.seen[0].body["messages"][0]["content"]
    assert [part["type"] for part in content] == ["text", "image_url"] * 3 + ["text"]
    assert (answer.text, answer.logprobs) == ("no", {"yes": -1.5, "no": -0.25})


def test_a_server_that_is_not_vllm_is_asked_for_json():
    def behave(seen: Seen) -> Reply:
        assert seen.body["response_format"]["json_schema"]["schema"] == choice_schema(YES_NO)
        head = [{"token": part, "logprob": 0.0, "top_logprobs": []} for part in ('{"', "answer", '":')]
        first = {"token": ' "yes', "logprob": -0.5, "top_logprobs": [{"token": ' "no', "logprob": -1.0}]}
        return Reply('{"answer": "yes"}', logprobs={"content": [*head, first]})

    with OpenAIServer(behave, version=None) as server:
        (answer,) = _ask(server, _request(1)).values()
    assert read_choice(answer.text or "", YES_NO) == "yes"
    assert answer.logprobs == {"yes": -0.5, "no": -1.0}


def test_a_server_without_log_probabilities_is_asked_without():
    with OpenAIServer(lambda _: Reply("yes"), gives_logprobs=False) as server:
        answers = _ask(server, _request(2), _request(1, "b2" * 12))
    assert {(a.text, a.logprobs) for a in answers.values()} == {("yes", None)}


def test_a_server_that_takes_one_image_is_one_line_before_any_question():
    with OpenAIServer(lambda _: Reply("yes"), most_images=1) as server:
        with pytest.raises(UsageError, match=r"takes 1 image in one message, 6 are needed") as caught:
            _ask(server, _request(6))
        assert not server.seen
    assert "--limit-mm-per-prompt" in (caught.value.remedy or "")


def test_a_model_without_eyes_is_one_line():
    with OpenAIServer(lambda _: Reply("yes")) as server:
        decide = server.decide
        blind = error(400, "tiny is not a multimodal model")
        server.decide = lambda body, headers: blind if "image_url" in str(body) else decide(body, headers)  # type: ignore[method-assign]
        with pytest.raises(UsageError, match="does not answer a question with 2 images") as caught:
            _ask(server, _request(2))
    assert "not a multimodal model" in str(caught.value)


def test_probabilities_are_kept_with_the_answer(tmp_path):
    with OpenAIServer(lambda _: Reply("yes", logprobs={"content": [_entry("yes", yes=-0.1, no=-3.0)]})) as server:
        (answer,) = _ask(server, _request(1)).values()
    with AnswerLog(tmp_path) as log:
        log.append(answer)
    with AnswerLog(tmp_path) as log:
        record = log.read(answer.request_id)
    assert record is not None
    assert (record.text, record.logprobs) == ("yes", {"yes": -0.1, "no": -3.0})


def test_tokens_that_begin_the_same_choice_are_added_up():
    found = choice_logprobs(
        [("Y", {"Y": np.log(0.2), "yes": np.log(0.3), "N": np.log(0.1), "7": np.log(0.05)})], YES_NO
    )
    assert found is not None
    assert found["yes"] == pytest.approx(np.log(0.5))
    assert found["no"] == pytest.approx(np.log(0.1))
    missing = choice_logprobs([("yes", {"yes": -0.1, "maybe": -4.0})], YES_NO)
    assert missing == {"yes": -0.1, "no": -4.0}, "what is not listed can have no more than the least that is"
    assert choice_logprobs([("perhaps", {"perhaps": -0.1})], YES_NO) is None
    assert choice_logprobs([], YES_NO) is None


def test_pictures_for_the_offline_engine():
    (message,) = with_pictures(_request(2).prompt)
    pictures = [part["image_pil"] for part in message["content"] if part["type"] == "image_pil"]
    assert [(p.mode, p.size, p.getpixel((0, 0))) for p in pictures] == [
        ("RGB", (6, 4), (0, 0, 0)), ("RGB", (6, 4), (1, 1, 1)),
    ]  # fmt: skip
    assert count_images(_request(2).prompt) == 2
