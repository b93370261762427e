"""Items of interval change: pairs of studies and the true states of their findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from lgdea.comparison.change.pairs import Pairs, choose_priors, listed_pairs
from lgdea.comparison.change.states import COARSE, change_truth
from lgdea.errors import DataError
from lgdea.evaluation.config import ChangeConfig

if TYPE_CHECKING:
    from lgdea.records.archive import Archive


def pairs_of(archive: Archive, config: ChangeConfig, split: str) -> Pairs:
    """The pairs of a split that the configuration asks for.

    Raises:
        DataError: There are none; the message says why.
    """
    if config.pairs == "listed":
        pairs = listed_pairs(archive, split)
    else:
        pairs = choose_priors(archive, split, prefer=config.prefer, max_days=config.max_days)
    if pairs.table.empty:
        first = next((f", e.g. {item['id']}: {item['reason']}" for item in pairs.refused or pairs.skipped), "")
        raise DataError(
            f"no study of the {split} split has a prior{first}", file=archive.folder,
            remedy="a change needs two dated studies of one patient",
        )  # fmt: skip
    return pairs


def truth_of(
    archive: Archive, pairs: Pairs, config: ChangeConfig, units: pd.DataFrame | None
) -> tuple[pd.DataFrame, list[str]]:
    """The true states of the pairs' scored findings, and notes.

    Raises:
        DataError: They hold fewer than two states.
    """
    truth, notes = change_truth(archive, pairs.table, config.truth, units)
    if config.findings is not None:
        truth = truth[truth["finding"].isin(config.findings)]
    if config.states == 3:
        truth = truth.assign(state=truth["state"].map(COARSE))
    states = sorted(truth["state"].unique())
    if len(states) < 2:
        found = f"only the state {states[0]}" if states else "no state"
        what = "the scored findings" if config.findings is None else ", ".join(config.findings)
        raise DataError(
            f"the pairs hold {found} of {what}, nothing to tell apart", file=archive.folder,
            remedy="score other findings, another split or another truth",
        )  # fmt: skip
    return truth, notes


def items_of(pairs: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """One row per finding of a pair that has a true state."""
    rows = truth.merge(pairs.reset_index(drop=True).reset_index(names="pair"), on="pair")
    return pd.DataFrame(
        {
            "pair_id": rows["image_prior"] + ">" + rows["image_current"],
            "image_id": rows["image_current"],
            "image_prior": rows["image_prior"],
            "study_id": rows["study_current"],
            "study_prior": rows["study_prior"],
            "patient_id": rows["patient_id"],
            "class": rows["finding"],
            **{column: rows[column] for column in ("rule", "days", "nth", "quality", "state")},
        }
    )
