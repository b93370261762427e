"""Columns by their names in seven languages, and what is not what its name says."""

from __future__ import annotations

import pandas as pd
import pytest

from lgdea.errors import DataError
from lgdea.records.adapters.table import fields, guess
from lgdea.records.adapters.table.adapter import ADAPTER
from lgdea.records.adapters.table.mapping import TableMapping, label_word
from lgdea.records.adapters.table.names import find_columns, find_id_columns, is_known

CELLS = {
    "patient": "4711", "study": "A1", "image": "a.png", "report": "No effusion seen.", "findings": "Clear lungs.",
    "impression": "Normal chest.", "sex": "M", "age": "60", "date": "13.12.2020", "view": "PA", "language": "xx",
}  # fmt: skip
EXPORTS = [
    {"patient": "Patiëntnr", "study": "Onderzoeksnummer", "image": "Bestandsnaam", "report": "Verslag",
     "impression": "Conclusie", "sex": "Geslacht", "age": "Leeftijd", "date": "Onderzoeksdatum", "view": "Projectie"},
    {"patient": "Patientennummer", "study": "Fall-Nr.", "image": "Dateiname", "findings": "Befund",
     "impression": "Beurteilung", "sex": "Geschlecht", "age": "Alter (Jahre)", "date": "Untersuchungsdatum",
     "view": "Projektion", "language": "Sprache"},
    {"patient": "Id. paciente", "study": "Nº de estudio", "image": "Ruta imagen", "findings": "Hallazgos",
     "impression": "Impresión diagnóstica", "sex": "Sexo", "age": "Edad", "date": "Fecha del estudio",
     "view": "Proyección", "language": "Idioma"},
    {"patient": "N° de dossier", "study": "Numéro d'accès", "image": "Chemin du fichier", "report": "Compte-rendu",
     "sex": "Sexe", "age": "Âge", "date": "Date de l'examen", "view": "Incidence", "language": "Langue"},
    {"patient": "Número do prontuário", "study": "Número do exame", "image": "Caminho", "findings": "Achados",
     "impression": "Impressão", "sex": "Sexo", "age": "Idade", "date": "Data do exame", "view": "Incidência"},
    {"patient": "Codice paziente", "study": "N. esame", "image": "Percorso file", "report": "Referto",
     "sex": "Sesso", "age": "Età", "date": "Data esame", "view": "Proiezione", "language": "Lingua"},
    {"patient": "deid_subject_id", "study": "anon_accession_number", "image": "Image File", "report": "Report Text",
     "sex": "PatientSex_DICOM", "age": "Age [years]", "date": "StudyDate_DICOM", "view": "ViewPosition_DICOM"},
    {"patient": "(0010,0020) Patient ID", "study": "[0008,0050]", "image": "File", "report": "Report",
     "sex": "0010,0040", "age": "(0010,1010)PatientAge", "date": "00080020", "view": "(0018,5101) View Position"},
]  # fmt: skip


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export["patient"])
def test_an_export_in_its_own_language_is_understood(export, tmp_path):
    frame = pd.DataFrame([{column: CELLS[field] for field, column in export.items()}], index=[1], dtype="str")
    assert all(is_known(column) for column in frame)
    mapping, _, notes = guess.complete(TableMapping(), frame, tmp_path / "t.csv", tmp_path / "t.csv")
    assert mapping.patient == [export["patient"]]
    assert mapping.study == [export["study"]]
    assert list(mapping.image_columns()) == [export["image"]]
    for field in ("sex", "age", "date", "view", "language"):
        assert getattr(mapping, field) == export.get(field)
    text = [export[name] for name in ("report", "findings", "impression") if name in export]
    assert ([mapping.report] if mapping.report else list(mapping.section_columns().values())) == text
    assert not notes


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("patient", "Pat.-ID PatID patient-number MRN Hospital_MRN NHC IPP Patienten-Nr PatientKey subjectid pid"
         " paziente Patientenkennung PatientPseudonym hashed_patient_id subject_no id_paciente"),
        ("study", "StudyInstanceUID AccessionNo Accession# AuftragsNr Untersuchungs-ID Zugriff/Accession-Nr ExamID"
         " id_estudio NumEsame case_no OrderNumber"),
    ],
)  # fmt: skip
def test_ids_have_many_names(field, names):
    missed = [name for name in names.split() if find_id_columns(field, [name]) != [name]]
    assert missed == (["Zugriff/Accession-Nr"] if field == "study" else [])


