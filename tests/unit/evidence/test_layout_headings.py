"""Headings of many hospitals: what stands behind them is read, or passed over, whatever their spelling."""

from __future__ import annotations

import pytest

from lgdea.evidence.layout import lay_out, split_sections
from lgdea.evidence.rules.reader import read_report
from lgdea.vocabulary.extension import extend_vocabulary
from lgdea.vocabulary.site_lexicon import SiteLexicon
from lgdea.vocabulary.tables import using_vocabulary

_READ = """
findings|finding|results|report|observations|narrative|description|comment|comments|discussion|interpretation
impression|conclusion|conclusions|opinion|assessment|summary|diagnosis|imaging diagnosis|final report
radiology report|body of report|preliminary findings|provisional findings impression (PFI)|CT findings
radiological findings|lung findings|other findings|additional findings|incidental findings
findings and impression|findings/impression|impression and plan|final impression|impression/recommendations
technique and findings|examination findings|addendum|final addendum|overread|key findings|chest|thorax|CXR
chest radiograph|chest x-ray|portable chest|portable AP chest|AP chest|PA chest|upright AP view of the chest
PA and lateral views of the chest|frontal and lateral chest radiographs|chest, two views
single view of the chest|CT chest|chest CT|CT thorax with contrast|HRCT|CTPA|CT pulmonary angiogram|USG thorax
portable abdomen|XR chest 1 view|AP chest 5:30 PM|lungs|lungs and airways|lungs/pleura|pleura|pleural spaces
heart|heart and mediastinum|mediastinum|hila|cardiomediastinal silhouette|bones|osseous structures
soft tissues|lines and tubes|tubes/lines|support devices|upper abdomen|visualized upper abdomen|trachea
diaphragm|pulmonary vasculature|line placement|change since prior|radiographs today|findigns|fidnings|findngs
finddings|impresson|imrpession|impressoin|conclusoin|observtions|interpetation
"""
_PASSED = """
indication|indications|indication for study|indication(s)|history|patient history|brief history
clinical history|clinical data|clinical question|clinical notes|clinical statement|clinical details
clinical information|clinical context|clinical problem|clinical diagnosis|clinical impression
relevant clinical history|history of present illness|past medical history|PMH|HPI|Hx|reason for exam
reason for examination|reason for visit|reason for referral|reason for CT|reason for this order|referral
symptoms|presenting symptoms|signs and symptoms|presenting complaint|chief complaint|complaints|CC|C/O
question|query|question to be answered|admitting diagnosis|working diagnosis|Dx|suspected diagnosis
pre-op diagnosis|medical condition|comorbidities|background|anamnesis|mechanism of injury|risk factors
triage note|nursing note|clinician notes|request details|referring physician note|order comments|problem list
stated reason|ICD-10|information provided|smoking history|comparison|comparisons|comparison study
comparison films|prior studies|previous examinations|prior exam|exam type|type of examination
study description|title|plan|plans|follow-up|advice|recommendation|recommendations|recommended follow-up
suggested management|next steps|suggestions|notification|indcation|inidcation|ndication|indicaton|comparision
comparsion|histroy|clincal history|recomendation|symtoms
"""
READ, PASSED = (names.replace("\n", "|").strip("|").split("|") for names in (_READ, _PASSED))


def _findings(text: str) -> set[tuple[str, str]]:
    return {(item.finding, item.assertion) for item in read_report(text)}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("spell", [str.upper, str.capitalize])
def test_what_stands_behind_a_heading_of_this_study_is_read(name, spell):
    for before in ("HISTORY: cough.\nCOMPARISON: None.\n", "Indication: Cough, fever.\n\nComparison: None.\n\n"):
        text = f"{before}{spell(name)}: Moderate right pleural effusion."
        assert ("pleural_effusion", "present") in _findings(text), lay_out(text)


@pytest.mark.parametrize("name", PASSED)
@pytest.mark.parametrize("spell", [str.upper, str.capitalize])
def test_what_stands_behind_a_heading_of_the_history_is_not_read(name, spell):
    for after in ("\nFINDINGS: Clear lungs.", "\n\nImpression: Clear lungs."):
        found = _findings(f"{spell(name)}: pneumothorax{after}")
        assert found == {("opacity", "absent"), ("no_finding", "present")}


