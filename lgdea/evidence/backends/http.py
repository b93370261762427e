"""Any OpenAI-compatible server (``vllm serve``) as a backend: many requests at once, through a bounded window."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from lgdea.errors import UsageError
from lgdea.evidence.backends.base import Request, Response
from lgdea.evidence.backends.http_address import Address, check_address
from lgdea.evidence.backends.http_client import Server
from lgdea.evidence.backends.http_session import Session, Settings
from lgdea.evidence.backends.parts import count_images
from lgdea.evidence.backends.sampling import Sampling, require_at_least

KEY_VARIABLE = "LGDEA_API_KEY"
_LOG = logging.getLogger(__name__)


class HttpBackend:
    """Asks a server over HTTP; made by :func:`create`.

    The server is first spoken to by :meth:`describe`, or by :meth:`respond` when there is something to ask.
    """

    name = "http"
    needs_prompt = True

    def __init__(
        self, address: Address, *, model: str | None, key: str | None, key_variable: str, settings: Settings
    ) -> None:
        self._address = address
        self._model = model
        self._key = key
        self._key_variable = key_variable
        self._settings = settings
        self._identity: dict[str, Any] | None = None
        self._is_proven = False
        self._schemas: set[str] = set()
        self._images = 0
        self._gives_logprobs = True

    @property
    def is_remote(self) -> bool:
        """Whether requests leave this machine."""
        return not self._address.is_loopback

    def respond(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Answer each request once, in the order in which the server is done.

        At most twice ``concurrency`` requests are taken ahead of the answers, so that no slot is idle while the caller
        writes.

        Raises:
            EvidenceError: The server stays away, fails one request after the other, came back with another model, or
                does not hold its answers to the schema.
            UsageError: It refuses the key or does not have the model.
        """
        source = iter(requests)
        waiting = list(islice(source, 1))
        if not waiting:
            return
        with self._open_session() as session:
            self._prepare(session, waiting[0])
            waiting.extend(islice(source, 2 * self._settings.concurrency - 1))
            for request in waiting:
                session.submit(request)
            under_way = len(waiting)
            while under_way:
                response = session.next()
                for request in islice(source, 1):
                    session.submit(request)
                    under_way += 1
                under_way -= 1
                yield response

    def describe(self) -> dict[str, Any]:
        """Model, its root, the server's version and the sampling; nothing that a restart elsewhere would change."""
        if self._identity is None:
            with self._open_session() as session:
                self._identity = session.call(session.connect())
        return {"backend": self.name, **self._identity, "sampling": self._settings.sampling.describe()}

    def _prepare(self, session: Session, request: Request) -> None:
        """Find out who answers, and that it takes schema and images, before the first question is sent.

        Of several numbers of images the largest must come first.
        """
        if self._identity is None:
            self._identity = session.call(session.connect())
        if request.is_held and not self._is_proven:
            session.call(session.check_structured_output())
            self._is_proven = True
        schema = json.dumps(request.json_schema)
        if request.is_held and schema not in self._schemas:
            session.call(session.try_schema(dict(request.json_schema)))
            self._schemas.add(schema)
        if count_images(request.prompt) > self._images:
            session.call(session.try_images(request))
            self._images, self._gives_logprobs = count_images(request.prompt), session.gives_logprobs
        session.gives_logprobs = self._gives_logprobs

    def _open_session(self) -> Session:
        return Session(
            self._make_server,
            address=self._address,
            settings=self._settings,
            model=self._model,
            identity=self._identity,
        )

    def _make_server(self) -> Server:
        return Server(
            self._address,
            key=self._key,
            key_variable=self._key_variable,
            connections=self._settings.concurrency,
            timeout_seconds=self._settings.timeout_seconds,
        )


def create(
    url: str,
    model: str | None = None,
    *,
    api_key_env: str = KEY_VARIABLE,
    concurrency: int = 32,
    max_tokens: int = 2048,
    temperature: float = 0.0,
    seed: int = 0,
    timeout_seconds: float = 300.0,
    max_wait_seconds: float = 600.0,
    retries: int = 5,
    backoff_seconds: float = 1.0,
    allow_remote: bool = False,
) -> HttpBackend:
    """Entry point.

    Args:
        url: The server's API, ``http://127.0.0.1:8000/v1``; the path may be left out.
        model: A name that the server lists; may be left out when it lists one.
        api_key_env: The environment variable that holds the key, when the server wants one. The key itself is never an
            option, because options are written down.
        concurrency: Requests under way at once; a server on a GPU wants more than one on a CPU.
        max_tokens: Room for an answer at the first attempt; each further attempt has twice as much.
        temperature: 0 takes the most probable token.
        seed: For a temperature above 0.
        timeout_seconds: How long one answer may take before it is asked for again.
        max_wait_seconds: How long a server may be away, or too busy for one request, before the run stops.
        retries: How often a request is repeated after server errors, broken connections and time-outs.
        backoff_seconds: The longest first pause before a repetition; it doubles each time.
        allow_remote: Whether report text may leave this machine.

    Raises:
        UsageError: The URL is no server's or is remote, the variable is not set, or an option is out of range.
    """
    sampling = Sampling(max_tokens, temperature, seed)
    for name, value, least in (
        ("concurrency", concurrency, 1),
        ("retries", retries, 0),
        ("max_wait_seconds", max_wait_seconds, 0),
        ("backoff_seconds", backoff_seconds, 0),
    ):
        require_at_least(name, value, least)
    if timeout_seconds <= 0:
        raise UsageError(f"options.timeout_seconds is {timeout_seconds}, more than 0 is needed")
    address = check_address(url, allow_remote=allow_remote)
    key = _read_key(api_key_env)
    if not address.is_loopback and not address.is_encrypted:
        _LOG.warning("report text and key travel unencrypted to %s; an https URL would protect them", address.shown)
    settings = Settings(
        concurrency=concurrency,
        timeout_seconds=timeout_seconds,
        sampling=sampling,
        max_wait_seconds=max_wait_seconds,
        retries=retries,
        backoff_seconds=backoff_seconds,
    )
    return HttpBackend(address, model=model, key=key, key_variable=api_key_env, settings=settings)


def _read_key(variable: str) -> str | None:
    """The key, None when there is none; a variable that was named on purpose must be set."""
    key = os.environ.get(variable, "").strip()
    if not key:
        if variable != KEY_VARIABLE:
            raise UsageError(f"the variable {variable} holds no key", remedy="set it, or leave options.api_key_env out")
        return None
    if not key.isascii() or not key.isprintable():
        raise UsageError(f"the key in {variable} holds characters that no HTTP header can carry")
    return key
