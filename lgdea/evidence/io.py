"""Reading an evidence folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lgdea.evidence.schema import Unit
from lgdea.records.tables import read_table
from lgdea.runs import require_finished

EVIDENCE = "evidence.parquet"
REJECTS = "rejects.jsonl"
QUALITY = "quality.json"
RAW = "raw"


def read_evidence(folder: str | Path) -> pd.DataFrame:
    """The units of a finished extraction, one row per :class:`~lgdea.evidence.schema.Unit`.

    Raises:
        UsageError: There is no such folder, or the extraction is unfinished.
        DataError: The table is damaged or of another schema version.
    """
    folder = require_finished(folder, what="evidence", made_by="lgdea extract")
    return read_table(folder / EVIDENCE, Unit)
