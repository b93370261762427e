"""An OpenAI-compatible server on loopback with faults on demand: the standard library's server, real sockets."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

from PIL import Image

EMPTY = '{"units": []}'


@dataclass(frozen=True)
class Seen:
    """One chat request as it arrived; ``key`` is the last message, ``count`` how often that message has come so far."""

    key: str
    count: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    images: int = 0


@dataclass(frozen=True)
class Reply:
    """What to do: answer (also with an error), ``hang`` until the server ends, or ``cut`` the connection half-way."""

    text: str = EMPTY
    finish_reason: str = "stop"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: str | None = None
    message: Mapping[str, Any] = field(default_factory=dict)
    logprobs: Mapping[str, Any] | None = None
    hang: bool = False
    cut: bool = False


def error(status: int, message: str, **headers: str) -> Reply:
    """An error in OpenAI's form."""
    content = {"error": {"message": message, "type": "invalid_request_error", "code": status}}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, raw=json.dumps(content), headers=names)


class OpenAIServer:
    """Serves until :meth:`kill`; start another with the same ``port`` to restart it.

    Args:
        behave: Decides on each real request; the start-up schema check and the trial of the schema are answered here.
        models: Names under ``/v1/models``.
        key: The bearer token that is asked for.
        port: 0 takes a free one.
        constrains: Whether answers are held to the schema.
        version: What ``/version`` says, None for a server without one.
        page: What every GET is answered with instead.
        most_images: Images that are taken in one message, None for any number.
        gives_logprobs: Whether log-probabilities may be asked for.
    """

    def __init__(
        self,
        behave: Callable[[Seen], Reply] = lambda _: Reply(),
        *,
        models: Sequence[str] = ("tiny",),
        key: str | None = None,
        port: int = 0,
        constrains: bool = True,
        version: str | None = "0.0-test",
        page: str | None = None,
        most_images: int | None = None,
        gives_logprobs: bool = True,
    ) -> None:
        self.most_images = most_images
        self.gives_logprobs = gives_logprobs
        self.behave = behave
        self.models = list(models)
        self.key = key
        self.constrains = constrains
        self.version = version
        self.page = page
        self.seen: list[Seen] = []
        self.paths: Counter[str] = Counter()
        self.most_at_once = 0
        self.ended = threading.Event()
        self._at_once = 0
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._server = _Listener(("127.0.0.1", port), _handler(self))
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> OpenAIServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End as a killed process does: the port closes and every connection is reset, whatever was under way."""
        if self.ended.is_set():
            return
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        with self._lock:
            for connection in self._sockets:
                _reset(connection)
        self._thread.join()

    def keys(self) -> Counter[str]:
        """How often each message has arrived."""
        return Counter(seen.key for seen in self.seen)

    # What the handler calls, in its own thread per connection.

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._sockets.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(connection)

    def decide(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        if body["model"] not in self.models:
            return error(404, f"The model `{body['model']}` does not exist.")
        if body.get("logprobs") and not self.gives_logprobs:
            return error(400, "logprobs are not supported")
        key, images = _read_message(body["messages"][-1])
        if self.most_images is not None and images > self.most_images:
            return error(400, f"At most {self.most_images} image(s) may be provided in one prompt.")
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
        only = schema.get("properties", {}).get("answer", {}).get("enum", [])
        if len(only) == 1:
            return Reply(json.dumps({"answer": only[0]}) if self.constrains else "Blue.")
        if body["max_tokens"] == 1:
            return Reply("{", finish_reason="length")
        with self._lock:
            self._counts[key] += 1
            seen = Seen(key, self._counts[key], body, headers, images)
            self.seen.append(seen)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return self.behave(seen)
        finally:
            with self._lock:
                self._at_once -= 1


def _read_message(message: Mapping[str, Any]) -> tuple[str, int]:
    """The text of a message, and its number of images, each of which must be a whole PNG."""
    content = message["content"]
    if isinstance(content, str):
        return content, 0
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    for url in urls:
        head, _, data = url.partition(",")
        assert head == "data:image/png;base64", head
        Image.open(BytesIO(base64.b64decode(data, validate=True))).verify()
    return " ".join(part["text"] for part in content if part["type"] == "text"), len(urls)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A broken connection is what these tests are about."""


def _handler(server: OpenAIServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server.opened(self.connection)

        def finish(self) -> None:
            server.closed(self.connection)
            super().finish()

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            server.paths[self.path] += 1
            if self._is_refused():
                return
            if server.page is not None:
                self._send(Reply(raw=server.page))
            elif self.path == "/v1/models":
                data = [{"id": name, "object": "model", "root": f"org/{name}"} for name in server.models]
                self._send(Reply(raw=json.dumps({"object": "list", "data": data})))
            elif self.path == "/version" and server.version:
                self._send(Reply(raw=json.dumps({"version": server.version})))
            else:
                self._send(error(404, "Not Found"))

        def do_POST(self) -> None:
            server.paths[self.path] += 1
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self._is_refused():
                return
            if self.path != "/v1/chat/completions":
                self._send(error(404, "Not Found"))
                return
            reply = server.decide(body, dict(self.headers))
            if reply.hang:
                server.ended.wait()
            if server.ended.is_set():
                _reset(self.connection)
                return
            self._send(reply)

        def _is_refused(self) -> bool:
            if server.key is None or self.headers.get("Authorization") == f"Bearer {server.key}":
                return False
            self._send(error(401, f"Incorrect API key provided: {self.headers.get('Authorization')}"))
            return True

        def _send(self, reply: Reply) -> None:
            message = {"role": "assistant", "content": reply.text, **reply.message}
            choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
            choices = [choice if reply.logprobs is None else {**choice, "logprobs": reply.logprobs}]
            completion = {"object": "chat.completion", "choices": choices, "usage": {"completion_tokens": 7}}
            content = (json.dumps(completion) if reply.raw is None else reply.raw).encode()
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if reply.cut:
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                _reset(self.connection)
                return
            self.wfile.write(content)

    return Handler


def _reset(connection: socket.socket) -> None:
    """Send RST instead of a polite end."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
        connection.close()
    except OSError:
        pass
