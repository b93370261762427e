from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lgdea.processes import make_pool
from tests.helpers.running import is_running

CHILD = """
import os, sys, time
from lgdea.processes import make_pool

def work(n):
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(0.2)

if __name__ == "__main__":
    with make_pool(2, context=sys.argv[1]) as pool:
        list(pool.map(work, range(2)))
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="processes are found in /proc")
@pytest.mark.parametrize("context", ["fork", "forkserver", "spawn"])
def test_idle_workers_end_with_a_parent_that_is_killed(tmp_path: Path, context: str) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    parent = subprocess.Popen([sys.executable, str(script), context], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = set()
    for line in parent.stdout:
        if line == "ready\n":
            break
        pids.add(line.strip())
    assert pids
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.02)


def test_each_worker_is_prepared() -> None:
    with make_pool(1, start=sys.setrecursionlimit, given=(1234,)) as pool:
        assert pool.submit(sys.getrecursionlimit).result() == 1234
