"""``metrics.csv``: one line per number, ``step,name,value``, which can be appended to after any interruption."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from lgdea import runs

HEADER = "step,name,value\n"


class CsvLogger(Logger):
    """Lightning logger that appends to one long CSV and flushes at once.

    Args:
        file: The CSV; created when it is not there.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self._step: int | None = None
        self._names: set[str] = set()

    @property
    def name(self) -> str:
        """Required by ``lightning.Logger``."""
        return "metrics"

    @property
    def version(self) -> str:
        """Required by ``lightning.Logger``."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing: the configuration is in ``config.yaml``."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append numbers by name, each once per step, without the constant ``epoch`` that Lightning adds.

        Their order is not Lightning's, which is another one in a resumed run.
        """
        if step != self._step:
            self._step, self._names = step, {"epoch"}
        lines = [
            f"{step},{name},{float(value):.6g}\n" for name, value in sorted(metrics.items()) if name not in self._names
        ]
        if not lines:
            return
        self._names.update(metrics)
        new = not self.file.exists()
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write("".join([HEADER, *lines] if new else lines))


def truncate_after(file: Path, step: int) -> None:
    """Drop lines of ``step`` and later: a resumed run does these steps again, and a kill may leave half a line."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True)[1:]:
        parts = line.split(",")
        if line.endswith("\n") and len(parts) == 3 and parts[0].isdigit() and int(parts[0]) < step:
            kept.append(line)
    runs.write_text(file, HEADER + "".join(kept))
