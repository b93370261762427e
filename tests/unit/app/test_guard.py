"""Who is answered, for what, and how much: the guard alone, with an application behind it that counts its requests."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import pytest

from lgdea.app.guard import MOST_BODY, Guard, names_other_file


class Behind:
    """Answers 200 and keeps what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope, receive, send) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=9")]})
        await send({"type": "http.response.body", "body": b"page"})


def ask(guard: Guard, path="/", *, method="GET", query="", body=b"", chunks=1, **headers):
    """Status and headers of a request; ``host`` is 127.0.0.1:7860 unless it is given."""
    given = {"host": "127.0.0.1:7860", **{k.replace("_", "-"): v for k, v in headers.items() if v is not None}}
    size = max(1, -(-len(body) // chunks))
    parts = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
    messages = [{"type": "http.request", "body": p, "more_body": i + 1 < len(parts)} for i, p in enumerate(parts)]
    sent = []

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(),
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in given.items()],
    }  # fmt: skip
    asyncio.run(guard(scope, receive, send))
    return (sent[0]["status"], dict(sent[0]["headers"])) if sent else (None, {})


@pytest.fixture
def behind() -> Behind:
    return Behind()


@pytest.fixture
def guard(behind, tmp_path) -> Guard:
    return Guard(behind, folder=tmp_path, token=None, cookie="c", most_upload=2**20, any_host=False)


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:9000", "[::1]:7860", "LOCALHOST", "127.0.0.1"])
def test_this_machines_names_are_answered(guard, host):
    assert ask(guard, host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "evil.example:7860", "localhost.evil.example", "[::2]:1", "", "0.0.0.0"],
)
def test_another_name_for_this_machine_is_refused(guard, behind, host):
    assert ask(guard, host=host)[0] == 403
    assert behind.bodies == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},  # another application of this machine
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"},
    ],
)
def test_requests_of_other_sites_are_refused(guard, behind, headers):
    assert ask(guard, "/gradio_api/queue/join", method="POST", body=b"{}", **headers)[0] == 403
    assert behind.bodies == []


def test_the_page_itself_and_a_followed_link_are_answered(guard):
    assert ask(guard, origin="http://127.0.0.1:7860", sec_fetch_site="same-origin")[0] == 200
    assert ask(guard, sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 200
    assert ask(guard, method="POST", sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=http://example.org/", "/monitoring", "/monitoring/summary", "/gradio_api/info", "/docs",
        "/gradio_api/run/x", "/gradio_api/api/x", "/gradio_api/call/x", "/gradio_api/runs", "/gradio_api/vibe-edit",
        "/gradio_api/deep_link", "/gradio_api/process_recording", "/gradio_api/file/etc/passwd", "/openapi.json",
        "/gradio_api/stream/a/b/c/playlist.m3u8", "/gradio_api/mcp/", "/svelte/x", "/login", "/gradio_api/token",
    ],
)  # fmt: skip
def test_only_what_the_page_needs_is_served(guard, behind, path):
    assert ask(guard, path)[0] == 404
    assert behind.bodies == []


def test_files_outside_of_the_private_folder_are_refused(guard, tmp_path):
    inside = tmp_path / "a" / "picture.png"
    inside.parent.mkdir()
    inside.write_bytes(b"x")
    (tmp_path / "link.png").symlink_to("/etc/passwd")
    assert ask(guard, f"/gradio_api/file={inside}")[0] == 200
    tries = [
        "/etc/passwd", f"{tmp_path}/../../etc/passwd", f"{tmp_path}/a/../../x", "../../etc/passwd", "pyproject.toml",
        quote(f"{tmp_path}/../x", safe=""), quote(quote("/etc/passwd", safe=""), safe=""), f"{tmp_path}/link.png",
        "http://example.org/x.png", "//example.org/x", f"{tmp_path}\0/x", "~/.ssh/id_rsa", "",
    ]  # fmt: skip
    assert [path for path in tries if ask(guard, f"/gradio_api/file={path}")[0] != 403] == []