@pytest.mark.parametrize(
    "name",
    ["PatientAge", "PatientBirthDate", "Patient Name", "patient_report_date_order", "Geb.-Datum", "patient_weight"],
)
def test_what_is_said_of_a_patient_is_no_id(name):
    assert find_id_columns("patient", [name]) == []


def test_the_literal_name_wins_over_one_with_more_around_it():
    assert find_columns(["DicomPath", "Path"], ("path", "dicom_path")) == ["Path", "DicomPath"]
    assert find_columns(["DicomPath", "PngPath"], ("path", "png_path")) == ["PngPath", "DicomPath"]


def _complete(tmp_path, rows: list[dict[str, str]], **mapping):
    frame = pd.DataFrame(rows, index=range(1, len(rows) + 1), dtype="str")
    return guess.complete(TableMapping(**mapping), frame, tmp_path / "t.csv", tmp_path / "t.csv")


def test_a_table_without_patients_has_to_say_so(tmp_path):
    (tmp_path / "t.csv").write_text("accession,report\nA,Clear lungs\nB,Effusion left\n")
    explanation = ADAPTER.explain(tmp_path / "t.csv")
    assert not explanation.would_build
    assert [p["kind"] for p in explanation.facts["problems"]] == ["no-patient-column"]
    for options in ({}, {"on_problem": "leave_out"}):
        with pytest.raises(DataError, match=r"no column of patients is known.*--option patient=COLUMN.*patient=null"):
            ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", **options)
    archive = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", patient=None)
    assert archive.studies["patient_id"].tolist() == ["t:A", "t:B"]
    assert archive.info["mapping"]["patient"] is None
    (tmp_path / "columns.yaml").write_text("patient:\n")
    assert len(ADAPTER.build(tmp_path / "t.csv", tmp_path / "again", mapping=tmp_path / "columns.yaml").studies) == 2
    printed = ADAPTER.explain(tmp_path / "t.csv", patient=None).facts["mapping"]
    (tmp_path / "columns.yaml").write_text(printed)
    assert len(ADAPTER.build(tmp_path / "t.csv", tmp_path / "third", mapping=tmp_path / "columns.yaml").studies) == 2


def test_a_patient_that_stands_in_the_path_alone(tmp_path):
    (tmp_path / "t.csv").write_text(
        "Path,report\nset/patient07/study1/a.png,One.\nset/patient07/study2/b.png,Two.\nset/patient9/study1/a.png,Three.\n"
    )
    with pytest.raises(DataError, match=r"--option patient=Path with --option 'patterns.patient=patient\\d\+'"):
        ADAPTER.build(tmp_path / "t.csv", tmp_path / "out")
    archive = ADAPTER.build(
        tmp_path / "t.csv", tmp_path / "out", patient="Path", study="Path", image=None,
        patterns={"patient": r"patient\d+", "study": r"patient\d+/study\d+"},
    )  # fmt: skip
    assert archive.studies["patient_id"].tolist() == ["t:patient07", "t:patient07", "t:patient9"]
    assert archive.studies["study_id"].tolist()[1] == "t:patient07/study2"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"notes": "called ward", "final_report_text": "Left effusion."}, {"report": "final_report_text"}),
        ({"report_id": "R1", "report_status": "final", "RadiologyReportText": "Clear."},
         {"report": "RadiologyReportText"}),
        ({"report": "R-0012", "note": "Clear lungs."}, {"report": "note"}),
        ({"Verslag": "Links pleuravocht.", "Conclusie": "Vocht."}, {"sections": ["Verslag", "Conclusie"]}),
        ({"report": "Clear. IMPRESSION: normal", "impression": "normal"}, {"report": "report"}),
        ({"report": "FINDINGS: clear\nConclusion: fine", "conclusion": "other words"}, {"report": "report"}),
        ({"section_findings": "Clear.", "section_impression": "Normal."},
         {"sections": ["section_findings", "section_impression"]}),
    ],
)  # fmt: skip
def test_the_column_of_the_report(row, expected, tmp_path):
    mapping, _, _ = _complete(tmp_path, [row])
    found = {name: getattr(mapping, name) for name in ("report", "sections") if getattr(mapping, name)}
    assert found == expected


