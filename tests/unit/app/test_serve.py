"""Binding and the private folder; the running server is tested in a browser (tests/integration/test_app.py)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile

import pytest

from lgdea.app.serve import PREFIX, bind, is_loopback, private_folder
from lgdea.errors import UsageError


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_pictures_lie_in_a_folder_of_this_user_alone_that_is_gone_afterwards(temporary):
    with private_folder() as folder:
        (folder / "picture.png").write_bytes(b"x")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.parent == temporary.resolve()
    assert list(temporary.iterdir()) == []


def test_folders_of_killed_processes_are_removed_and_no_others(temporary):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, alive, other = (temporary / name for name in (f"{PREFIX}{gone.pid}-x", f"{PREFIX}{os.getpid()}-y", "mine"))
    for folder in (left, alive, other):
        folder.mkdir()
        (folder / "picture.png").write_bytes(b"x")
    with private_folder():
        assert not left.exists()
        assert alive.exists()
        assert other.exists()


def test_a_port_that_is_taken_is_one_line():
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert port > 0
        with pytest.raises(UsageError, match=rf"port {port} .*choose another --port"):
            bind("127.0.0.1", port)
    with pytest.raises(UsageError, match="not known"):
        bind("no host.invalid", 0)


def test_addresses_that_others_can_reach():
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("::")
    assert not is_loopback("no host.invalid")
