"""The gate before the page: who may ask (host, origin, token), for what (a list of routes), and how much at once.

A page that binds to loopback is not safe by that alone: any site that the user visits can have the browser send
requests to it (cross-site requests), and a site that changes the address of its own name to 127.0.0.1 can even read the
answers (DNS rebinding). So the names in ``Host`` and ``Origin`` are compared, and every other address asks for a token.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
MOST_BODY = 2 * 2**20
"""Bytes of a request that is no upload; the longest text that the page takes is far shorter."""
MULTIPART = 2**20
"""What an upload may hold beside its file."""
KEPT_BYTES = 2**30
"""Of all pictures and uploads together; further uploads are refused until the page's cleaner has been round."""

ROUTES = re.compile(
    r"/|/config/?|/(?:assets|static)/.*|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/pwa_icon(?:/\d+)?"
    r"|/gradio_api/(?:app_id/?|theme\.css|startup-events|heartbeat/\w+|queue/(?:join|data)|cancel|reset/?"
    r"|upload|upload_progress|file=.*)"
)
"""What the page itself asks for. Gradio has more: a proxy, monitoring, an API, a run history."""
FILE = "/gradio_api/file="

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; media-src 'self' blob:; worker-src 'self' "
    "blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
}


class Guard:
    """An ASGI application in front of another.

    Args:
        app: The page.
        folder: Private folder of pictures and uploads: no file outside of it is served.
        token: What a visitor must know; None on loopback.
        cookie: Name of the cookie that holds it.
        most_upload: Bytes of a file that may be uploaded.
        any_host: If true, the name in ``Host`` is not compared, as an address other than loopback has many; the token
            then keeps strangers out.
    """

    def __init__(
        self, app: App, *, folder: Path, token: str | None, cookie: str, most_upload: int, any_host: bool
    ) -> None:
        self.app, self.folder, self.token, self.cookie = app, folder.resolve(), token, cookie
        self.most_upload, self.any_host = most_upload, any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or have the page answer it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # Gradio's page opens no web socket; the server closes what nobody accepts
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        if self.token is not None and (answer := self._ask_token(scope, headers)) is not None:
            await _answer(send, *answer)
            return
        limit = self.most_upload + MULTIPART if scope["path"] == "/gradio_api/upload" else MOST_BODY
        body = _Body(receive, limit)
        if scope["path"] == "/gradio_api/queue/join":
            content = await body.read_all()
            if content is None or names_other_file(content, self._may_serve):
                told = "the request is too large or names a file that is not this page's"
                await _answer(send, 413 if content is None else 400, told)
                return
        await self.app(scope, body.receive, _with_headers(send, scope["path"]))

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and line for a request that is not answered."""
        path = scope["path"]
        refusal = self._refuse_stranger(scope, headers)
        if refusal is None and not ROUTES.fullmatch(path):
            refusal = 404, "there is no such page"
        if refusal is None and path.startswith(FILE) and not self._may_serve(path[len(FILE) :]):
            refusal = 403, "there is no such picture"
        return refusal or self._refuse_size(path, headers.get("content-length", "0"))

    def _refuse_stranger(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """By the names of host and origin."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if sum(key.lower() == b"host" for key, _ in scope["headers"]) != 1:
            return 400, "the request names no host"
        if not self.any_host and host_name(host) not in LOOPBACK:
            return 403, "this page answers to 127.0.0.1 and localhost only"
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        foreign |= headers.get("sec-fetch-site") in ("cross-site", "same-site") and (
            headers.get("sec-fetch-mode") != "navigate" or scope["method"] != "GET"
        )
        return (403, "the request comes from another site") if foreign else None

    def _refuse_size(self, path: str, length: str) -> tuple[int, str] | None:
        """By the length that the browser announces; :class:`_Body` counts what really comes."""
        is_upload = path == "/gradio_api/upload"
        if not length.isdecimal() or int(length) > (self.most_upload + MULTIPART if is_upload else MOST_BODY):
            return 413, f"the file is larger than {self.most_upload // 2**20} MB"
        if is_upload and folder_bytes(self.folder) + int(length) > KEPT_BYTES:
            return 507, "too many uploads; wait some minutes"
        return None

    def _may_serve(self, name: str) -> bool:
        """Whether a file lies in the private folder, wherever its name or a link leads."""
        try:
            file = Path(unquote(name)).resolve()
        except (OSError, ValueError):
            return False
        return file.is_relative_to(self.folder) and Path(name).resolve().is_relative_to(self.folder)

    def _ask_token(self, scope: Scope, headers: dict[str, str]) -> tuple[Any, ...] | None:
        """None for a visitor with the cookie; else the answer that sets it, or that refuses."""
        assert self.token is not None
        cookies = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except ValueError:
            cookies.clear()
        held = cookies[self.cookie].value if self.cookie in cookies else ""
        if hmac.compare_digest(held.encode(), self.token.encode()):
            return None
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and hmac.compare_digest(given.encode(), self.token.encode()):
            cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Lax"
            return 303, "", [(b"location", b"/"), (b"set-cookie", cookie.encode())]
        return 401, "open the address with its token, as `lgdea app` printed it"


