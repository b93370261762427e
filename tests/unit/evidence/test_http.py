"""The http backend against a server that does what real servers do on a bad day."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from email.utils import formatdate

import httpx
import pytest

from lgdea.errors import EvidenceError, LgdeaError, UsageError
from lgdea.evidence.backends.base import ExtractorBackend, Request, Response, get_backend
from lgdea.evidence.backends.http import create
from lgdea.evidence.backends.http_session import pause_seconds
from tests.helpers.http_questions import PATIENCE_SECONDS, SCHEMA, ask, make_backend, make_requests
from tests.helpers.openai_server import EMPTY, OpenAIServer, Reply, Seen, error

SAMPLING = {"temperature": 0.0, "seed": 0, "max_tokens": 2048}


def _first(count: int, reply: Reply) -> Callable[[Seen], Reply]:
    """Give ``reply`` the first ``count`` times that a message comes, then answer with the message."""
    return lambda seen: reply if seen.count <= count else Reply(f'"{seen.key}"')


def test_each_answer_goes_to_its_question_whatever_the_order():
    odd_may_answer = threading.Event()

    def behave(seen: Seen) -> Reply:
        # Even questions are answered first, so answers come in another order than questions.
        if int(seen.key[1:]) % 2:
            assert odd_may_answer.wait(PATIENCE_SECONDS)
        elif seen.key == "r6":
            odd_may_answer.set()
        return Reply(f'"answer to {seen.key}"')

    with OpenAIServer(behave) as server:
        responses = list(make_backend(server).respond(make_requests(40)))
    assert {r.request_id: r.text for r in responses} == {f"id-{n}": f'"answer to r{n}"' for n in range(40)}
    assert [r.request_id for r in responses] != [f"id-{n}" for n in range(40)]
    assert all(r.tokens == 7 and r.failure is None for r in responses)


def test_the_entry_point_finds_it():
    with OpenAIServer() as server:
        backend = get_backend("http", url=server.url)
        assert isinstance(backend, ExtractorBackend)
        assert backend.needs_prompt


@pytest.mark.parametrize("concurrency", [1, 4])
def test_concurrency_is_used_and_bounded(concurrency):
    together = threading.Barrier(concurrency)

    def behave(seen: Seen) -> Reply:
        together.wait(PATIENCE_SECONDS)  # nobody is answered before as many are here as may be
        return Reply()

    with OpenAIServer(behave) as server:
        answers = ask(server, 5 * concurrency, concurrency=concurrency)
        assert server.most_at_once == concurrency
    assert {r.text for r in answers.values()} == {EMPTY}


def test_requests_are_taken_as_answers_leave():
    taken = 0

    def endless() -> Iterator[Request]:
        nonlocal taken
        for request in make_requests(10**9):
            taken += 1
            yield request

    with OpenAIServer() as server:
        answers = make_backend(server, concurrency=4).respond(endless())
        for given in range(1, 60):
            next(answers)
            assert taken <= given + 2 * 4
        answers.close()


def test_what_is_sent_is_what_was_asked():
    messages = ({"role": "system", "content": "Read."}, {"role": "user", "content": "Lungs \ud800 clear 肺 <|end|>"})
    with OpenAIServer() as server:
        backend = make_backend(server, max_tokens=100, temperature=0.5, seed=3)
        (response,) = backend.respond([Request("a", "x", messages, SCHEMA, attempt=3)])
        (seen,) = server.seen
    assert response.text == EMPTY
    assert seen.body == {
        "model": "tiny",
        "messages": list(messages),
        "temperature": 0.5,
        "seed": 3,
        "max_tokens": 400,  # the third attempt has four times the room
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
    }


def test_no_request_costs_no_server():
    backend = create("http://127.0.0.1:9/v1")
    assert list(backend.respond([])) == []


@pytest.mark.parametrize(
    "reply",
    [
        error(429, "slow down", Retry_After="0.01"),
        error(429, "slow down", Retry_After=formatdate(0, usegmt=True)),
        error(429, "slow down", Retry_After="soon"),
        error(500, "EngineCore encountered an issue"),
        error(503, "overloaded", Retry_After="0"),
        Reply(status=502, raw="<html>Bad Gateway</html>", headers={"Content-Type": "text/html"}),
        Reply(raw="<html>Sign in to the guest network</html>", headers={"Content-Type": "text/html"}),
        Reply(raw='{"choices": []}'),
        Reply(raw="[]"),
        Reply(finish_reason="abort"),
        Reply("x" * 20_000, cut=True),
        Reply(headers={"Content-Encoding": "gzip"}),
    ],
    ids=lambda r: f"{r.status}-{r.finish_reason}-{'cut' if r.cut else (r.raw or '')[:12]}-{len(r.headers)}",
)
def test_a_passing_fault_is_passed_over(reply):
    with OpenAIServer(_first(2, reply)) as server:
        answers = ask(server, 12)
        assert set(server.keys().values()) == {3}
    assert {k: r.text for k, r in answers.items()} == {f"id-{n}": f'"r{n}"' for n in range(12)}


def test_a_hanging_connection_is_asked_again():
    with OpenAIServer(_first(1, Reply(hang=True))) as server:
        answers = ask(server, 6, timeout_seconds=0.5)
    assert {r.text for r in answers.values()} == {f'"r{n}"' for n in range(6)}


def test_too_many_requests_are_repeated_for_longer_than_errors_are():
    with OpenAIServer(_first(9, error(429, "slow down"))) as server:
        assert ask(server, 1, retries=1, backoff_seconds=0.001)["id-0"].text == '"r0"'
    with OpenAIServer(_first(9, error(500, "oh"))) as server:
        failed = ask(server, 1, retries=1)["id-0"]
        assert server.keys() == {"r0": 2}
    assert (failed.failure, failed.detail) == ("backend_error", "500 oh")


@pytest.mark.parametrize("tomorrow", ["86400", formatdate(time.time() + 86400, usegmt=True)], ids=["seconds", "date"])
def test_a_wait_that_is_too_long_is_not_begun(tomorrow):
    with OpenAIServer(lambda _: error(429, "come back tomorrow", Retry_After=tomorrow)) as server:
        failed = ask(server, 1)["id-0"]
        assert server.keys() == {"r0": 1}
    assert (failed.failure, failed.detail) == ("backend_error", "429 come back tomorrow")


def test_pauses_double_are_spread_and_never_shorter_than_the_server_asks():
    for tries, longest in ((0, 1.0), (1, 2.0), (4, 16.0), (5, 32.0), (6, 60.0), (50, 60.0)):
        pauses = [pause_seconds(1.0, tries) for _ in range(400)]
        assert 0 <= min(pauses) < 0.2 * longest
        assert 0.8 * longest < max(pauses) <= longest
    asked = [pause_seconds(1.0, 3, 7.0) for _ in range(400)]
    assert 7.0 <= min(asked) < max(asked) <= 8.0


def test_one_bad_item_harms_no_other():
    def behave(seen: Seen) -> Reply:
        return error(500, "boom") if seen.key in ("r3", "r4") else Reply()

    with OpenAIServer(behave) as server:
        answers = ask(server, 30, retries=2)
        assert server.keys()["r3"] == 3
    assert {k for k, r in answers.items() if r.failure} == {"id-3", "id-4"}


def test_a_server_that_fails_everything_ends_the_run():
    with OpenAIServer(lambda _: error(500, "CUDA out of memory")) as server:
        answers = make_backend(server, retries=0).respond(make_requests(10_000))
        with pytest.raises(EvidenceError, match=r"failed 8 requests in a row \(500 CUDA out of memory\)"):
            list(answers)
        assert len(server.keys()) < 100


VLLM_TOO_LONG = (
    "This model's maximum context length is 512 tokens. However, your prompt contains 871 input tokens, which exceeds "
    "this limit even without any output tokens. Please reduce the length of the input prompt."
)
LLAMA_CPP_TOO_LONG = "the request exceeds the available context size. try increasing the context size"


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (error(400, VLLM_TOO_LONG), "too_long"),
        (error(400, LLAMA_CPP_TOO_LONG), "too_long"),
        (error(413, "Payload Too Large"), "too_long"),
        (error(400, "Invalid character"), "refused"),
        (error(422, "no"), "refused"),
        (Reply('{"units": [', finish_reason="length"), "length"),
        (Reply("", finish_reason="content_filter"), "refused"),
        (Reply("", message={"content": None, "refusal": "I can't help with that."}), "refused"),
    ],
)
def test_a_failure_that_stands_is_typed_and_not_repeated(reply, failure):
    with OpenAIServer(lambda seen: reply if seen.key == "r2" else Reply()) as server:
        answers = ask(server, 9)
        assert set(server.keys().values()) == {1}
    assert {k: r.failure for k, r in answers.items() if r.failure} == {"id-2": failure}
    assert answers["id-2"].text is None
    assert answers["id-2"].detail


@pytest.mark.parametrize(
    "message",
    [
        "'max_tokens' or 'max_completion_tokens' is too large: 2048. This model's maximum context length is 1000 "
        "tokens and your request has 900 input tokens (2048 > 1000 - 900).",
        "This model's maximum context length is 1000 tokens. However, you requested 2948 tokens (900 in the messages, "
        "2048 in the completion). Please reduce the length of the messages or completion.",
    ],
)
def test_an_answer_that_would_not_fit_gets_the_room_there_is(message):
    with OpenAIServer(lambda seen: error(400, message) if seen.body["max_tokens"] > 100 else Reply()) as server:
        assert ask(server, 1)["id-0"].text == EMPTY
        assert [seen.body["max_tokens"] for seen in server.seen] == [2048, 100]


def test_a_server_that_dies_and_comes_back_loses_and_doubles_nothing(caplog):
    count, lives = 200, []

    def behave(seen: Seen) -> Reply:
        if len(lives) == 1 and len(lives[0].seen) > 60:
            return Reply(hang=True)  # the first life ends while these are under way
        return Reply(f'"{seen.key}"')

    with OpenAIServer(behave) as first:
        lives.append(first)
        answers = make_backend(first, concurrency=8).respond(make_requests(count))
        got = [next(answers) for _ in range(50)]
        first.kill()
        restart = threading.Timer(0.3, lambda: lives.append(OpenAIServer(behave, port=first.port)))
        restart.start()
        got += answers
    restart.join()
    with lives[1] as second:
        # What the first life had answered was not asked again, but for what was under way when it died.
        again = first.keys().keys() & second.keys().keys()
        assert len(again) <= 8
        assert first.keys().keys() | second.keys().keys() == {f"r{n}" for n in range(count)}
    assert Counter(r.request_id for r in got) == Counter(f"id-{n}" for n in range(count))
    assert {r.text for r in got} == {f'"r{n}"' for n in range(count)}
    said = [record.getMessage() for record in caplog.records if record.name.startswith("lgdea")]
    assert len(said) == 2, said
    assert f"127.0.0.1:{first.port} does not answer" in said[0]
    assert "waiting up to 60 s" in said[0]
    assert "going on" in said[1]


def _answers_around_a_restart(after: Callable[[int], OpenAIServer | None]) -> tuple[list[Response], LgdeaError]:
    with OpenAIServer() as first:
        answers = make_backend(first, concurrency=2, max_wait_seconds=1.0).respond(make_requests(10_000))
        got = [next(answers)]
        first.kill()
        second = after(first.port)
        try:
            with pytest.raises(LgdeaError) as caught:
                got.extend(answers)
        finally:
            if second is not None:
                second.kill()
    return got, caught.value


def test_a_server_that_stays_away_ends_the_run_in_one_line():
    got, ended = _answers_around_a_restart(lambda _: None)
    assert isinstance(ended, EvidenceError)
    assert "did not come back within 1 s" in str(ended)
    assert "what was answered is kept" in str(ended)
    assert all(r.failure is None for r in got)


@pytest.mark.parametrize("other", [{"version": "9.9"}, {"models": ["small"]}, {"key": "secret"}])
def test_a_server_that_comes_back_as_another_is_not_trusted(other):
    got, ended = _answers_around_a_restart(lambda port: OpenAIServer(port=port, **other))
    assert any(words in str(ended) for words in ("as another one", "one of those it lists: small", "asks for a key"))
    assert all(r.failure is None for r in got)


def test_a_server_that_was_never_there_is_an_error_at_once():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EvidenceError, match=f"no OpenAI-compatible server answers at 127.0.0.1:{port}") as caught:
        create(f"http://127.0.0.1:{port}").describe()
    assert "vllm serve" in str(caught.value)


@pytest.mark.parametrize("content", ["<html>It works!</html>", '{"hello": "world"}'])
def test_a_web_page_is_no_server(content):
    with (
        OpenAIServer(page=content) as server,
        pytest.raises(EvidenceError, match="no OpenAI-compatible server answers"),
    ):
        make_backend(server).describe()


def test_a_wrong_key_is_one_line_that_does_not_hold_it(monkeypatch):
    with OpenAIServer(key="right-key") as server:
        with pytest.raises(UsageError, match=r"asks for a key \(401\)") as caught:
            make_backend(server).describe()
        assert "LGDEA_API_KEY" in str(caught.value)
        monkeypatch.setenv("LGDEA_API_KEY", "wrong-key")
        with pytest.raises(UsageError, match=r"refuses the key \(401\)") as caught:
            list(make_backend(server).respond(make_requests(3)))
        assert "wrong-key" not in str(caught.value)
        monkeypatch.setenv("LGDEA_API_KEY", "right-key\n")
        assert len(ask(server, 3)) == 3


def test_a_key_that_the_server_repeats_is_struck_out(monkeypatch):
    monkeypatch.setenv("MY_KEY", "right-key")
    repeats = error(400, "you sent right-key")
    with OpenAIServer(lambda _: repeats, key="right-key") as server:
        assert ask(server, 1, api_key_env="MY_KEY")["id-0"].detail == "400 you sent ***"


def test_a_wrong_model_name_lists_the_right_ones():
    with OpenAIServer(models=["tiny", "small"]) as server:
        with pytest.raises(
            UsageError, match=r"does not have the model 'huge'; name one of those it lists: tiny, small"
        ):
            make_backend(server, model="huge").describe()
        with pytest.raises(UsageError, match=r"more than one model or none; name one of those it lists: tiny, small"):
            list(make_backend(server).respond(make_requests(1)))
        assert not server.seen
        assert make_backend(server, model="small").describe()["model"] == "small"


def test_a_model_that_is_unloaded_in_the_middle_ends_the_run():
    with OpenAIServer(models=["tiny", "small"]) as server:
        answers = make_backend(server, model="tiny", concurrency=1).respond(make_requests(100))
        next(answers)
        server.models.remove("tiny")
        with pytest.raises(UsageError, match=r"does not have the model 'tiny'; name one of those it lists: small"):
            list(answers)


def test_a_server_that_ignores_the_schema_is_found_out_before_the_first_report():
    with OpenAIServer(constrains=False) as server:
        with pytest.raises(EvidenceError, match="does not hold its answers to the schema"):
            list(make_backend(server).respond(make_requests(3)))
        assert not server.seen


def test_a_schema_that_the_server_cannot_take_is_found_out_before_the_first_report(monkeypatch):
    with OpenAIServer() as server:
        decide = server.decide

        def picky(body, headers):
            is_ours = body["response_format"]["json_schema"]["schema"] == SCHEMA
            return error(400, "Grammar error: uniqueItems is not supported") if is_ours else decide(body, headers)

        monkeypatch.setattr(server, "decide", picky)
        with pytest.raises(EvidenceError, match=r"does not take the schema .*uniqueItems"):
            list(make_backend(server).respond(make_requests(3)))
        assert not server.seen


def test_a_redirect_is_not_followed():
    with OpenAIServer() as elsewhere:
        sent_away = Reply(status=307, headers={"Location": f"{elsewhere.url}/chat/completions?token=x"})
        not_followed = r"redirects to 127\.0\.0\.1/v1/chat/completions; .*not followed"
        with OpenAIServer(lambda _: sent_away) as server, pytest.raises(EvidenceError, match=not_followed):
            list(make_backend(server).respond(make_requests(3)))
        assert not elsewhere.paths


def test_a_proxy_in_the_environment_sees_nothing(monkeypatch):
    with OpenAIServer() as proxy, OpenAIServer() as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert httpx.Client()._mounts, "the environment does name a proxy"
        assert len(ask(server, 4)) == 4
        assert not proxy.paths


def test_a_server_without_a_list_of_models_is_taken_at_its_word():
    with OpenAIServer(version=None) as server:
        no_list = f"http://127.0.0.1:{server.port}/other"
        with pytest.raises(UsageError, match="more than one model or none"):
            create(no_list).describe()
        backend = create(no_list, model="tiny", backoff_seconds=0.01)
        assert backend.describe() == {"backend": "http", "model": "tiny", "sampling": SAMPLING}
        with pytest.raises(UsageError, match=r"has no /other/chat/completions; check the URL"):
            list(backend.respond(make_requests(1)))


def test_the_description_outlives_a_restart_at_another_port(monkeypatch):
    monkeypatch.setenv("LGDEA_API_KEY", "right-key")
    with OpenAIServer(key="right-key") as first:
        before = make_backend(first, concurrency=3).describe()
    with OpenAIServer(key="right-key") as second:
        assert make_backend(second, concurrency=5).describe() == before
    assert before == {
        "backend": "http",
        "model": "tiny",
        "root": "org/tiny",
        "server_version": "0.0-test",
        "sampling": SAMPLING,
    }


def test_leaving_early_ends_every_connection_and_thread():
    with OpenAIServer(lambda seen: Reply(hang=int(seen.key[1:]) > 2)) as server:
        answers = make_backend(server).respond(make_requests(100))
        next(answers)
        answers.close()  # what Ctrl-C does to the generator
        assert not [t for t in threading.enumerate() if t.name == "lgdea-http"]