def test_text_that_is_not_taken_is_said(tmp_path):
    row = {"report": "Dictated on Monday.", "findings": "Clear lungs here.", "impression": "Normal."}
    mapping, _, notes = _complete(tmp_path, [row])
    assert mapping.report == "report"
    assert "--option 'sections=[findings, impression]' takes it" in notes[0]


def test_an_image_column_of_words_is_none(tmp_path):
    rows = [{"uid": "1", "image": "Chest PA and lateral views", "filename": "a.png"}] * 2
    assert list(_complete(tmp_path, rows)[0].image_columns()) == ["filename"]
    assert _complete(tmp_path, [{"uid": "1", "image": "Chest PA and lateral", "report": "x"}])[0].image is None


def test_a_kind_of_examination_is_no_study(tmp_path):
    assert _complete(tmp_path, [{"exam": "chest XR", "patient": "1", "report": "x y"}])[0].study is None
    assert _complete(tmp_path, [{"exam": "E77", "patient": "1", "report": "x y"}])[0].study == ["exam"]


def test_the_view_is_taken_from_the_column_that_has_it(tmp_path):
    rows = [{"path": "a.png", "AP/PA": "AP", "Frontal/Lateral": "Frontal"},
            {"path": "b.png", "AP/PA": "", "Frontal/Lateral": "Lateral"}]  # fmt: skip
    assert _complete(tmp_path, rows)[0].view == ["AP/PA", "Frontal/Lateral"]
    assert _complete(tmp_path, rows[:1])[0].view == "AP/PA"


@pytest.mark.parametrize(("cell", "form"), [("43831", "excel"), ("13.12.20", "%d.%m.%y"), ("2/25/21", "%m/%d/%y")])
def test_dates_of_other_kinds_are_said_and_can_be_read(tmp_path, cell, form):
    (tmp_path / "t.csv").write_text(f"patient,accession,exam_date,report\n1,A,{cell},Clear lungs\n")
    explanation = ADAPTER.explain(tmp_path / "t.csv")
    assert any(f"--option date_format={form}" in note for note in explanation.facts["notes"])
    archive = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", date_format=form)
    assert archive.studies["day"].tolist() == [0]


def test_days_between_a_spreadsheets_dates(tmp_path):
    (tmp_path / "t.csv").write_text("patient,accession,date,report\n1,A,43831,Clear lungs\n1,B,43861.5,Effusion left\n")
    assert ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", date_format="excel").studies["day"].tolist() == [0, 30]


@pytest.mark.parametrize(
    ("cell", "years"),
    [("60 J.", 60), ("61 ans", 61), ("62 años", 62), ("63 jaar", 63), ("64,5", 64.5), ("058Y", 58), ("6 Monate", 0.5),
     ("18 mois", 1.5), ("26 weken", 26 / 52.18)],
)  # fmt: skip
def test_ages_with_their_units(cell, years):
    assert fields.age(cell) == pytest.approx(years)


@pytest.mark.parametrize("cell", ["85 or more", ">89", "-1", "old", "60 kg", "1950"])
def test_what_is_no_age(cell):
    with pytest.raises(ValueError, match=cell):
        fields.age(cell)


def test_an_m_beside_an_h_is_not_guessed(tmp_path):
    (tmp_path / "t.csv").write_text("patient,report,sexo\n1,Normal uno,H\n2,Normal dos,M\n")
    with pytest.raises(DataError, match=r"not clear where H and M stand side by side .*words.sex="):
        ADAPTER.build(tmp_path / "t.csv", tmp_path / "out")
    words = {"sex": {"h": "M", "m": "F"}}
    assert ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", words=words).studies["sex"].tolist() == ["M", "F"]
    (tmp_path / "t.csv").write_text("patient,report,sexe\n1,Normal un,H\n2,Normal deux,F\n")
    assert ADAPTER.build(tmp_path / "t.csv", tmp_path / "fr").studies["sex"].tolist() == ["M", "F"]


