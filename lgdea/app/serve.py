"""Serving the page: a private folder for its pictures, the guard in front, and nothing left when it ends."""

from __future__ import annotations

import atexit
import contextlib
import ipaddress
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

from lgdea.app.bench import AppSettings, Bench
from lgdea.app.guard import Guard
from lgdea.app.reports import require_local
from lgdea.app.uploads import MOST_BYTES
from lgdea.errors import StoppedError, UsageError

_log = logging.getLogger(__name__)
PREFIX = "lgdea-app-"
_OF_PROCESS = re.compile(rf"{PREFIX}(\d+)-")
SILENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",  # else Gradio asks api.gradio.app for its newest version
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_RUN_HISTORY": "False",  # else what was asked and answered stays in the browser
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_SSR_MODE": "False",
}
CACHE = (300, 3600)
"""Seconds between two rounds of the cleaner, and after which it removes a picture."""


def serve(
    settings: AppSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: bool = False,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the page until the process is asked to end.

    Args:
        settings: What the app works with.
        host: Address to bind to; any other than loopback asks visitors for a token.
        port: Its port; 0 takes a free one.
        token: If true, visitors from this machine are asked for a token too.
        ready: Called with the page's address when it answers.

    Raises:
        UsageError: gradio is not installed, a folder is missing, or the address cannot be bound to.
        StoppedError: The process was asked to end.
    """
    _require_gradio()
    if settings.url is not None:
        require_local(settings.url)
    bench = Bench(settings)
    bench.require_model()
    with _Ending() as ending, contextlib.closing(bind(host, port)) as listening, private_folder() as folder:
        local = is_loopback(host)
        secret = secrets.token_urlsafe(24) if token or not local else None
        bound = listening.getsockname()[1]
        page = make_page(bench, folder)
        guard = Guard(
            page, folder=folder, token=secret, cookie=f"lgdea_app_{bound}", most_upload=MOST_BYTES, any_host=not local
        )
        address = f"http://{_shown(host)}:{bound}/" + (f"?token={secret}" if secret else "")
        if not local:
            _log.warning("the page is open to the network, unencrypted: whoever sees its address can read the archive")
        _run(guard, listening, ending, lambda: ready(address))


def make_page(bench: Bench, folder: Path) -> Any:
    """The page as an ASGI application whose pictures lie in ``folder``.

    Args:
        bench: What it works with.
        folder: Private folder.
    """
    os.environ.update(SILENT, GRADIO_TEMP_DIR=str(folder))
    import gradio
    from fastapi import FastAPI

    from lgdea.app.page import LOOK, build_page

    blocks = build_page(bench, CACHE)
    return gradio.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        path="",
        footer_links=[],
        run_history=False,
        show_error=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        max_file_size=MOST_BYTES,
        **LOOK,
    )


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that this user alone can read, removed at the end; those of processes that were killed go too."""
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{PREFIX}*"):
        match = _OF_PROCESS.match(left.name)
        if match and _is_mine(left) and not _is_alive(int(match[1])):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent)).resolve()
    # A request that is still being answered may write a picture after the first removal.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Args:
        host: Address or name.
        port: Port; 0 takes a free one.

    Raises:
        UsageError: The name is unknown, or the port is taken or not allowed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError, OverflowError):
        raise UsageError(f"the host {host!r} is not known", remedy="give an address of this machine") from None
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        why = os.strerror(error.errno) if error.errno else str(error)
        raise UsageError(f"cannot listen on {host} port {port} ({why})", remedy="choose another --port") from None
    return listening


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)

    Args:
        host: Address or name; a name is loopback when all its addresses are.
    """
    try:
        found = {item[4][0] for item in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ipaddress.ip_address(str(one).partition("%")[0]).is_loopback for one in found)


class _Ending:
    """Signals that end the process: raised as an error, or told to the server once it runs."""

    SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self) -> None:
        self.server: Any = None
        self.received: int | None = None

    def __enter__(self) -> Self:
        self._earlier = {number: signal.signal(number, self._receive) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _: FrameType | None) -> None:
        # While it serves, uvicorn has a handler of its own for SIGTERM, and raises the signal again when all is closed.
        self.received = number
        if self.server is None:
            self.refuse()
        self.server.should_exit = True

    def refuse(self) -> None:
        """Raise, where a signal has come."""
        if self.received is not None:
            raise StoppedError(self.received, f"the app was ended by {signal.Signals(self.received).name}")


def _run(app: Any, listening: socket.socket, ending: _Ending, ready: Callable[[], None]) -> None:
    """Run the server until a signal; requests in progress have two seconds."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # An answer that is cut off now is no fault, and uvicorn would print a traceback of each.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            await super().shutdown(sockets)

    ending.server = Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2, ws="none"
        )
    )
    try:
        ending.server.run(sockets=[listening])
    except KeyboardInterrupt:
        _log.info("the app has ended")
    ending.refuse()


def _require_gradio() -> None:
    from importlib.util import find_spec

    if find_spec("gradio") is None:
        raise UsageError("gradio is not installed", remedy="pip install 'lgdea[app]'")


def _is_mine(folder: Path) -> bool:
    return not hasattr(os, "getuid") or folder.stat(follow_symlinks=False).st_uid == os.getuid()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