def _sections(text: str) -> list[tuple[str, str]]:
    return [(s.name, text[s.start : s.end].strip()) for s in split_sections(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Indication: fever. Findings: Scarring. Impression: Scars.",
        "INDICATION: fever FINDINGS: Scarring. IMPRESSION: Scars.",
        "Indication: fever Findings: Scarring. Impression: Scars.",
        "INDICATION fever FINDINGS Scarring. IMPRESSION Scars.",
        "Indication:fever.Findings:Scarring.Impression:Scars.",
        "indication: fever\nfindings: Scarring.\nimpression: Scars.",
        "INDICATION\nfever\nFINDINGS\nScarring.\nIMPRESSION\nScars.",
        "Indication\n\nfever\n\nFindings\n\nScarring.\n\nImpression\n\nScars.",
        "Indication\n----------\nfever\n\nFindings\n--------\nScarring.\n\nImpression\n==========\nScars.",
        "## Indication\nfever\n## Findings\nScarring.\n## Impression\nScars.",
        "**Indication:** fever\n**Findings:** Scarring.\n**Impression:** Scars.",
        "**INDICATION**\nfever\n**FINDINGS**\nScarring.\n**IMPRESSION**\nScars.",
        "[INDICATION]\nfever\n[FINDINGS]\nScarring.\n[IMPRESSION]\nScars.",
        "INDICATION - fever\nFINDINGS - Scarring.\nIMPRESSION - Scars.",
        "Indication – fever\nFindings – Scarring.\nImpression – Scars.",
        "INDICATION = fever\nFINDINGS = Scarring.\nIMPRESSION = Scars.",
        "INDICATION. fever\nFINDINGS. Scarring.\nIMPRESSION. Scars.",
        "INDICATION    fever\nFINDINGS    Scarring.\nIMPRESSION    Scars.",
        "INDICATION fever\nFINDINGS Scarring.\nIMPRESSION Scars.",
        "1. INDICATION: fever\n2. FINDINGS: Scarring.\n3. IMPRESSION: Scars.",
        "I N D I C A T I O N: fever\nF I N D I N G S: Scarring.\nIMPRESSION : Scars.",
        "INDICATION:fever\rFINDINGS:Scarring.\rIMPRESSION:Scars.",
        "INDICATION: fever\\nFINDINGS: Scarring.\\nIMPRESSION: Scars.",
        "INDICATION: fever\u2028FINDINGS: Scarring.\u2028IMPRESSION: Scars.",
        "<b>Indication</b><br>fever<br><b>Findings</b><br>Scarring.<br><b>Impression</b><br>Scars.",
        "<h3>Indication</h3><p>fever</p><h3>Findings</h3><p>Scarring.</p><h3>Impression</h3><p>Scars.</p>",
    ],
)
def test_headings_in_many_layouts(text):
    plain = lay_out(text).plain
    read = [(s.name, plain[s.start : s.end].strip(" \n*=-")) for s in split_sections(text)]
    assert read == [("indication", read[0][1]), ("findings", "Scarring."), ("impression", "Scars.")]
    assert read[0][1].rstrip(".") == "fever"


def test_a_section_that_is_passed_over_ends_where_the_text_turns_to_this_study():
    turned = {
        "HISTORY: Fall.\n\nPA and lateral views of the chest. Old rib fractures.": "Old rib",
        "COMPARISON: 3 May. Two drains lie in the left pleural space.": "Two drains",
        "COMPARISON: [**2119-2-3**]. Left PICC placed by Dr. [**Last Name**] ends in the SVC.": "Left PICC",
        "EXAM: Chest, one view. Mild scoliosis.": "Mild scoliosis",
        "TECHNIQUE: Axial images were acquired. Contrast was given.\nA nodule lies in the right lung.": "A nodule",
        "REASON: r/o pneumonia. Single portable view of the chest. Heart is big.": "Single portable",
        "INDICATION: cough, three weeks\n\nThe heart is enlarged.": "The heart",
        "INDICATION: cough, three weeks\nThere is a nodule.": "There is",
        "RECOMMENDATION: CT in three months.\n\nThere is an old fracture.": "There is an old",
        "Clinical: fever?\nX-ray of the chest shows a nodule.": "X-ray",
        "Indication: effusion\nLeft effusion is small.": "Left effusion",
        "Signed by: Dr. Who\n\nThe lungs are clear.": "The lungs",
    }
    for text, begin in turned.items():
        assert _sections(text)[-1][0] == "body", text
        assert _sections(text)[-1][1].startswith(begin), text


def test_a_signature_gives_no_evidence():
    for line in (
        "Electronically signed by Dr. Lung Nodule",
        "Reported by Dr A. Nodule",
        "Dictated and signed by Nodule",
    ):
        assert _findings(f"FINDINGS: Clear lungs.\n\n{line} at 10:30") == {
            ("opacity", "absent"),
            ("no_finding", "present"),
        }


