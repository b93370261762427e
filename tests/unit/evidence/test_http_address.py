"""Report text stays on this machine unless a person says otherwise."""

from __future__ import annotations

import socket

import pytest

from lgdea.errors import UsageError
from lgdea.evidence.backends.http import create
from lgdea.evidence.backends.http_address import check_address

# Documentation addresses (RFC 5737, RFC 3849): nobody has them.
REMOTE = ["http://192.0.2.1:8000/v1", "https://192.0.2.1/v1", "http://[2001:db8::1]:8000/v1", "http://0.0.0.0:8000"]


def _pretend(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> None:
    """Answer for some names as a name server would."""
    real = socket.getaddrinfo

    def lookup(host, port, *rest, **more):
        if host not in names:
            return real(host, port, *rest, **more)
        kinds = [(socket.AF_INET6 if ":" in a else socket.AF_INET, a) for a in names[host]]
        return [(kind, socket.SOCK_STREAM, 6, "", (a, port)) for kind, a in kinds]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


@pytest.mark.parametrize("url", REMOTE)
def test_another_machine_is_refused_without_leave_and_without_a_packet(url, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a packet was sent"))
    with pytest.raises(UsageError, match="report text must not leave") as caught:
        create(url)
    assert "--allow-remote" in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.9.10",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f.1",
        "127.1",
    ],
)
def test_every_way_to_write_loopback_is_loopback(host):
    address = check_address(f"http://{host}:9", allow_remote=False)
    assert address.is_loopback
    assert address.base.endswith(":9/v1")


@pytest.mark.parametrize("host", ["3221225985", "0xc0000201", "192.0.513", "[::ffff:192.0.2.1]"])
def test_no_way_to_write_another_address_is_loopback(host):
    with pytest.raises(UsageError, match="must not leave"):
        check_address(f"http://{host}:9", allow_remote=False)


def test_a_name_that_leads_both_here_and_elsewhere_is_refused(monkeypatch):
    _pretend(monkeypatch, {"both.example": ["127.0.0.1", "192.0.2.1"], "localhost.example": ["192.0.2.1"]})
    for host in ("both.example", "localhost.example"):
        with pytest.raises(UsageError, match="must not leave"):
            check_address(f"http://{host}:9", allow_remote=False)


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch):
    answers = {"gpu.example": ["127.0.0.1"]}
    _pretend(monkeypatch, answers)
    address = check_address("http://gpu.example:9/v1", allow_remote=False)
    answers["gpu.example"] = ["192.0.2.1"]  # the name means something else from now on
    assert address.base == "http://127.0.0.1:9/v1"
    assert address.host == "gpu.example:9"


def test_localhost_is_the_address_on_which_something_listens(monkeypatch):
    _pretend(monkeypatch, {"here.example": ["127.0.0.3", "127.0.0.2"]})
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
        assert check_address(f"http://here.example:{port}", allow_remote=False).base == f"http://127.0.0.2:{port}/v1"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:9", "http://127.0.0.1:9/v1"),
        ("http://127.0.0.1:9/", "http://127.0.0.1:9/v1"),
        ("http://127.0.0.1:9/v1/", "http://127.0.0.1:9/v1"),
        ("http://127.0.0.1:9/v1/chat/completions", "http://127.0.0.1:9/v1"),
        ("http://127.0.0.1:9/models/a/v1", "http://127.0.0.1:9/models/a/v1"),
        ("http://127.0.0.1", "http://127.0.0.1:80/v1"),
        ("https://127.0.0.1", "https://127.0.0.1:443/v1"),
    ],
)
def test_the_path_may_be_left_out(url, base):
    assert check_address(url, allow_remote=False).base == base


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://127.0.0.1:x", "http://127.0.0.1/v1?a=b", "", "/v1"]
)
def test_what_is_no_server_url_is_said_in_one_line(url):
    with pytest.raises(UsageError, match=r"http://127\.0\.0\.1:8000/v1"):
        check_address(url, allow_remote=True)


@pytest.mark.parametrize(
    "url", ["http://me:hunter2@127.0.0.1:9", "http://127.0.0.1@192.0.2.1:9", "http://:hunter2@[::1]"]
)
def test_credentials_in_the_url_are_refused_and_not_repeated(url):
    with pytest.raises(UsageError, match="credentials") as caught:
        check_address(url, allow_remote=True)
    assert "hunter2" not in str(caught.value)


def test_a_name_that_does_not_resolve_is_said(monkeypatch):
    def lookup(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(UsageError, match=r"'gpu\.invalid' does not resolve"):
        check_address("http://gpu.invalid:8000", allow_remote=False)


def test_text_in_the_clear_is_warned_of(caplog):
    create("http://192.0.2.1:8000/v1", allow_remote=True)
    assert "unencrypted to 192.0.2.1:8000" in caplog.text
    caplog.clear()
    create("https://192.0.2.1/v1", allow_remote=True)
    create("http://127.0.0.1:9/v1", allow_remote=True)
    assert caplog.text == ""


@pytest.mark.parametrize("option", ["concurrency", "max_tokens", "timeout_seconds"])
def test_options_out_of_range_are_named(option):
    with pytest.raises(UsageError, match=rf"options\.{option} is 0"):
        create("http://127.0.0.1:9", **{option: 0})


def test_a_key_variable_that_was_named_must_be_set(monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(UsageError, match="MY_KEY holds no key"):
        create("http://127.0.0.1:9", api_key_env="MY_KEY")
    monkeypatch.setenv("MY_KEY", "sécret\n")
    with pytest.raises(UsageError, match="no HTTP header can carry") as caught:
        create("http://127.0.0.1:9", api_key_env="MY_KEY")
    assert "cret" not in str(caught.value)
