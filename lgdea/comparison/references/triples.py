"""Triples (query, reference, label) as a table and as rows for training: which finding is asked of which query.

Picture paths are relative to the archive's pictures, so a folder can be handed on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lgdea import runs
from lgdea.comparison.references.prompt import ComparePrompt
from lgdea.errors import DataError, UsageError
from lgdea.manifests import check_file, read_manifest, seal
from lgdea.records.tables import read_frame

TABLE, ROWS, REPORT = "triples.parquet", "trl.jsonl", "report.json"
FILES = (TABLE, ROWS, REPORT)
COLUMNS = [
    "query_id", "reference_id", "class", "label", "query_patient", "reference_patient", "strategy", "rank", "rule",
    "query_path", "reference_path",
]  # fmt: skip
MADE_BY = "lgdea compare references"


def make_triples(
    references: pd.DataFrame,
    values: pd.DataFrame,
    paths: pd.Series,
    *,
    findings: Sequence[str] | None = None,
    most: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Ask each finding of the queries whose label is known.

    Args:
        references: Columns of :data:`~lgdea.comparison.references.choose.COLUMNS`.
        values: Labels by finding, index ``image_id``: 1, 0 or NaN.
        paths: Picture by ``image_id``.
        findings: Findings that are asked; all that are present in a query and absent in another.
        most: At most so many queries that show a finding, and so many that do not; null for all.
        seed: Seed of the draws.

    Raises:
        UsageError: A finding has no label, or nothing can be asked.
    """
    queries = references["query_id"].drop_duplicates()
    labels = values.reindex(queries)
    unknown = sorted(set(findings or ()) - set(labels))
    if unknown:
        raise UsageError(f"no query has a label of {unknown[0]}", remedy=f"labelled: {', '.join(map(str, labels))}")
    asked = []
    for finding in findings or sorted(map(str, labels)):
        column = labels[finding]
        sides = [column.index[column == side] for side in (1, 0)]
        if findings is None and not all(len(side) for side in sides):
            continue
        rng = np.random.default_rng([seed, *finding.encode()])
        for side, ids in zip((1, 0), sides, strict=True):
            chosen = ids if most is None or len(ids) <= most else ids[np.sort(rng.permutation(len(ids))[:most])]
            asked.append(pd.DataFrame({"query_id": chosen, "class": finding, "label": side}))
    table = pd.concat(asked).merge(references, on="query_id") if asked else pd.DataFrame(columns=COLUMNS)
    if table.empty:
        raise UsageError("no finding is present in one query and absent in another", remedy="take another split")
    table = table.assign(query_path=table["query_id"].map(paths), reference_path=table["reference_id"].map(paths))
    return table[COLUMNS].sort_values(["strategy", "class", "query_id", "rank"], ignore_index=True)


def training_rows(triples: pd.DataFrame, prompt: ComparePrompt, k: int | None = None) -> Iterator[dict[str, Any]]:
    """One row of TRL's prompt + completion shape per query and finding; paths stay as the table has them.

    Args:
        triples: Rows of :func:`make_triples` of one strategy or several.
        prompt: What is said around the images.
        k: References of each query; 0 for the query alone, null for all.
    """
    for _, group in triples.groupby(["strategy", "class", "query_id"], sort=False):
        first = group.iloc[0]
        taken = group.nsmallest(len(group) if k is None else k, "rank")["reference_path"].tolist()
        row = prompt.training_row(first["class"], taken, first["query_path"], bool(first["label"]))
        yield {"query_id": first["query_id"], "class": first["class"], "strategy": first["strategy"], **row}


def write_triples(
    folder: str | Path, triples: pd.DataFrame, prompt: ComparePrompt, *, image_root: Path, facts: dict[str, Any]
) -> Path:
    """Write the table, the training rows, and ``report.json`` last.

    Args:
        folder: Made if need be.
        triples: Rows of :func:`make_triples`.
        prompt: What is said around the images in the training rows.
        image_root: Folder to which picture paths are relative.
        facts: What is to be known of how they were chosen.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT).unlink(missing_ok=True)  # of an earlier set, which it says to be whole
    with runs.atomic(folder / TABLE) as temporary:
        triples.to_parquet(temporary, index=False)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in training_rows(triples, prompt))
    runs.write_text(folder / ROWS, lines)
    counts = {
        "triples": len(triples),
        "queries": int(triples["query_id"].nunique()),
        "references": int(triples["reference_id"].nunique()),
        "classes": {str(name): int(n) for name, n in triples["class"].value_counts().sort_index().items()},
    }
    report = {"image_root": str(image_root), **counts, **prompt.describe(), **facts}
    runs.write_json(folder / REPORT, seal(report, folder, [TABLE, ROWS]))
    return folder


def read_triples(folder: str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read the table and the report of a folder.

    Raises:
        UsageError: It holds no triples.
        DataError: The table lacks a column.
    """
    file = Path(folder) / TABLE
    if not file.is_file() or not (Path(folder) / REPORT).is_file():
        raise UsageError("holds no triples", file=folder, remedy=f"make them with `{MADE_BY}`")
    report = read_manifest(file.with_name(REPORT), what="report")
    check_file(file, report, file.parent)
    table = read_frame(file)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise DataError(f"has no column {missing[0]}", file=file, remedy=f"make it with `{MADE_BY}`")
    return table, report
