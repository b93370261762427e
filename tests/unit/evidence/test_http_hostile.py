"""The http backend against a server that answers what no server should: one report's failure, no more."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import threading
import tracemalloc

import pytest

from lgdea.errors import UsageError
from lgdea.evidence.backends.base import Request
from lgdea.evidence.backends.http_address import check_address
from lgdea.evidence.backends.http_client import Server, TransientServerError
from lgdea.evidence.prompts import load_prompt
from lgdea.evidence.response import InvalidResponse
from tests.helpers.http_questions import ask, make_backend, make_requests
from tests.helpers.openai_server import EMPTY, OpenAIServer, Reply, error


@pytest.mark.parametrize("tokens", ["NaN", "Infinity", '"many"', "-3", "true", "[1]", "1e999"])
def test_a_count_of_tokens_that_is_none_does_no_harm(tokens):
    content = json.dumps({"choices": [{"message": {"content": EMPTY}, "finish_reason": "stop"}], "usage": "U"})
    raw = content.replace('"U"', f'{{"completion_tokens": {tokens}}}')
    with OpenAIServer(lambda _: Reply(raw=raw)) as server:
        answers = ask(server, 2)
    assert [(r.text, r.tokens) for r in answers.values()] == [(EMPTY, None)] * 2


@pytest.mark.parametrize(
    "message",
    [{"content": 7}, {"content": ["a"]}, {"content": None, "refusal": 7}, {"content": EMPTY, "refusal": {"a": 1}}],
)
def test_an_answer_of_another_kind_is_one_reports_failure(message):
    bad = Reply("", message=message)
    with OpenAIServer(lambda seen: bad if seen.key == "r2" else Reply()) as server:
        answers = ask(server, 6, retries=1)
    assert {k: r.failure for k, r in answers.items() if r.failure} == {"id-2": "backend_error"}


@pytest.mark.parametrize("depth", [10_000, 1_000_000])
def test_an_answer_of_deep_nesting_is_one_reports_failure(depth):
    nested = "[" * depth + "]" * depth
    envelope = Reply(raw=f'{{"choices": {nested}}}')
    with OpenAIServer(lambda seen: {"r1": envelope, "r2": Reply(nested)}.get(seen.key, Reply())) as server:
        answers = ask(server, 6, retries=1)
    assert {k: r.failure for k, r in answers.items() if r.failure} == {"id-1": "backend_error"}
    with pytest.raises(InvalidResponse):
        load_prompt("evidence-v1").parse(answers["id-2"].text, "Clear lungs.")


@pytest.mark.parametrize("kind", ["endless", "gzip"])
def test_an_endless_answer_is_cut_off(kind):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    blank = b" " * (1 << 20)
    if kind == "gzip":
        body = gzip.compress(blank * 512)
        reply = head + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    if not connection.recv(65536):
                        continue  # it was only tried whether anybody listens
                    connection.sendall(reply if kind == "gzip" else head + b"\r\n")
                    while kind == "endless":
                        connection.sendall(blank)

        threading.Thread(target=serve, daemon=True).start()
        address = check_address(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", allow_remote=False)

        async def ask() -> None:
            client = Server(address, key=None, key_variable="K", connections=1, timeout_seconds=60)
            try:
                await client.models()
            finally:
                await client.close()

        tracemalloc.start()
        with pytest.raises(TransientServerError, match=r"longer than 16 MB|compressed"):
            asyncio.run(ask())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 64 << 20


def test_a_complaint_that_repeats_the_report_is_not_shown():
    report = "FINDINGS: Moderate left effusion, unchanged."
    request = Request("id", "", ({"role": "user", "content": f"Read this.\n{report}"},), {})
    for echo in (f"boom: {json.dumps(report)}", "in 'MODERATE left\\neffusion'", f"x{report}x"):
        with OpenAIServer(lambda _, echo=echo: error(500, echo)) as server:
            (answer,) = make_backend(server, retries=0).respond([request])
        assert answer.failure == "backend_error"
        assert answer.detail.startswith("500 (the server repeats the prompt")
        assert "effusion" not in answer.detail.lower()


def test_a_long_list_of_models_is_shown_in_part():
    models = [f"model-{n}-{'x' * 1000}" for n in range(5_000)]
    with OpenAIServer(models=models) as server, pytest.raises(UsageError, match="and 4,990 more") as error_info:
        list(make_backend(server, model="other").respond(make_requests(1)))
    assert len(str(error_info.value)) < 2_000