def test_a_history_of_several_paragraphs_is_passed_over():
    text = "INDICATION: 60-year-old man with cough.\n\nKnown lung cancer, treated last year.\n\nEvaluate for effusion."
    assert [name for name, _ in _sections(text)] == ["indication"]
    text = "COMPARISON: Radiograph of 3 May.\n\nCT of the chest of 2 April.\n\nTECHNIQUE: Frontal view.\nLateral view."
    assert [name for name, _ in _sections(text)] == ["comparison", "technique"]


def test_a_wet_read_is_passed_over_only_where_the_final_report_follows():
    assert [n for n, _ in _sections("WET READ: Left effusion.")] == ["findings"]
    assert [n for n, _ in _sections("WET READ: Left effusion.\nFINAL REPORT\nRight effusion.")] == ["wet_read", "body"]


def test_a_diagnosis_that_was_asked_about_is_none_of_this_study():
    assert _findings("DIAGNOSIS: pneumothorax\nFINDINGS: Clear lungs.") == {
        ("opacity", "absent"),
        ("no_finding", "present"),
    }
    assert ("pneumothorax", "present") in _findings("Collapsed left lung.\n\nDIAGNOSIS: Left pneumothorax.")
    assert ("pneumothorax", "present") in _findings("DIAGNOSIS: Left pneumothorax.")


@pytest.mark.parametrize(
    "title",
    [
        "CT PULMONARY ANGIOGRAM (PE PROTOCOL)",
        "CT CHEST - LUNG NODULE FOLLOW UP",
        "XR SHOULDER RIGHT - FRACTURE",
        "CXR FOR PNEUMOTHORAX",
        "LOW DOSE CT LUNG CANCER SCREENING",
        "LUNG CANCER SCREENING CT",
        "PNEUMONIA STUDY",
        "PULMONARY EMBOLISM STUDY (CTPA)",
        "Chest X-ray for pneumonia follow-up",
        "CT aortic aneurysm protocol",
        "RIB FRACTURE SERIES, LEFT",
        "CTA CHEST PE PROTOCOL",
        "SCOLIOSIS SURVEY",
    ],
)
def test_titles_give_no_evidence(title):
    for text in (f"{title}\nFINDINGS: Clear lungs.", f"{title}\nThe lungs are clear.", f"{title}\n\nClear lungs."):
        assert _findings(text) == {("opacity", "absent"), ("no_finding", "present")}, lay_out(text)
        assert "title" in {s.name for s in split_sections(text)}
    assert not {f for f, a in _findings(f"TITLE: {title}\nFINDINGS: Clear lungs.") if a == "present"} - {"no_finding"}


@pytest.mark.parametrize(
    "line",
    [
        "SMALL LEFT EFFUSION",
        "LEFT EFFUSION",
        "CXR shows a left effusion",
        "CXR: left effusion",
        "CXR - LEFT EFFUSION",
        "CHEST: LEFT EFFUSION",
        "Left effusion seen on CXR",
        "PORTABLE CHEST. LEFT EFFUSION.",
        "Chest x-ray left effusion",
    ],
)
def test_statements_in_the_first_line_are_no_titles(line):
    assert ("pleural_effusion", "present") in _findings(f"{line}\nHEART IS NORMAL")


def test_a_word_before_a_colon_inside_a_sentence_is_no_heading():
    assert [n for n, _ in _sections("FINDINGS: The following findings: a nodule.")] == ["findings"]
    assert [n for n, _ in _sections("INDICATION: Please look for the following: pneumonia.")] == ["indication"]
    assert [n for n, _ in _sections("HISTORY: fall at 10:30, cough")] == ["indication"]


def test_headings_met_are_told_with_their_kind():
    met = lay_out("EXAM: CT\nHISTROY: cough\nWidgets: none seen\nLUNGS: clear").headings
    assert met == (("EXAM", "examination"), ("HISTROY", "indication"), ("Widgets", None), ("LUNGS", "region"))


def test_a_site_adds_names():
    text = "Vraagstelling: pneumothorax\nBeoordeling: Clear lungs."
    own = SiteLexicon(headings={"Vraagstelling": "indication", "Beoordeling": "impression"})
    with using_vocabulary(extend_vocabulary(own)):
        assert [n for n, _ in _sections(text)] == ["indication", "impression"]
    assert [n for n, _ in _sections(text)] == ["body"]
