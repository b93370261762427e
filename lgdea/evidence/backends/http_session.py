"""Many requests to one server at once: retries with back-off, and patience while the server is away.

The event loop runs in a thread of its own. The caller's thread submits requests and takes outcomes, so that neither the
reader of reports nor the writer of answers needs to know of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.backends.base import Failure, Request, Response
from lgdea.evidence.backends.choices import TOP_TOKENS, choice_logprobs
from lgdea.evidence.backends.http_address import Address
from lgdea.evidence.backends.http_client import Answer, RequestRefusedError, Server, TransientServerError, unknown_model
from lgdea.evidence.backends.parts import count_images, with_urls
from lgdea.evidence.backends.sampling import Sampling
from lgdea.evidence.backends.schema_check import check_schema_answer, schema_check_request

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

SCHEMA_REMEDY = "use a server with structured output, such as `vllm serve`, and a model that it supports"
_LONGEST_PAUSE_SECONDS = 60.0
_MOST_IMAGES = re.compile(r"(?:at most|maximum of|up to|limit of|only) (\d+) image", re.IGNORECASE)
_WINDOW = re.compile(r"maximum context length is (\d+)")
_PROMPT = re.compile(r"(\d+) input tokens|\((\d+) in the messages")


@dataclass(frozen=True)
class Settings:
    """Settings of the requests to a server; see :func:`lgdea.evidence.backends.http.create`."""

    concurrency: int
    timeout_seconds: float
    sampling: Sampling
    max_wait_seconds: float
    retries: int
    backoff_seconds: float


class Session:
    """A running event loop with one server's connections; use it in a ``with`` block.

    Args:
        make_server: Makes the :class:`Server`; called inside.
        address: For messages.
        settings: How to ask.
        model: The model's name, None for the only one there.
        identity: What :meth:`identify` found earlier; the server must be the same after it was away.
    """

    def __init__(
        self,
        make_server: Callable[[], Server],
        *,
        address: Address,
        settings: Settings,
        model: str | None,
        identity: dict[str, Any] | None = None,
    ) -> None:
        self._make_server = make_server
        self._address = address
        self._settings = settings
        self._model = model
        self._identity = identity
        self._outcomes: SimpleQueue[Response | Exception] = SimpleQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._absence: asyncio.Task[bool] | None = None
        self._given_up = 0
        self.gives_logprobs = True
        """False for a server that refuses to tell log-probabilities."""

    def __enter__(self) -> Session:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="lgdea-http", daemon=True)
        self._thread.start()
        self._server = self._make_server()
        self._slots = asyncio.Semaphore(self._settings.concurrency)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the loop and wait for its result; an interrupt ends it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def submit(self, request: Request) -> None:
        """Ask ``request`` as soon as a slot is free."""
        self._loop.call_soon_threadsafe(self._start, request)

    def next(self) -> Response:
        """Wait for the next outcome of a submitted request.

        Raises:
            LgdeaError: Nothing more can be answered.
        """
        outcome = self._outcomes.get()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def identify(self) -> dict[str, Any]:
        """Name the model that answers, in words that stay the same when the server is restarted at another port.

        Raises:
            TransientServerError: Nobody answers now.
            UsageError: The model has to be named, or the server does not have it.
        """
        listed = await self._server.models()
        if listed is None and self._model is not None:
            entry: dict[str, Any] = {"id": self._model}
        else:
            names = [e for e in listed or [] if self._model in (None, e["id"])]
            if len(names) != 1:
                raise unknown_model(self._address, self._model, listed or [])
            entry = names[0]
        version = await self._server.version()
        found = {"model": entry["id"], "root": entry.get("root"), "max_model_len": entry.get("max_model_len")}
        return {k: v for k, v in {**found, "server_version": version}.items() if v is not None}

    async def connect(self) -> dict[str, Any]:
        """:meth:`identify` for the first time: a server that does not answer at all is an error, not waited for."""
        try:
            self._identity = await self.identify()
        except TransientServerError as trouble:
            raise EvidenceError(
                f"no OpenAI-compatible server answers at {self._address.shown} ({trouble.detail})",
                remedy="start one, for example with `vllm serve MODEL`, or check the URL",
            ) from None
        return self._identity

    async def check_structured_output(self) -> None:
        """Check that the server holds its answers to a schema."""
        check_schema_answer(await self._answer(schema_check_request()), backend="http", remedy=SCHEMA_REMEDY)

    async def try_schema(self, schema: dict[str, Any]) -> None:
        """Show the server the schema with an empty question, lest it refuse each report for the schema's sake."""
        request = Request("schema", "", ({"role": "user", "content": "No report."},), schema)
        response = await self._answer(request, max_tokens=1)
        if response.failure not in (None, "length"):
            raise EvidenceError(f"the server does not take the schema ({response.detail})", remedy=SCHEMA_REMEDY)

    async def try_images(self, request: Request) -> None:
        """Show the server a question with images, lest it refuse each one for their number.

        Raises:
            UsageError: It takes fewer images in one message, or none.
        """
        response = await self._answer(request, max_tokens=1)
        if response.failure == "refused" and self.gives_logprobs:
            self.gives_logprobs = False
            again = await self._answer(request, max_tokens=1)
            self.gives_logprobs = again.failure == "refused"
            response = again if again.failure != "refused" else response
        if response.failure in ("refused", "backend_error"):
            raise self._explain_images(count_images(request.prompt), response.detail)

    def _explain_images(self, needed: int, detail: str) -> UsageError:
        limit = _MOST_IMAGES.search(detail)
        if limit is None:
            return UsageError(
                f"the server {self._address.shown} does not answer a question with {needed} images ({detail})",
                remedy="serve a model that reads several images in one message",
            )
        one = int(limit[1]) < 2  # a query beside a single reference is two
        most = f"{limit[1]} image" + ("" if limit[1] == "1" else "s")
        other = "serve a model that reads several images" if one else "take fewer references"
        return UsageError(
            f"the server {self._address.shown} takes {most} in one message, {needed} are needed",
            remedy=f"start it with a higher limit (vLLM: --limit-mm-per-prompt), or {other}",
        )

    def _start(self, request: Request) -> None:
        task = self._loop.create_task(self._serve(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, request: Request) -> None:
        """Put exactly one outcome for ``request``, unless the session is shut before."""
        try:
            async with self._slots:
                self._outcomes.put(await self._answer(request))
        except Exception as error:
            self._outcomes.put(error)

    async def _answer(self, request: Request, max_tokens: int | None = None) -> Response:
        """Ask until there is an answer, or a failure that stands."""
        body = self._make_body(request, max_tokens)
        tries = failures = 0
        waited = 0.0
        while True:
            try:
                answer = await self._server.chat(body)
            except RequestRefusedError as refused:
                if _shrink(body, refused.detail):
                    continue
                self._given_up = 0
                failure: Failure = "too_long" if refused.too_long else "refused"
                return Response(request.request_id, failure=failure, detail=refused.detail)
            except TransientServerError as caught:
                trouble = caught
            else:
                self._given_up = 0
                return _make_response(request, answer)
            was_away = trouble.kind in ("gone", "lost") and await self._wait_until_back(trouble)
            if was_away and trouble.kind == "gone":
                continue  # this request never reached the server
            pause = pause_seconds(self._settings.backoff_seconds, tries, trouble.retry_after)
            tries += 1
            failures += trouble.kind != "busy"
            waited += pause
            if failures > self._settings.retries or waited > self._settings.max_wait_seconds:
                return self._give_up(request, trouble)
            await asyncio.sleep(pause)

    def _make_body(self, request: Request, max_tokens: int | None) -> dict[str, Any]:
        assert self._identity is not None, "connect() comes first"
        sampling = self._settings.sampling
        return {
            "model": self._identity["model"],
            "messages": with_urls(request.prompt),
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "max_tokens": max_tokens or sampling.budget(request.attempt),
            **self._constraint(request),
        }

    def _constraint(self, request: Request) -> dict[str, Any]:
        """What holds an answer to its schema or choices, and asks how probable the choices are.

        A model that has learned to answer with a bare word is thrown by JSON, so vLLM is told the choices themselves.
        """
        if not request.is_held:
            return {}
        schema = {"name": "answer", "schema": request.json_schema, "strict": True}
        held = {"response_format": {"type": "json_schema", "json_schema": schema}}
        if not request.choices:
            return held
        if "server_version" in (self._identity or {}):
            held = {"structured_outputs": {"choice": list(request.choices)}}
        return {**held, **({"logprobs": True, "top_logprobs": TOP_TOKENS} if self.gives_logprobs else {})}

    def _give_up(self, request: Request, trouble: TransientServerError) -> Response:
        """A failure of this request alone, unless one request after the other fails."""
        self._given_up += 1
        limit = max(8, self._settings.concurrency)
        if self._given_up >= limit:
            raise EvidenceError(
                f"the server {self._address.shown} failed {limit} requests in a row ({trouble.detail})",
                remedy="see its log, then run the same command again: what was answered is kept",
            )
        return Response(request.request_id, failure="backend_error", detail=trouble.detail)

    async def _wait_until_back(self, trouble: TransientServerError) -> bool:
        """Wait for a server that is away, once for all requests; False when it was there all the time."""
        if self._absence is None or self._absence.done():
            self._absence = asyncio.create_task(self._watch(trouble))
        return await asyncio.shield(self._absence)

    async def _watch(self, trouble: TransientServerError) -> bool:
        longest = self._settings.max_wait_seconds
        began, tries = self._loop.time(), 0
        while True:
            try:
                found = await self.identify()
                break
            except TransientServerError as still:
                if tries == 0:
                    line = "%s does not answer (%s); waiting up to %g s for it"
                    _LOG.warning(line, self._address.shown, trouble.detail, longest)
                if self._loop.time() - began > longest:
                    raise EvidenceError(
                        f"the server {self._address.shown} did not come back within {longest:g} s ({still.detail})",
                        remedy="start it and run the same command again: what was answered is kept",
                    ) from None
            await asyncio.sleep(pause_seconds(self._settings.backoff_seconds, min(tries, 3)))
            tries += 1
        if found != self._identity:
            raise EvidenceError(
                f"the server {self._address.shown} came back as another one ({found}, before {self._identity})",
                remedy="serve the same model again, or choose a new --out",
            )
        if tries:
            _LOG.warning("%s answers again; going on", self._address.shown)
        return tries > 0

    async def _shut(self) -> None:
        for task in {*self._tasks, *filter(None, [self._absence])}:
            task.cancel()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
        await self._server.close()


def pause_seconds(base: float, tries: int, retry_after: float | None = None) -> float:
    """Exponential back-off with full jitter (Brooker, AWS Architecture Blog, 2015), never less than the server asks."""
    if retry_after is not None:
        return retry_after + random.uniform(0, base)
    return random.uniform(0, min(_LONGEST_PAUSE_SECONDS, base * 2.0**tries))


def _make_response(request: Request, answer: Answer) -> Response:
    request_id = request.request_id
    if answer.finish_reason == "length":
        return Response(request_id, failure="length", detail=f"cut after {answer.tokens} tokens", tokens=answer.tokens)
    if answer.finish_reason == "content_filter" or answer.refusal:
        detail = answer.refusal[:300] or "stopped by the server's content filter"
        return Response(request_id, failure="refused", detail=detail, tokens=answer.tokens)
    logprobs = choice_logprobs(answer.listed, request.choices) if request.choices else None
    return Response(request_id, answer.text, tokens=answer.tokens, logprobs=logprobs)


def _shrink(body: dict[str, Any], detail: str) -> bool:
    """Ask for no more tokens than the model's window leaves, when the server says that the answer would not fit.

    Some servers (vLLM before 0.20) refuse prompt + answer beyond the window, although the prompt alone fits.
    """
    window, prompt = _WINDOW.search(detail), _PROMPT.search(detail)
    if window is None or prompt is None:
        return False
    room = int(window[1]) - int(prompt[1] or prompt[2])
    if not 0 < room < body["max_tokens"]:
        return False
    body["max_tokens"] = room
    return True
