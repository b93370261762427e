"""Splitting by patient, so that no patient stands on two sides."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pandas as pd

from lgdea.errors import UsageError

FRACTIONS: Mapping[str, float] = {"train": 0.7, "val": 0.1, "test": 0.2}


def split_by_patient(studies: pd.DataFrame, seed: int = 0, fractions: Mapping[str, float] = FRACTIONS) -> pd.DataFrame:
    """Return ``studies`` with ``split`` filled from a hash of the seed and the patient's id.

    A patient's side depends on nothing else: it stays when patients are added or removed, and a patient whom two
    archives share falls on the same side in both. The shares are therefore met in expectation, not exactly.

    Args:
        studies: Rows of ``Study`` (``patient_id`` is enough).
        seed: Another seed, another split.
        fractions: Share of the patients per split, summing to 1; the order matters.

    Raises:
        UsageError: The shares are negative or do not sum to 1.
    """
    shares = list(fractions.values())
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise UsageError(f"split fractions {dict(fractions)} must be positive and sum to 1")
    patients = {
        patient: _side(patient_position(seed, patient), fractions) for patient in studies["patient_id"].unique()
    }
    return studies.assign(split=studies["patient_id"].map(patients))


def split_around_test(studies: pd.DataFrame, is_test: pd.Series) -> pd.DataFrame:
    """Return ``studies`` with a published test side: patients with a study on it are ``test``, with all their studies.

    The others fall into ``train`` and ``val``, 7 to 1, by the hash of :func:`split_by_patient`.

    Args:
        studies: Rows of ``Study`` (``patient_id`` is enough).
        is_test: Whether the publisher put the study on the test side; same index.
    """
    patients = set(studies.loc[is_test, "patient_id"])
    rest = split_by_patient(studies, fractions={"train": 0.875, "val": 0.125})["split"]
    return studies.assign(split=rest.where(~studies["patient_id"].isin(patients), "test"))


def patient_position(seed: int, patient_id: str, salt: str = "split") -> float:
    """A reproducible number in [0, 1) for a patient.

    Args:
        seed: Another seed, other numbers.
        patient_id: The patient, prefix included.
        salt: Keeps different uses (split, pairing) independent of each other.
    """
    digest = hashlib.sha256(f"{salt}\x1f{seed}\x1f{patient_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _side(position: float, fractions: Mapping[str, float]) -> str:
    edge = 0.0
    for name, share in fractions.items():
        edge += share
        if position < edge:
            return name
    return [name for name, share in fractions.items() if share > 0][-1]  # rounding left the last edge below 1
