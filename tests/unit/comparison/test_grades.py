"""Graded agreement by hand: presence, side, place, severity, doubt, and what an anatomy is compared by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lgdea.comparison.entity.entities import Entity
from lgdea.comparison.entity.grades import StudyFacts, agreement
from lgdea.vocabulary.entailment import ABSENT, NOT_MENTIONED, PRESENT, UNCERTAIN

COLUMNS = ["study_id", "finding", "anatomy", "laterality", "severity", "assertion"]
EFFUSION = Entity.of_finding("pleural_effusion")


def facts(*rows):
    units = pd.DataFrame(rows, columns=COLUMNS)
    return StudyFacts(units, pd.Index(sorted(set(units["study_id"]))))


def effusion(study, side="unspecified", severity="unspecified", assertion="present"):
    return (study, "pleural_effusion", None, side, severity, assertion)


def test_agreement_weighs_what_the_query_states():
    found = facts(
        effusion("0", "left", "mild"),
        effusion("1", "left", "mild"),
        effusion("2", "right", "mild"),
        effusion("3", "bilateral", "severe"),
        effusion("4"),
        effusion("5", "left", "mild", "uncertain"),
        effusion("6", assertion="absent"),
    )
    of = found.of(EFFUSION)
    assert of.status.tolist() == [PRESENT] * 5 + [UNCERTAIN, ABSENT]
    grades = agreement(of, of)
    # query 0 states a side and a severity: (1 + side + severity) / 3
    expected = [1.0, 1.0, 2 / 3, (1 + 1 / 2 + 1 / 3) / 3, (1 + 0.5 + 0.5) / 3, 0.5, 0.0]
    np.testing.assert_allclose(grades[0], expected, atol=1e-6)
    np.testing.assert_allclose(grades[4], [1, 1, 1, 1, 1, 0.5, 0])  # states nothing but presence
    assert not grades[5].any()  # doubt asks for nothing
    assert not grades[6].any()


def test_an_entity_with_a_side_is_present_on_that_side_only():
    found = facts(effusion("0", "left"), effusion("1", "right"), effusion("2", "bilateral"), effusion("3"))
    left = found.of(Entity.of_finding("pleural_effusion", "left"))
    assert left.status.tolist() == [PRESENT, NOT_MENTIONED, PRESENT, NOT_MENTIONED]
    np.testing.assert_allclose(agreement(left, left)[0], [1, 0, 1, 0])


def test_places_agree_by_what_they_share():
    def nodule(study, place, side):
        return (study, "nodule", place, side, "unspecified", "present")

    found = facts(
        nodule("0", "right_upper_lobe", "right"),
        nodule("1", "upper_lobe", "right"),
        nodule("2", "right_lower_lobe", "right"),
    )
    of = found.of(Entity.of_finding("nodule"))
    np.testing.assert_allclose(agreement(of, of)[0], [1, 1, 2 / 3], atol=1e-6)
    assert found.of(Entity.of_finding("lung_lesion")).status.tolist() == [PRESENT] * 3  # a nodule is a lesion
    assert found.of(Entity.of_finding("mass")).status.tolist() == [NOT_MENTIONED] * 3


def test_a_normal_report_denies_findings_but_no_devices():
    found = facts(("0", "no_finding", None, "unspecified", "unspecified", "present"))
    assert found.of(EFFUSION).status.tolist() == [ABSENT]
    assert found.of(Entity.of_finding("pacemaker")).status.tolist() == [NOT_MENTIONED]


def test_an_anatomy_agrees_by_the_findings_in_it():
    found = facts(
        ("0", "cardiomegaly", None, "unspecified", "mild", "present"),
        ("0", "pacemaker", None, "left", "unspecified", "present"),
        ("1", "cardiomegaly", None, "unspecified", "severe", "present"),
        ("2", "consolidation", "left_lower_lobe", "left", "unspecified", "present"),
        ("3", "consolidation", "lower_lobe", "left", "unspecified", "present"),
        ("4", "consolidation", "lower_lobe", "right", "unspecified", "present"),
    )
    heart = found.of(Entity.of_anatomy("heart"))
    assert heart.status.tolist() == [PRESENT, PRESENT, 0, 0, 0]
    np.testing.assert_allclose(agreement(heart, heart, anatomy=True)[0], [1, 0.5, 0, 0, 0])
    lobe = found.of(Entity.of_anatomy("left_lower_lobe"))
    assert lobe.status.tolist() == [0, 0, PRESENT, PRESENT, 0]
    assert found.of(Entity.of_anatomy("lung")).status.tolist() == [0, 0, PRESENT, PRESENT, PRESENT]


@pytest.mark.parametrize(
    ("row", "phrase"),
    [
        (effusion("0", "left", "mild"), "mild left pleural effusion"),
        (effusion("0", assertion="absent"), "no pleural effusion"),
        (("0", "nodule", None, "left", "unspecified", "present"), "no pleural effusion"),
    ],
)
def test_the_phrase_is_the_most_exact_that_is_stated(row, phrase):
    assert facts(row).of(EFFUSION).phrases == [phrase]


def test_nothing_is_known_of_an_open_entity_and_of_no_evidence():
    found = facts(effusion("0", "left"))
    assert found.of(Entity("widened pedicle")).status.tolist() == [NOT_MENTIONED]
    empty = StudyFacts(pd.DataFrame(columns=COLUMNS), pd.Index(["a", "b"]))
    assert empty.of(EFFUSION).status.tolist() == [NOT_MENTIONED] * 2
    assert agreement(empty.of(EFFUSION), empty.of(EFFUSION)).shape == (2, 2)
