"""Any backend on a Ray cluster: batches of requests stream through Ray Data to workers that each hold one backend.

Requests and responses travel through Ray, so the nodes need no common file system; the driver alone writes.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.backends.base import Request, Response

_AHEAD = 4  # batches in flight per worker: one is answered, the others are on their way
_STARTS = 3  # of workers, per worker, without any answer in between; more are no accident
_OBJECT_STORE = 200 * 2**20  # bytes, of a local Ray: batches in flight are small
_CONNECT_SECONDS = 10
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class RayBackend:
    """Shards requests over a Ray cluster; the answers are those of the backend ``name`` on one machine.

    At most ``4 * workers * batch_size`` requests are in flight. The workers, and the engines in them, stay up between
    calls of :meth:`respond` until :meth:`close`. A worker that is killed is started again and its batch done again;
    each request still gets one response.

    Args:
        name: A backend of the entry-point group ``lgdea.backends``; it is made once in every worker.
        options: For its ``create``; paths among them must exist on every node.
        workers: How many backends work at the same time.
        batch_size: Requests that a worker is given at once: what is done again when it dies. An engine that batches
            by itself, such as vLLM, wants hundreds.
        address: ``auto`` or ``host:port`` of a running cluster; ``local`` starts Ray on this machine and stops it.
        num_cpus: CPU slots that each worker takes.
        num_gpus: GPUs that each worker sees; 1 for a vLLM engine per GPU, more for tensor parallelism.

    Raises:
        UsageError: Ray is not installed, the cluster is not there or too small, or the backend does not exist or does
            not take these options.
        EvidenceError: The backend does not start on the cluster.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        workers: int = 2,
        batch_size: int = 256,
        address: str = "local",
        num_cpus: float = 1,
        num_gpus: float = 0,
    ) -> None:
        if workers < 1 or batch_size < 1:
            raise UsageError("workers and batch_size must be at least 1", remedy="give positive numbers")
        self.name = name
        self._options = dict(options or {})
        self._workers, self._batch_size = workers, batch_size
        self._resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        self._answers: Iterator[dict[str, Any]] | None = None
        self._feed: Any = None
        self._next, self._broken = 0, False
        self._started_ray = _connect(address, workers, num_cpus)
        try:
            self._check_size()
            seen = self._look()
        except BaseException:
            self.close()
            raise
        self.needs_prompt: bool = seen["needs_prompt"]
        self._description: dict[str, Any] = seen["description"]

    @property
    def is_remote(self) -> bool:
        """Whether requests may leave the cluster."""
        return bool(self._options.get("allow_remote"))

    def describe(self) -> dict[str, Any]:
        """The inner backend's own words, so that a local run and a cluster's are the same run."""
        return dict(self._description)

    def respond(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Answer the requests in the order in which the workers finish their batches.

        Raises:
            EvidenceError: A worker met a fatal condition, or kept dying. What was yielded before stands.
        """
        from lgdea.evidence.backends import ray_worker

        source = iter(requests)
        open_batches: set[int] = set()
        while True:
            while len(open_batches) < _AHEAD * self._workers and (batch := list(islice(source, self._batch_size))):
                open_batches.add(self._put(batch))
            if not open_batches:
                return
            answer = self._next_answer()
            if answer["number"] in open_batches:  # not one of an earlier call that was given up
                open_batches.remove(answer["number"])
                yield from ray_worker.load_responses(answer)

    def close(self) -> None:
        """Stop the workers, and Ray where this object started it."""
        import ray

        if not self._started_ray:
            self._stop()
        else:
            self._started_ray, self._answers = False, None
            ray.shutdown()

    def _put(self, batch: list[Request]) -> int:
        from lgdea.evidence.backends import ray_worker

        if self._broken:
            self._stop()
        if self._answers is None:
            self._answers = self._start()
        number, self._next = self._next, self._next + 1
        self._feed.put.remote(number, ray_worker.dump_requests(number, batch))
        return number

    def _next_answer(self) -> dict[str, Any]:
        """Wait for the next batch that is done."""
        from ray.exceptions import RayError

        assert self._answers is not None
        try:
            answer = next(self._answers)
        except (RayError, StopIteration) as error:
            self._broken = True
            raise EvidenceError(
                f"the Ray cluster stopped working on backend {self.name!r} ({_last_line(error)})",
                remedy="run the same command again to resume; the workers' logs are in /tmp/ray/session_latest/logs",
            ) from error
        if "fatal" in answer:
            self._broken = True
            raise _error(answer["fatal"])
        self._feed.drop.remote(answer["number"])
        return answer

    def _start(self) -> Iterator[dict[str, Any]]:
        """The running pipeline: feed, one reading task, a pool of workers, and back to the driver."""
        import ray.data
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from lgdea.evidence.backends import ray_worker

        self._next, self._broken = 0, False
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._feed = ray.remote(ray_worker.Feed).options(num_cpus=0, scheduling_strategy=here).remote()
        answers = ray.data.read_datasource(
            ray_worker.FeedSource(self._feed), override_num_blocks=1, num_cpus=0
        ).map_batches(
            ray_worker.Worker,
            fn_constructor_args=(self.name, self._options, self._description, self._feed, _STARTS * self._workers),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=self._workers),
            num_cpus=self._resources["num_cpus"],
            num_gpus=self._resources["num_gpus"],
        )
        # One row, which is one batch of requests, is a block: nothing waits for more to fill a block.
        answers.context.target_min_block_size = answers.context.target_max_block_size = 1
        answers.context.enable_progress_bars = False
        batches = answers.iter_batches(batch_size=None, prefetch_batches=0)
        return (json.loads(row) for rows in batches for row in rows[ray_worker.ANSWER])

    def _stop(self) -> None:
        """Let the pipeline run dry, so that Ray Data gives its workers back; they end the batches they are at."""
        import ray
        from ray.exceptions import RayError

        if self._answers is None:
            return
        with suppress(RayError):  # what has broken needs no end
            ray.get(self._feed.end.remote())
            deque(self._answers, maxlen=0)
        ray.kill(self._feed)
        self._answers = None

    def _look(self) -> dict[str, Any]:
        """Make the backend once on a node, so that what is wrong with it is said before the work begins."""
        import ray
        from ray.exceptions import RayError

        from lgdea.evidence.backends import ray_worker

        task = ray.remote(ray_worker.look).options(max_retries=0, **self._resources)
        try:
            seen: dict[str, Any] = ray.get(task.remote(self.name, self._options))
        except RayError as error:
            raise EvidenceError(
                f"backend {self.name!r} does not start on the cluster ({_last_line(error)})",
                remedy="install the same lgdea and the backend's libraries on every node",
            ) from error
        if "fatal" in seen:
            raise _error(seen["fatal"])
        return seen

    def _check_size(self) -> None:
        import ray

        there = ray.cluster_resources()
        for kind, each in (("CPU", self._resources["num_cpus"]), ("GPU", self._resources["num_gpus"])):
            if each * self._workers > there.get(kind, 0):
                raise UsageError(
                    f"{self._workers} workers of {each:g} {kind} need {each * self._workers:g}, "
                    f"the cluster has {there.get(kind, 0):g}",
                    remedy="ask for fewer workers or start more nodes",
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _connect(address: str, workers: int, num_cpus: float) -> bool:
    """Join or start Ray without its chatter; True when it was started or joined here."""
    for key, value in _QUIET.items():
        os.environ.setdefault(key, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(f"the ray runner needs {error.name}", remedy="pip install 'lgdea[ray]'") from None
    log = logging.getLogger("ray.data")
    log.handlers = [h for h in log.handlers if not isinstance(h, logging.StreamHandler)]  # its file keeps everything
    if ray.is_initialized():
        return False
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        slots = max(os.cpu_count() or 1, math.ceil(workers * num_cpus))
        options.update(num_cpus=slots, include_dashboard=False, object_store_memory=_OBJECT_STORE)
    try:
        if ":" in address:  # Ray itself would wait for minutes for a host that is not there
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
        with _muted():
            ray.init(address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"no Ray cluster at {address!r} ({_last_line(error)})", remedy="start one: ray start --head"
        ) from None
    return True


@contextmanager
def _muted() -> Iterator[None]:
    """Standard error closed to Ray's native code, which announces its own log level there; errors still raise."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _error(content: Mapping[str, Any]) -> EvidenceError | UsageError:
    kind = UsageError if content["usage"] else EvidenceError
    return kind(content["problem"], remedy=content["remedy"])


def _last_line(error: BaseException) -> str:
    """Return the last of Ray's many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