class _Body:
    """The body of a request, cut off at a limit."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most, self._seen = receive, most, 0
        self._kept: list[MutableMapping[str, Any]] = []

    async def receive(self) -> MutableMapping[str, Any]:
        """The next message; a body beyond the limit ends as if the browser had gone."""
        if self._kept:
            return self._kept.pop(0)
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if self._seen > self._most else message

    async def read_all(self) -> bytes | None:
        """All of the body, which :meth:`receive` then gives again; None where it is too long or was cut off."""
        messages, parts = [], []
        while True:
            message = await self.receive()
            if message["type"] != "http.request":
                return None
            messages.append(message)
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        self._kept = messages
        return b"".join(parts)


def host_name(host: str) -> str:
    """The name in a ``Host`` header, without its port.

    >>> host_name("127.0.0.1:7860"), host_name("[::1]:7860"), host_name("evil.example")
    ('127.0.0.1', '::1', 'evil.example')

    Args:
        host: The header.
    """
    name = host.strip().lower()
    return name[1 : name.index("]")] if name.startswith("[") and "]" in name else name.partition(":")[0]


def names_other_file(content: bytes, may_read: Callable[[str], bool]) -> bool:
    """Whether a request would have the server read what was not uploaded: a file of its own, or an address.

    Gradio takes the path that a request gives for an upload, if it is not stopped.

    Args:
        content: The JSON that the page sends; what is none counts as such a request.
        may_read: Whether a path is one of the page's own files.
    """
    try:
        stack = [json.loads(content)]
    except (ValueError, RecursionError):
        return True
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if isinstance(item.get("path"), str) and not may_read(item["path"]):
                return True
            stack += item.values()
        elif isinstance(item, list):
            stack += item
    return False


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder.

    Args:
        folder: The folder.
    """
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size
        except OSError:  # gone meanwhile
            continue
    return total


def _with_headers(send: Send, path: str) -> Send:
    """Add the headers of safety; what was made for this visit is not to stay in the browser's cache."""
    stored = path.startswith(("/assets/", "/static/"))

    async def wrapped(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            kept = [(k, v) for k, v in message.get("headers", []) if stored or k.lower() != b"cache-control"]
            extra = [*HEADERS.items(), *([] if stored else [(b"cache-control", b"no-store")])]
            message = {**message, "headers": [*kept, *extra]}
        await send(message)

    return wrapped


async def _answer(send: Send, status: int, line: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """Send one line of text."""
    body = f"{line}\n".encode() if line else b""
    kind = (b"content-type", b"text/plain; charset=utf-8")
    start = {"type": "http.response.start", "status": status, "headers": [kind, *HEADERS.items(), *(headers or [])]}
    await send(start)
    await send({"type": "http.response.body", "body": body})
