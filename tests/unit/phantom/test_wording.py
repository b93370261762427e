"""Sentences claim what their words say, no more."""

from __future__ import annotations

import numpy as np
import pytest

from lgdea.phantom.config import catalogue
from lgdea.phantom.marks import Lesion
from lgdea.phantom.wording import describe


@pytest.mark.parametrize("finding", list(catalogue()))
def test_a_claimed_severity_is_a_word_of_the_claim(finding: str) -> None:
    rng = np.random.default_rng(0)
    lesion = Lesion(finding, catalogue()[finding].side or "right", "lower", 0.6, 0)
    claims = [describe(lesion, rng, lobes=True) for _ in range(60)]
    assert all((claim.severity == "moderate") == ("moderate" in claim.words) for claim in claims)
    assert all(claim.severity in ("moderate", "unspecified") for claim in claims)
