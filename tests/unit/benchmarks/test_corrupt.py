"""Corrupted evidence: exactly the wanted share is wrong, in the ways that are promised."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.evidence import corrupt


@pytest.fixture
def units() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "unit_id": [f"u{i}" for i in range(400)],
            "finding": ["nodule", "edema", "mass", "fracture"] * 100,
            "assertion": ["present", "absent"] * 200,
            "laterality": ["left"] * 200 + ["unspecified"] * 200,
        }
    )


def test_each_unit_is_wrong_in_one_way(units: pd.DataFrame):
    wrong = corrupt(units, 0.2, seed=0)
    both = units.merge(wrong, on="unit_id", how="left", suffixes=("", "_new"))
    lost = both["finding_new"].isna()
    changed = [~lost & (both[f"{n}_new"] != both[n]) for n in ("assertion", "finding", "laterality")]
    assert lost.sum() + sum(c.sum() for c in changed) == 80
    assert changed[0].sum() == changed[1].sum() == 20
    assert 0 < changed[2].sum() < 20
    assert set(both.loc[changed[2], "laterality_new"]) == {"right"}


def test_nothing_and_everything(units: pd.DataFrame):
    pd.testing.assert_frame_equal(corrupt(units, 0.0, seed=0), units)
    pd.testing.assert_frame_equal(corrupt(units, 0.5, seed=1), corrupt(units, 0.5, seed=1))
    assert len(corrupt(units, 1.0, seed=0)) < 300