LABELS = [
    (["1,0", "-1,0", "0,0", ""], [1, -1, 0, None]),
    (["x", "", "X", " "], [1, None, 1, None]),
    (["ja", "nein", "fraglich", "Ja"], [1, 0, -1, 1]),
    (["sí", "no", "posible", ""], [1, 0, -1, None]),
    (["Oui", "Non", "Douteux", "NON"], [1, 0, -1, 0]),
    (["vero", "falso", "dubbio", ""], [1, 0, -1, None]),
    (["sim", "não", "possível", ""], [1, 0, -1, None]),
    (["aanwezig", "afwezig", "mogelijk", ""], [1, 0, -1, None]),
]


@pytest.mark.parametrize(("cells", "expected"), LABELS, ids=lambda item: str(item[0]))
def test_label_columns_in_other_writings(tmp_path, cells, expected):
    rows = "".join(f"{n};Befund Nummer {n};{cell}\n" for n, cell in enumerate(cells))
    (tmp_path / "t.csv").write_text(f"patient;report;Cardiomegaly\n{rows}")
    labels = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out").labels
    found = dict(zip(labels["study_id"], labels["value"], strict=True))
    assert found == {f"t:row{n + 1}": value for n, value in enumerate(expected) if value is not None}


def test_marks_can_be_told_to_mean_absence_elsewhere(tmp_path):
    (tmp_path / "t.csv").write_text("patient,report,Edema\n1,a b,x\n2,c d,\n")
    notes = ADAPTER.explain(tmp_path / "t.csv").facts["notes"]
    assert any("--option 'labels.values={\"\": 0}' makes them 0" in note for note in notes)
    labels = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", **{"labels.values": {"": 0}}).labels
    assert labels["value"].tolist() == [1, 0]


def test_a_findings_name_over_cells_that_are_not_understood_is_a_note(tmp_path):
    (tmp_path / "t.csv").write_text("patient,report,Edema,Mass\n1,a b,0.83,1\n2,c d,grade 2,0\n")
    notes = ADAPTER.explain(tmp_path / "t.csv").facts["notes"]
    assert any(note.startswith("Edema: named like findings") for note in notes)
    values = {"0.83": 1, "grade 2": -1}
    labels = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", **{"labels.values": values}).labels
    assert labels.query("finding == 'edema'")["value"].tolist() == [1, -1]


@pytest.mark.parametrize("cell", ["['cardiomegaly', 'mass']", '["cardiomegaly", "mass"]', "[cardiomegaly, mass]"])
def test_lists_as_labels(tmp_path, cell):
    (tmp_path / "t.csv").write_text(f"patient;report;Labels\n1;a b;{cell}\n2;c d;[]\n", encoding="utf-8")
    labels = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", quoted=False).labels
    assert sorted(labels["finding"]) == ["cardiomegaly", "mass"]


def test_words_of_labels():
    assert [label_word(cell) for cell in ("1,00", "-1.0", "0", "0.5", "Nein")] == ["1", "-1", "0", "0.5", "nein"]


@pytest.mark.parametrize("names", [("Erguss (links)", "Dilatatio cordis"), ("flag_1", "Pleural Effusion (0/1)")])
@pytest.mark.parametrize("cells", [("ja", "nein"), ("1", "0"), ("x", "-1")])
def test_label_columns_whose_names_are_not_known_are_noted_and_can_be_said(tmp_path, names, cells):
    rows = [f"1,A,Clear lungs,{cells[0]},{cells[1]},1", f"2,B,Left effusion,{cells[1]},{cells[0]},0"]
    (tmp_path / "t.csv").write_text("\n".join([f"pid,sid,report,{names[0]},{names[1]},Edema", *rows]))
    (note,) = [note for note in ADAPTER.explain(tmp_path / "t.csv").facts["notes"] if "label values" in note]
    assert note.startswith(", ".join(names))
    assert "labels.findings={" in note
    findings = {names[0]: "pleural_effusion", names[1]: None}
    archive = ADAPTER.build(tmp_path / "t.csv", tmp_path / "out", **{"labels.findings": findings})
    assert sorted(set(archive.labels["finding"])) == ["edema", "pleural_effusion"]
    assert not [note for note in archive.info["notes"] if "label values" in note]
