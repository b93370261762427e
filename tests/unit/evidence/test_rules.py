import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgdea.evidence.rules.reader import read_report
from lgdea.vocabulary.laterality import swap, swap_text


def _facts(text):
    return {(i.finding, i.assertion) for i in read_report(text)}


def _only(text, finding):
    found = [i for i in read_report(text) if i.finding == finding]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        # presence, and heads that name a finding only with a structure
        ("Mild cardiomegaly.", {("cardiomegaly", "present")}),
        ("The heart is mildly enlarged.", {("cardiomegaly", "present")}),
        ("Elevation of the right hemidiaphragm.", {("elevated_diaphragm", "present")}),
        ("The aorta is tortuous and calcified.", {("tortuous_aorta", "present"), ("aortic_calcification", "present")}),
        ("Degenerative changes of the thoracic spine.", {("degenerative_spine", "present")}),
        ("Blunting of the left costophrenic angle.", {("costophrenic_blunting", "present")}),
        ("Fractures of the right 4th and 5th ribs.", {("rib_fracture", "present")}),
        ("Calcified left hilar lymph nodes.", {("calcified_lymph_node", "present")}),
        # negation
        ("No pleural effusion or pneumothorax.", {("pleural_effusion", "absent"), ("pneumothorax", "absent")}),
        ("No focal consolidation, pleural effusion, or pneumothorax is seen.",
         {("consolidation", "absent"), ("pleural_effusion", "absent"), ("pneumothorax", "absent")}),
        ("Lungs are clear of infiltrate.", {("opacity", "absent"), ("infiltration", "absent")}),
        ("Pneumothorax is not seen.", {("pneumothorax", "absent")}),
        ("Mild cardiomegaly without pulmonary edema.", {("cardiomegaly", "present"), ("edema", "absent")}),
        ("No pneumothorax, stable cardiomegaly.", {("pneumothorax", "absent"), ("cardiomegaly", "present")}),
        ("No effusion, but there is a left lung nodule.", {("pleural_effusion", "absent"), ("nodule", "present")}),
        ("No significant change in the right pleural effusion.", {("pleural_effusion", "present")}),
        ("The heart is not enlarged.", {("cardiomegaly", "absent")}),
        # normal structures
        ("Heart size and mediastinal contours are normal.",
         {("cardiomegaly", "absent"), ("enlarged_cardiomediastinum", "absent")}),
        ("Heart size normal and lungs are clear.", {("cardiomegaly", "absent"), ("opacity", "absent")}),
        ("Heart size is normal, the aorta is tortuous.", {("cardiomegaly", "absent"), ("tortuous_aorta", "present")}),
        # uncertainty
        ("Possible right pneumonia.", {("pneumonia", "uncertain")}),
        ("Opacity may represent pneumonia or atelectasis.",
         {("opacity", "present"), ("pneumonia", "uncertain"), ("atelectasis", "uncertain")}),
        ("Pneumonia cannot be excluded.", {("pneumonia", "uncertain")}),
        ("Atelectasis versus pneumonia.", {("atelectasis", "uncertain"), ("pneumonia", "uncertain")}),
        ("No evidence to suggest pneumonia.", {("pneumonia", "absent")}),
        # what is not a finding of now
        ("History of pneumonia.", set()),
        ("Evaluate for pneumothorax.", set()),
        ("Recommend CT to exclude a mass.", set()),
        ("INDICATION: Pneumonia. Rule out effusion.", set()),
        ("Right pleural effusion has resolved.", {("pleural_effusion", "absent")}),
        ("The endotracheal tube has been removed.", {("endotracheal_tube", "absent")}),
        # de-identification tokens
        ("XXXX right XXXX pleural effusion.", {("pleural_effusion", "present")}),
        ("Heart XXXX, mediastinum and lung XXXX are unremarkable.",
         {("cardiomegaly", "absent"), ("enlarged_cardiomediastinum", "absent"), ("opacity", "absent")}),
    ],
)  # fmt: skip
def test_assertions(text, facts):
    assert {f for f in _facts(text) if f[0] != "no_finding"} == facts


