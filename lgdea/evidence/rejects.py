"""Reading what an extraction has refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lgdea.errors import DataError
from lgdea.evidence.io import REJECTS


def read_rejects(folder: str | Path) -> Iterator[dict[str, Any]]:
    """What an extraction has refused, in order: ``report_id``, ``reason``, ``detail`` and ``unit``.

    ``unit`` is what the backend stated, None when the whole report was refused.

    Raises:
        DataError: A line is no such record.
    """
    file = Path(folder) / REJECTS
    if not file.is_file():
        return
    with file.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                record = json.loads(line)
                unit = record.get("unit")
                yield {
                    "report_id": str(record["report_id"]),
                    "reason": str(record["reason"]),
                    "detail": str(record.get("detail") or ""),
                    "unit": dict(unit) if unit is not None else None,
                }
            except (ValueError, KeyError, TypeError, AttributeError):
                raise DataError("is not a refused report or unit", file=file, row=number) from None
