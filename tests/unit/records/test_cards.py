from __future__ import annotations

import pytest

from lgdea.errors import DataError, UsageError
from lgdea.records import cards
from lgdea.records.adapters import (
    chestx_det,
    chexpert,
    chexpert_plus,
    covid_chestxray,
    covidx,
    hannover_covid,
    mimic_cxr,
    ms_cxr,
    ms_cxr_t,
    nih_cxr14,
    openi,
    padchest,
    padchest_gr,
    rsna_pneumonia,
    siim_acr,
    vindr_cxr,
)
from lgdea.records.cards import card_text, load_card
from lgdea.shipped import shipped

MODULES = (
    openi, nih_cxr14, covid_chestxray, hannover_covid, rsna_pneumonia, siim_acr, vindr_cxr, chestx_det, covidx,
    mimic_cxr, ms_cxr, ms_cxr_t, chexpert, chexpert_plus, padchest, padchest_gr,
)  # fmt: skip
NAMES = [module.ADAPTER.card for module in MODULES]


@pytest.mark.parametrize("name", NAMES)
def test_every_adapter_has_a_card_that_says_what_a_user_needs(name):
    card = load_card(name)
    assert card.name == name
    assert card.source.startswith("https://")
    assert "SOURCE/" in card.layout
    assert all(fault.endswith(".") for fault in card.faults)
    assert len(card.prose) > 200


def test_every_shipped_card_is_valid():
    for file in shipped("data_cards").iterdir():
        if file.name.endswith(".md"):
            assert load_card(file.name.removesuffix(".md")).name == file.name.removesuffix(".md")


def test_an_unknown_card_names_the_known_ones():
    with pytest.raises(UsageError, match=r"no data card 'mimic'; known are .*covid-chestxray, .*hannover-covid"):
        card_text("mimic")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no head", "x.md: has no YAML head"),
        ("---\nname: x\ntitel: y\n---\nprose", "title: is required"),
        ("---\n- a\n---\nprose", "its head is no mapping"),
        ("---\na: [\n---\nprose", "its head is not valid YAML"),
    ],
)
def test_a_bad_card_is_explained(tmp_path, monkeypatch, text, message):
    (tmp_path / "x.md").write_text(text)
    monkeypatch.setattr(cards, "shipped", lambda kind: tmp_path)
    with pytest.raises(DataError, match=message):
        load_card("x")
