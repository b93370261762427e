"""Cluster side of the Ray backend: the feed of request batches, its Ray Data source, and the worker that answers them.

Importing this module imports Ray; :mod:`lgdea.evidence.backends.ray_backend` does so when a run asks for it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import pyarrow as pa
import ray
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from lgdea.errors import LgdeaError, UsageError
from lgdea.evidence.backends.base import ExtractorBackend, Request, Response, get_backend

BATCH, ANSWER = "batch", "answer"
"""Columns of the rows that go to the workers and come back; each row is one batch as JSON."""
_TRIES = 3  # deaths that one batch may cause
_WORKER_LOGS = "read the workers' logs in /tmp/ray/session_latest/logs"


class Feed:
    """An actor that holds the batches in flight: the driver puts them, the source takes them by their number.

    A number always means the same batch, so a source that Ray starts anew after a lost node reads the same again; a
    batch that has been answered in the meantime reads as empty. It also counts what workers try, because Ray would
    restart a worker that dies of its batch for ever.
    """

    def __init__(self) -> None:
        self._batches: dict[int, str] = {}
        self._tries: Counter[int] = Counter()
        self._starts = 0
        self._answered: set[int] = set()
        self._ended = False
        self._news = asyncio.Condition()

    async def put(self, number: int, batch: str) -> None:
        """Add a batch."""
        async with self._news:
            self._batches[number] = batch
            self._news.notify_all()

    async def end(self) -> None:
        """Nothing more is wanted, nor what is still waiting."""
        async with self._news:
            self._batches.clear()
            self._ended = True
            self._news.notify_all()

    async def take(self, number: int) -> str | None:
        """Wait for a batch; None at the end."""
        async with self._news:
            # Calls of an asynchronous actor may overtake each other: batch 8 can be here before batch 7.
            await self._news.wait_for(lambda: number in self._batches or number in self._answered or self._ended)
        return None if self._ended else self._batches.get(number, dump_requests(number, []))

    async def drop(self, number: int) -> None:
        """Forget an answered batch."""
        self._answered.add(number)
        self._batches.pop(number, None)
        self._tries.pop(number, None)
        self._starts = 0

    async def starting(self) -> int:
        """A worker starts; returns how many have since the last answered batch."""
        self._starts += 1
        return self._starts

    async def trying(self, number: int) -> int:
        """A worker begins a batch; returns how many have, 0 for a batch that is no longer wanted."""
        if number not in self._batches:
            return 0
        self._tries[number] += 1
        return self._tries[number]


class FeedSource(Datasource):
    """Ray Data's view of a feed: one read task that yields a block per batch; Ray Data holds it back."""

    def __init__(self, feed: Any) -> None:
        self._feed = feed

    def get_name(self) -> str:
        """Shown in Ray's logs."""
        return "Requests"

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown: requests are made while they are read."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """One task, whatever ``parallelism``: the order of the feed's numbers is its state."""
        del parallelism, per_task_row_limit, data_context
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(_reader(self._feed), unknown)]


def _reader(feed: Any) -> Callable[[], Iterator[pa.Table]]:
    def read() -> Iterator[pa.Table]:
        for number in count():
            batch = ray.get(feed.take.remote(number))
            if batch is None:
                return
            yield pa.table({BATCH: [batch]})

    return read


class Worker:
    """Makes the backend once and answers batches; what is fatal travels back as data, in the words of its error.

    Args:
        name: The backend's name.
        options: For its ``create``.
        expected: How the first backend described itself; a node with another version or model is refused.
        feed: The feed actor.
        starts: How many workers may start without any batch being answered.
    """

    def __init__(
        self, name: str, options: Mapping[str, Any], expected: Mapping[str, Any], feed: Any, starts: int
    ) -> None:
        self._name, self._feed = name, feed
        self._fatal: dict[str, Any] | None = None
        if ray.get(feed.starting.remote()) > starts:
            self._fatal = _error(f"the workers of backend {name!r} die when they start", _WORKER_LOGS)
            return
        try:
            self._backend = get_backend(name, **options)
            found = plain(self._backend.describe())
        except Exception as error:
            self._fatal = fatal(name, error)
            return
        if found != expected:
            keys = [k for k in {**expected, **found} if expected.get(k) != found.get(k)]
            differences = ", ".join(f"{k}: {expected.get(k)!r} and {found.get(k)!r}" for k in keys)
            self._fatal = _error(
                f"the nodes' backends {name!r} differ ({differences})", "install the same on every node"
            )

    def __call__(self, rows: Mapping[str, Any]) -> dict[str, list[str]]:
        """Answer rows, each one batch of requests."""
        return {ANSWER: [json.dumps(self._answer(*load_requests(row))) for row in rows[BATCH]]}

    def _answer(self, number: int, requests: list[Request]) -> dict[str, Any]:
        if self._fatal is None:
            try:
                return {"number": number, "responses": [vars(r) for r in self._responses(number, requests)]}
            except Exception as error:
                self._fatal = fatal(self._name, error)
        return {"number": number, "fatal": self._fatal}

    def _responses(self, number: int, requests: list[Request]) -> Iterable[Response]:
        tries = ray.get(self._feed.trying.remote(number))
        if tries == 0:
            return []
        if tries > _TRIES:
            detail = f"a worker died {_TRIES} times while it answered the batch of this request"
            return [Response(r.request_id, failure="backend_error", detail=detail) for r in requests]
        return {r.request_id: r for r in self._backend.respond(requests)}.values()


def look(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """On a node: whether the backend can be made there, whether it needs a prompt and how it describes itself."""
    try:
        backend: ExtractorBackend = get_backend(name, **options)
        return {"needs_prompt": backend.needs_prompt, "description": plain(backend.describe())}
    except Exception as error:
        return {"fatal": fatal(name, error)}


def fatal(name: str, error: Exception) -> dict[str, Any]:
    """An exception of a backend as plain data."""
    if isinstance(error, LgdeaError):
        return _error(str(error), None, usage=isinstance(error, UsageError))
    return _error(f"backend {name!r} stopped ({type(error).__name__}: {error})", "run the same command again to resume")


def plain(description: Mapping[str, Any]) -> dict[str, Any]:
    """Round-trip a description through JSON, as it arrives on a worker."""
    return dict(json.loads(json.dumps(description, default=str)))


def dump_requests(number: int, requests: Iterable[Request]) -> str:
    """A batch as JSON."""
    return json.dumps({"number": number, "requests": [vars(r) for r in requests]})


def load_requests(batch: str) -> tuple[int, list[Request]]:
    """The batch that :func:`dump_requests` wrote."""
    content = json.loads(batch)
    requests = [Request(**{**r, "prompt": tuple(r["prompt"])}) for r in content["requests"]]
    return int(content["number"]), requests


def load_responses(answer: Mapping[str, Any]) -> list[Response]:
    """The responses that a worker wrote."""
    return [Response(**r) for r in answer["responses"]]


def _error(problem: str, remedy: str | None, *, usage: bool = False) -> dict[str, Any]:
    return {"problem": problem, "remedy": remedy, "usage": usage}
