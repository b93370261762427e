"""Entities: what users write, what has no meaning, and what evidence speaks of."""

from __future__ import annotations

import pytest

from lgdea.comparison.entity.entities import Entity, entities_of, parse_entity
from lgdea.errors import UsageError
from lgdea.evidence.rules.lexicon import warn_of_misspelt


@pytest.mark.parametrize(
    ("text", "finding", "anatomy", "side", "kind"),
    [
        ("left pleural effusion", "pleural_effusion", None, "left", "finding"),
        ("Left-sided  effusion.", "pleural_effusion", None, "left", "finding"),
        ("collapse of the right lower lobe", "atelectasis", "right_lower_lobe", "right", "finding"),
        ("enlarged heart", "cardiomegaly", None, "unspecified", "finding"),
        ("emphysema", "emphysema", None, "unspecified", "condition"),
        ("chest tube", "chest_tube", None, "unspecified", "device"),
        ("left lung", None, "left_lung", "left", "anatomy"),
        ("right hilum", None, "hilum", "right", "anatomy"),
        ("aorta", None, "aorta", "unspecified", "anatomy"),
        ("mitral configuration", None, None, "unspecified", "open"),
    ],
)
def test_a_users_words_become_an_entity(text, finding, anatomy, side, kind):
    entity = parse_entity(text)
    assert (entity.finding, entity.anatomy, entity.laterality, entity.kind) == (finding, anatomy, side, kind)


@pytest.mark.parametrize("text", ["", "   ", "xqzzv blorp", "left", "42", "?!"])
def test_words_that_mean_nothing_are_refused_in_one_line(text):
    with pytest.raises(UsageError) as caught:
        parse_entity(text)
    assert "\n" not in str(caught.value)
    assert "left pleural effusion" in str(caught.value)


def test_a_denial_is_refused_and_a_word_of_the_model_is_enough():
    with pytest.raises(UsageError, match="denies"):
        parse_entity("no pleural effusion")
    assert parse_entity("blorp", is_known=lambda word: word == "blorp").kind == "open"


def test_entities_of_evidence_have_sides_where_sides_differ_and_frequent_ones_come_first():
    units = [("edema", "bilateral", None)] * 3 + [("nodule", "left", "left_upper_lobe"), ("nodule", "bilateral", None)]
    units += [("no_finding", "unspecified", None), ("pacemaker", "left", None)]
    found = entities_of(units)
    texts = [entity.text for entity in found]
    assert texts[0] == "lung"  # edema's place, and a nodule's
    assert {"left pulmonary nodule", "right pulmonary nodule", "left upper lobe", "heart"} <= set(texts)
    assert "left pulmonary edema" not in texts  # always on both sides: the same as no side
    assert not any("no finding" in text for text in texts)
    assert Entity.of_finding("nodule") not in entities_of(units, least=3)


@pytest.mark.parametrize(
    ("written", "read", "finding", "anatomy"),
    [
        ("left pleural efusion", "left pleural effusion", "pleural_effusion", None),
        ("Pnuemothorax", "pneumothorax", "pneumothorax", None),
        ("cardiomegally", "cardiomegaly", "cardiomegaly", None),
        ("left hemidiaphram", "left hemidiaphragm", None, "diaphragm"),
    ],
)
def test_a_misspelt_entity_is_read_as_what_it_misspells_and_that_is_said(caplog, written, read, finding, anatomy):
    entity = parse_entity(written)
    assert (entity.text, entity.finding, entity.anatomy) == (read, finding, anatomy)
    assert caplog.messages == [f"{written!r} is read as {read!r}"]


@pytest.mark.parametrize("text", ["left pleural effusion", "hemothorax", "Oedema", "effusions", "mitral configuration"])
def test_what_is_written_right_is_not_said(caplog, text):
    assert parse_entity(text, lambda word: word == "mitral").text == text
    assert not caplog.messages


def test_a_word_that_the_model_knows_is_not_corrected(caplog):
    assert parse_entity("pleural efusion", lambda word: word == "efusion").text == "pleural efusion"
    assert not caplog.messages


def test_phrases_that_are_used_as_written_are_asked_about(caplog):
    warn_of_misspelt(["left pleural efusion", "pneumothorax", "unicorn"])
    assert caplog.messages == [
        "the phrase 'left pleural efusion' is used as it is written; did you mean 'left pleural effusion'?"
    ]
