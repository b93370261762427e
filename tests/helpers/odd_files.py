"""What stands in the place of a file: named pipes and sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def make_pipe(file: Path) -> None:
    """Make a named pipe, which nobody writes into."""
    os.mkfifo(file)


def make_socket(file: Path) -> None:
    """Make a socket, which nobody listens to."""
    here = Path.cwd()
    os.chdir(file.parent)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(file.name)
    os.chdir(here)
