"""Questions to a server on loopback, and the ``http`` backend that asks them."""

from __future__ import annotations

from collections.abc import Iterator

from lgdea.evidence.backends.base import ExtractorBackend, Request, Response
from lgdea.evidence.backends.http import create
from tests.helpers.openai_server import OpenAIServer

SCHEMA = {"type": "object", "properties": {"units": {"type": "array"}}}
PATIENCE_SECONDS = 60.0  # only ever waited for when a test fails


def make_requests(count: int, **more) -> Iterator[Request]:
    for n in range(count):
        yield Request(f"id-{n}", f"r{n}", ({"role": "user", "content": f"r{n}"},), SCHEMA, **more)


def make_backend(server: OpenAIServer, **options) -> ExtractorBackend:
    settings = {"concurrency": 8, "backoff_seconds": 0.01, "max_wait_seconds": PATIENCE_SECONDS, **options}
    return create(server.url, **settings)


def ask(server: OpenAIServer, count: int, **options) -> dict[str, Response]:
    responses = list(make_backend(server, **options).respond(make_requests(count)))
    found = {r.request_id: r for r in responses}
    assert len(found) == len(responses) == count, "each request has exactly one response"
    return found