@pytest.mark.parametrize(
    ("text", "finding", "attributes"),
    [
        ("Moderate left pleural effusion.", "pleural_effusion", {"laterality": "left", "severity": "moderate"}),
        ("There is a small effusion on the right.", "pleural_effusion", {"laterality": "right", "severity": "mild"}),
        ("Bibasilar atelectasis.", "atelectasis", {"laterality": "bilateral", "anatomy": "lung_base"}),
        ("Opacity in the left lower lobe.", "opacity", {"laterality": "left", "anatomy": "left_lower_lobe"}),
        ("Right middle lobe consolidation.", "consolidation", {"laterality": "right", "anatomy": "right_middle_lobe"}),
        ("Nodule in the lingula.", "nodule", {"laterality": "left", "anatomy": "lingula"}),
        ("New left apical pneumothorax.", "pneumothorax",
         {"laterality": "left", "anatomy": "lung_apex", "change": "new"}),
        ("Worsening pulmonary edema.", "edema", {"change": "worse"}),
        ("Cardiomegaly is unchanged.", "cardiomegaly", {"change": "stable", "refers_to_prior": True}),
        ("Borderline enlarged heart.", "cardiomegaly", {"severity": "minimal", "anatomy": "heart"}),
        ("Interval resolution of right upper lobe opacity.", "opacity",
         {"assertion": "absent", "change": "resolved", "anatomy": "right_upper_lobe"}),
        ("Left effusion has nearly completely resolved.", "pleural_effusion",
         {"assertion": "present", "change": "better", "laterality": "left"}),
        ("Left lung base scarring.", "scarring", {"laterality": "left", "anatomy": "lung_base"}),
        ("Right basilar opacity may represent atelectasis.", "atelectasis",
         {"assertion": "uncertain", "laterality": "right", "anatomy": "lung_base"}),
        ("Calcified right hilar granulomas.", "calcified_granuloma", {"laterality": "right", "anatomy": "hilum"}),
        ("Left subclavian central venous catheter.", "central_line", {"laterality": "left"}),
        ("Pleural thickening.", "pleural_thickening", {"anatomy": "pleura", "laterality": "unspecified"}),
    ],
)  # fmt: skip
def test_attributes(text, finding, attributes):
    item = _only(text, finding)
    assert {name: getattr(item, name) for name in attributes} == attributes


def test_neighbours_do_not_take_each_others_sides():
    text = "Right pleural effusion and left lower lobe atelectasis."
    assert _only(text, "pleural_effusion").laterality == "right"
    assert _only(text, "atelectasis").laterality == "left"


def test_a_normal_report_has_an_explicit_no_finding_and_an_abnormal_one_has_none():
    normal = "FINDINGS: The lungs are clear. No effusion.\nIMPRESSION: No acute cardiopulmonary disease."
    item = _only(normal, "no_finding")
    assert normal[item.start : item.end] == "No acute cardiopulmonary disease."
    assert item.section == "impression"
    for abnormal in ("Lungs are clear. Mild scoliosis.", "Possible nodule. Heart size normal."):
        assert "no_finding" not in {i.finding for i in read_report(abnormal)}


def test_quotes_hold_the_words_that_decide():
    text = "FINDINGS: No large left pleural effusion is seen."
    item = _only(text, "pleural_effusion")
    quote = text[item.start : item.end]
    assert quote.startswith("No")
    assert "left" in quote
    assert item.finding_text == "pleural effusion"


@pytest.mark.parametrize("text", ["", " \n\t ", "XXXX", "...", "1. 2. 3.", "\x00\x01", "肺野清晰。", "FINDINGS:"])
def test_nothing_to_read_gives_nothing(text):
    assert read_report(text) == []


def test_accents_and_odd_characters_do_not_shift_offsets():
    text = "İndication ﬁne – Résumé: “left” pleural\u00a0effusion. Pneumothoräx."
    item = _only(text, "pleural_effusion")
    assert text[item.start : item.end].endswith("pleural\u00a0effusion")
    assert item.laterality == "left"


def test_a_long_report_is_read_in_full():
    text = "FINDINGS: " + "The lungs are clear. " * 2500 + "Small left pneumothorax."
    assert len(text) > 50_000
    assert ("pneumothorax", "present") in _facts(text)
    unbroken = "no word here " * 4000 + "left pleural effusion"
    assert any(i.finding == "pleural_effusion" for i in read_report(unbroken))


@pytest.mark.parametrize(
    "piece",
    ["effusion, ", ",", "left and ", "right upper and left lower lobe and ", "opacity in the left base and ", "no ",
     "pneumonia versus atelectasis versus ", "may be due to opacity ", ".", "?", "a: ", "FINDINGS:", "1. ", "\n", "X"],
)  # fmt: skip
def test_no_text_is_too_odd_to_be_read(piece):
    text = (piece * 50_000)[:50_000]
    for item in read_report(text):
        assert 0 <= item.start < item.end <= len(text)
    assert ("pneumothorax", "present") in _facts(f"{text}\n\nSmall left pneumothorax.")


def test_the_work_on_a_sentence_is_bounded():
    """A sentence is read in pieces of bounded length, so that one without an end costs no more than many."""
    text = "effusion, nodule and left opacity " * 2000
    assert all(item.end - item.start <= 2000 for item in read_report(text))


SENTENCES = st.sampled_from([
    "Small left pleural effusion.", "No right pneumothorax.", "Right upper lobe nodule is stable.",
    "Left lower lobe opacity may represent pneumonia.", "Elevated right hemidiaphragm.", "Left basilar atelectasis.",
])  # fmt: skip


@given(st.lists(SENTENCES, min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_swapping_the_words_swaps_the_sides_and_nothing_else(sentences):
    text = " ".join(sentences)
    plain, mirrored = read_report(text), read_report(swap_text(text))
    assert [(i.finding, i.assertion, swap(i.laterality)) for i in plain] == [
        (i.finding, i.assertion, i.laterality) for i in mirrored
    ]


@given(st.text(max_size=400))
@settings(max_examples=100, deadline=None)
def test_any_text_gives_spans_inside_it(text):
    for item in read_report(text):
        assert 0 <= item.start < item.end <= len(text)
        assert item.finding_text in text