def test_a_body_is_limited_by_what_comes_and_not_only_by_what_is_announced(guard, behind):
    long = b"[" + b" " * MOST_BODY + b"]"
    post = {"method": "POST"}
    assert ask(guard, "/gradio_api/queue/join", body=long, content_length=str(len(long)), **post)[0] == 413
    assert ask(guard, "/gradio_api/queue/join", body=long, chunks=9, **post)[0] == 413
    assert ask(guard, "/gradio_api/upload", body=b"x" * 2**22, chunks=9, **post)[0] is None
    assert ask(guard, "/gradio_api/upload", content_length="ten", **post)[0] == 413
    assert ask(guard, "/gradio_api/upload", content_length="-1", **post)[0] == 413
    assert behind.bodies == []


def test_a_request_arrives_as_it_was_sent(guard, behind):
    body = json.dumps({"data": ["left effusion", None, {"path": str(guard.folder / "x.png")}]}).encode()
    assert ask(guard, "/gradio_api/queue/join", method="POST", body=body, chunks=5)[0] == 200
    assert behind.bodies == [body]


@pytest.mark.parametrize(
    "path",
    ["http://127.0.0.1:1/x.png", " HTTPS://example.org/", "//example.org/x", "hTTp://[::1]", "/etc/passwd",
     "x.png", "../x.png", "/home/someone/private.png", ""],
)  # fmt: skip
def test_the_server_fetches_nothing_and_reads_none_of_its_files(guard, behind, path):
    body = json.dumps({"data": ["x", [{"a": {"path": path, "meta": {"_type": "gradio.FileData"}}}]]}).encode()
    assert ask(guard, "/gradio_api/queue/join", method="POST", body=body)[0] == 400
    assert behind.bodies == []


def test_what_is_no_json_is_refused():
    def nothing(_: str) -> bool:
        return False

    assert names_other_file(b"\xff", nothing)
    assert names_other_file(b"[" * 100_000, nothing)
    assert not names_other_file(b'{"path": 3, "data": ["see http://example.org in the report"]}', nothing)


def test_answers_forbid_requests_elsewhere_and_are_not_kept(guard):
    headers = ask(guard)[1]
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert ask(guard, "/assets/a.js")[1][b"cache-control"] == b"max-age=9"


def test_a_token_is_asked_for_and_kept_in_a_cookie(behind, tmp_path):
    guard = Guard(behind, folder=tmp_path, token="secret", cookie="c", most_upload=1, any_host=True)
    for path in ("/", "/config", "/assets/a.js", "/gradio_api/upload"):
        assert ask(guard, path, host="films.example")[0] == 401
    assert ask(guard, query="token=wrong")[0] == 401
    assert ask(guard, query="token=")[0] == 401
    assert ask(guard, cookie="c=wrong")[0] == 401
    assert ask(guard, cookie="\x00;=;;")[0] == 401
    status, headers = ask(guard, query="token=secret")
    assert (status, headers[b"location"]) == (303, b"/")
    assert b"HttpOnly" in headers[b"set-cookie"]
    assert behind.bodies == []
    assert ask(guard, cookie="other=1; c=secret", host="films.example")[0] == 200


def test_uploads_end_where_the_private_folder_is_full(guard, tmp_path, monkeypatch):
    monkeypatch.setattr("lgdea.app.guard.KEPT_BYTES", 1000)
    (tmp_path / "kept").write_bytes(b"x" * 900)
    assert ask(guard, "/gradio_api/upload", method="POST", body=b"x" * 50, content_length="50")[0] == 200
    assert ask(guard, "/gradio_api/upload", method="POST", body=b"x" * 200, content_length="200")[0] == 507


def test_web_sockets_get_no_answer(guard, behind):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(guard({"type": "websocket", "path": "/", "headers": []}, None, send))
    assert sent == []
    assert behind.bodies == []
