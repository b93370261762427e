"""Addresses of servers, and the check that report text may go there.

Text leaves this machine only when that was asked for. A URL without ``allow_remote`` must resolve to loopback
addresses alone, and the connection goes to the very address that was checked, so that a name whose meaning changes, or
an address written as 2130706433, cannot lead elsewhere.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from lgdea.errors import UsageError

_PORTS = {"http": 80, "https": 443}
_DEFAULT_PATH = "/v1"
_ENDPOINT = "/chat/completions"


@dataclass(frozen=True)
class Address:
    """A checked server.

    ``base`` is the URL to connect to, ending in the API's path (``/v1``); its host is a checked loopback address, or
    the name as given when remote servers are allowed. ``host`` is the name as given, for the ``Host`` header and the
    certificate; ``shown`` is what messages call the server.
    """

    base: str
    host: str
    shown: str
    is_loopback: bool
    is_encrypted: bool

    @property
    def root(self) -> str:
        """``base`` without ``/v1``: where vLLM answers ``/version``."""
        return self.base.removesuffix(_DEFAULT_PATH)


def check_address(url: str, *, allow_remote: bool) -> Address:
    """Read the URL of an OpenAI-compatible server and refuse it when text must not go there.

    Args:
        url: ``http://127.0.0.1:8000/v1``; the path may be left out.
        allow_remote: Whether another machine may be asked.

    Raises:
        UsageError: It is no such URL, holds credentials, does not resolve, or is remote without leave.
    """
    parts, port = _split(url)
    host = parts.hostname or ""
    path = parts.path.rstrip("/").removesuffix(_ENDPOINT) or _DEFAULT_PATH
    shown = f"{_bracketed(host)}:{port}"
    found = _resolve(host, port, optional=allow_remote)
    is_loopback = bool(found) and all(_is_loopback(a) for a in found)
    if not is_loopback and not allow_remote:
        raise UsageError(
            f"the server {shown} is not on this machine, and report text must not leave it by accident",
            remedy="use http://127.0.0.1:PORT/v1, or say --allow-remote",
        )
    target = _bracketed(_reachable(found, port)) if is_loopback else _bracketed(host)
    return Address(
        base=f"{parts.scheme}://{target}:{port}{path}",
        host=f"{_bracketed(host)}:{port}",
        shown=shown,
        is_loopback=is_loopback,
        is_encrypted=parts.scheme == "https",
    )


def _split(url: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        raise UsageError("the server's URL cannot be read", remedy="write it as http://127.0.0.1:8000/v1") from None
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "the server's URL holds credentials", remedy="leave them out and put the key in the variable LGDEA_API_KEY"
        )
    if parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"{url!r} is not a server's URL", remedy="write it as http://127.0.0.1:8000/v1")
    if port == 0:
        raise UsageError(f"{url!r} names port 0, which no server has", remedy="write it as http://127.0.0.1:8000/v1")
    return parts, port


def _resolve(host: str, port: int, *, optional: bool) -> list[str]:
    """The addresses of a name; none when it is unknown here but a proxy may know it (``optional``)."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        if optional:
            return []
        raise UsageError(f"the server's name {host!r} does not resolve ({error})", remedy="check the URL") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def _reachable(addresses: list[str], port: int) -> str:
    """The first address that takes a connection: ``localhost`` is often two, and the server listens on one."""
    for address in addresses:
        try:
            with socket.create_connection((address, port), timeout=2):
                return address
        except OSError:
            continue
    return addresses[0]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
