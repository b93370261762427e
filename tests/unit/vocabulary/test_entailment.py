import numpy as np
import pytest

from lgdea.vocabulary.entailment import (
    ABSENT,
    NOT_MENTIONED,
    PRESENT,
    UNCERTAIN,
    PhraseTable,
    generalisations,
    implies_absence,
    implies_presence,
)

ANY = "unspecified"
LEFT = ("pleural_effusion", None, "left", "moderate")


def statuses(*reports: list[tuple[tuple[str, str | None, str, str], int]]) -> list[dict[str, int]]:
    units = [unit for report in reports for unit in report]
    table = PhraseTable(units)
    ids = np.split(np.arange(len(units)), np.cumsum([len(r) for r in reports])[:-1])
    return [dict(zip(table.texts, row.tolist(), strict=True)) for row in table.status(ids)]


def test_presence_climbs_to_the_more_general_phrase():
    (seen,) = statuses([(LEFT, PRESENT)])
    assert seen["moderate left pleural effusion"] == PRESENT
    assert seen["left pleural effusion"] == PRESENT
    assert seen["pleural effusion"] == PRESENT


def test_absence_descends_and_does_not_climb():
    general = ("pleural_effusion", None, ANY, ANY)
    denied, half, _ = statuses([(general, ABSENT)], [((*LEFT[:3], ANY), ABSENT)], [(LEFT, PRESENT)])
    assert denied["moderate left pleural effusion"] == denied["pleural effusion"] == ABSENT
    assert half["left pleural effusion"] == half["moderate left pleural effusion"] == ABSENT
    assert half["pleural effusion"] == NOT_MENTIONED


def test_findings_inherit_from_their_parents():
    key = ("consolidation", None, "right", ANY)
    assert implies_presence(key, ("opacity", None, ANY, ANY))
    assert not implies_presence(("opacity", None, "right", ANY), key)
    assert implies_absence(("opacity", None, ANY, ANY), key)
    assert not implies_absence(key, ("opacity", None, ANY, ANY))
    assert ("opacity", None, ANY, ANY) in generalisations(key)


@pytest.mark.parametrize("side", ["left", "right"])
def test_bilateral_means_both_sides(side):
    assert implies_presence(("edema", None, "bilateral", ANY), ("edema", None, side, ANY))
    assert not implies_presence(("edema", None, side, ANY), ("edema", None, "bilateral", ANY))
    assert implies_absence(("edema", None, side, ANY), ("edema", None, "bilateral", ANY))


def test_a_normal_report_denies_findings_but_no_devices():
    normal, device, ill = statuses(
        [(("no_finding", None, ANY, ANY), PRESENT)], [(("pacemaker", None, "left", ANY), PRESENT)], [(LEFT, PRESENT)]
    )
    assert normal["pleural effusion"] == ABSENT
    assert normal["cardiac pacemaker"] == NOT_MENTIONED
    assert device["no finding"] == NOT_MENTIONED
    assert ill["no finding"] == ABSENT


def test_present_wins_over_uncertain_and_absent():
    general = ("pleural_effusion", None, ANY, ANY)
    (mixed,) = statuses([(general, ABSENT), (general, UNCERTAIN), (LEFT, PRESENT)])
    assert mixed["pleural effusion"] == PRESENT


def test_units_with_one_wording_share_a_phrase():
    table = PhraseTable(
        [(("pleural_effusion", None, "left", ANY), 3), (("pleural_effusion", "pleura", "left", ANY), 3)]
    )
    assert len(set(table.unit_phrase.tolist())) == 1
    assert len(set(table.texts)) == len(table)


def test_wordings_name_the_phrase_or_a_synonym():
    table = PhraseTable([(LEFT, PRESENT)])
    general = table.wordings(table.texts.index("pleural effusion"))
    assert "there is pleural effusion" in general
    assert "hydrothorax" in general
    special = table.wordings(table.texts.index("moderate left pleural effusion"))
    assert all("moderate left pleural effusion" in text for text in special)
