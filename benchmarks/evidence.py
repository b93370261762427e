"""Evidence of known quality: extracted by rules, the phantom's truth, and either with a share of units corrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from lgdea import runs
from lgdea.evidence.io import EVIDENCE, read_evidence
from lgdea.evidence.schema import Unit
from lgdea.records.archive import Archive
from lgdea.records.tables import write_table
from lgdea.vocabulary.laterality import swap

EvidenceKind = Literal["rules", "truth", "corrupted-10", "corrupted-30"]
"""``corrupted-N``: the rules' evidence with N% of its units made wrong."""


def make_evidence(kind: EvidenceKind, archive: Path, folder: Path) -> Path:
    """The evidence folder of a kind below ``folder``; made when it is not there."""
    out = folder / kind
    if runs.is_finished(out):
        return out
    if kind == "rules":
        from lgdea.evidence.backends.base import get_backend
        from lgdea.evidence.runner import extract

        extract(archive, get_backend("rules"), out)
        return out
    if kind == "truth":
        units = Archive.open(archive).extra("evidence_truth")
        assert units is not None
    else:
        share = int(kind.removeprefix("corrupted-")) / 100
        units = corrupt(read_evidence(make_evidence("rules", archive, folder)), share, seed=0)
    runs.start(out, stage="extract", config={"kind": kind}, inputs={"reports": archive / "reports.parquet"})
    write_table(out / EVIDENCE, units[list(Unit.model_fields)], Unit)
    runs.finish(out, summary={"units": len(units)})
    return out


def corrupt(units: pd.DataFrame, share: float, *, seed: int) -> pd.DataFrame:
    """Make ``share`` of the units wrong, each in one of four ways with the same chance.

    Lost; the assertion turned round (present and absent); another finding, drawn by how often findings occur; the
    other side (a unit without a side is lost instead).

    Args:
        units: Evidence, one row per unit.
        share: In [0, 1]; exactly this share is corrupted, rounded.
        seed: Of the choice.
    """
    rng = np.random.default_rng(seed)
    units = units.reset_index(drop=True).copy()
    chosen = rng.permutation(len(units))[: round(share * len(units))]
    lost, turned, renamed, mirrored = np.array_split(chosen, 4)
    sided = units.loc[mirrored, "laterality"].isin(["left", "right"]).to_numpy()
    turn = {"present": "absent", "absent": "present", "uncertain": "absent"}
    units.loc[turned, "assertion"] = units.loc[turned, "assertion"].map(turn)
    units.loc[renamed, "finding"] = _others(units["finding"].to_numpy(str), renamed, rng)
    units.loc[mirrored[sided], "laterality"] = units.loc[mirrored[sided], "laterality"].map(swap)
    gone = np.isin(np.arange(len(units)), np.concatenate([lost, mirrored[~sided]]))
    return units[~gone].reset_index(drop=True)


def _others(findings: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> list[str]:
    """For each row a finding that it does not have, by how often findings occur; the same where there is but one."""
    result = []
    for row in rows:
        different = findings[findings != findings[row]]
        result.append(str(rng.choice(different)) if len(different) else str(findings[row]))
    return result
