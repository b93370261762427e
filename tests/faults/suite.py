"""All kinds of faults on one phantom."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.faults import corruption, disk, inputs, kills, servers
from tests.faults.servers import answer
from tests.faults.stages import DISTURBED, Workspace
from tests.faults.trials import Log, table
from tests.helpers.openai_server import OpenAIServer

Run = Callable[[Workspace, Log, int], None]
_SUITE: dict[str, tuple[Run, int]] = {
    "flips": (corruption.flip_bits, 20),
    "truncations": (corruption.truncate, 6),
    "server": (servers.hostile, 30),
    "inputs": (inputs.bad_inputs, 30),
    "disk": (disk.fill_disk, 4),
    "kill-writes": (kills.kill_at_writes, 40),
    "kill-random": (kills.kill_at_random, 12),
    "signals": (kills.send_signals, 3),
    "delete": (kills.delete_folder, 4),
    "pairs": (kills.pairs, 3),
}
KINDS = tuple(_SUITE)


def run_suite(folder: Path, kinds: Sequence[str], share: float, disturbed: Sequence[str] = DISTURBED) -> int:
    """Run some kinds of faults; returns 1 if any ended badly, else 0.

    Args:
        folder: For the inputs, ``trials.jsonl`` and ``faults.md``; trials that are there are not repeated.
        kinds: Of ``KINDS``.
        share: Share of the trials of each kind.
        disturbed: Stages that are killed, signalled and so on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = Log(folder)
    port = folder / "port"
    with OpenAIServer(answer, port=int(port.read_text()) if port.exists() else 0) as server:
        port.write_text(str(server.port))  # it is in the commands, which must be the same when this goes on
        work = Workspace(folder, server, disturbed)
        work.build()
        for kind in kinds:
            run, count = _SUITE[kind]
            print(kind, flush=True)
            run(work, log, max(1, round(count * share)))
    shutil.rmtree(work.trials, ignore_errors=True) if not log.failures else None
    counted = table(log.trials.values())
    (folder / "faults.md").write_text(counted + "\n")
    print(counted)
    return 1 if log.failures else 0
