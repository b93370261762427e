"""Hashes of the items that were scored and of the model that scored them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from lgdea import runs
from lgdea.models.hub import PROSE
from lgdea.outputs import is_leftover

_GRADING = ("report_id", "finding", "assertion", "anatomy", "laterality", "severity", "change")
"""Columns of evidence that graded tasks read."""


def ids_sha256(ids: Iterable[str]) -> str:
    """sha256 of a set of ids: UTF-8, sorted, each once, each followed by a line feed; order and repeats do not matter.

    ``LC_ALL=C sort -u ids.txt | sha256sum`` gives the same.
    """
    text = "".join(f"{name}\n" for name in sorted(set(ids)))
    return hashlib.sha256(text.encode()).hexdigest()


def item_ids(items: pd.DataFrame) -> list[str]:
    """The ids that a result's items are about, sorted: images, in retrieval reports too, pairs of images, or questions.

    Items that name none give no ids.
    """
    column = next((c for c in ("pair_id", "query_id", "qid", "image_id") if c in items), None)
    return [] if column is None else sorted(set(items[column].dropna().astype(str)))


def evidence_sha256(units: pd.DataFrame | None) -> str:
    """Hash of what units say, whatever their order and where in the report they stand; empty of none.

    Args:
        units: Units of evidence; columns that do not grade anything do not matter.
    """
    if units is None:
        return ""
    said = units[[column for column in _GRADING if column in units]].astype(object).fillna("").astype(str)
    digest = hashlib.sha256("\t".join(said.columns).encode())
    digest.update(np.sort(pd.util.hash_pandas_object(said, index=False).to_numpy()).tobytes())
    return digest.hexdigest()


def model_identity(model: str | Path) -> str:
    """``sha256:...`` of the files of a model's folder that it computes with; of a model without one its name."""
    from lgdea.evaluation.encoders.registry import local_folder

    folder = local_folder(str(model))
    if folder is None:
        return str(model)
    digest = hashlib.sha256()
    for file in sorted(f for f in folder.iterdir() if f.is_file() and f.name not in PROSE and not is_leftover(f)):
        digest.update(f"{file.name} {runs.fingerprint(file)}\n".encode())
    return f"sha256:{digest.hexdigest()}"
