import json
import warnings

import pandas as pd
import pytest

import lgdea
from lgdea.errors import RejectedShareError, UsageError
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.language import detect_language, foreign_language
from lgdea.evidence.runner import extract
from lgdea.vocabulary import load_vocabulary
from tests.helpers.adversarial import INJECTIONS, LANGUAGES
from tests.helpers.command_line import run_lgdea

FOREIGN = {
    "de": [
        "Kein Pneumothorax.",
        "Kleiner Pleuraerguss links.",
        "KEIN NACHWEIS EINES INFILTRATS.",
        "Unauffaelliger Befund.",
    ],
    "fr": ["Pas de pneumothorax.", "Absence de consolidation.", "Coeur de taille normale.", "PAS DE FOYER PULMONAIRE"],
    "es": [
        "No hay neumotórax.",
        "Sin derrame pleural.",
        "Cardiomegalia leve.",
        "No neumotorax",
        "SIN CAMBIOS SIGNIFICATIVOS",
    ],
    "pt": ["Sem pneumotórax.", "Não há derrame pleural.", "Área cardíaca aumentada."],
    "it": ["Non addensamenti in atto.", "Assenza di versamento pleurico.", "Ombra cardiaca nei limiti."],
    "nl": ["Geen pneumothorax.", "Hart niet vergroot.", "Longen zijn schoon."],
    "sv": ["Hjärtat är normalstort.", "Ingen pleuravätska."],
    "da": ["Hjertet er ikke forstørret. Lungerne er uden fortætninger."],
    "nb": ["Hjertet er ikke forstørret. Ingen uten fortetninger, høyre lunge."],
    "pl": ["Bez odmy.", "Sylwetka serca niepowiększona.", "Płuca bez zmian ogniskowych."],
    "cs": ["Plíce bez infiltrace.", "Výpotek vlevo."],
    "tr": ["Pnömotoraks yok.", "Plevral efüzyon izlenmedi."],
    "ro": ["Fără pneumotorax."],
    "hu": ["Nincs pneumothorax."],
    "fi": ["Ei ilmarintaa."],
    "zh": ["COVID-19 阴性", "双肺纹理增多，心影不大。"],
    "ja": ["気胸なし。", "胸水を認めません。"],
    "ko": ["기흉 없음."],
    "ru": ["Пневмоторакса нет. CT без изменений."],
    "uk": ["Пневмотораксу немає, інфільтрації не виявлено."],
    "ar": ["لا يوجد استرواح صدري"],
    "fa": ["پنوموتوراکس دیده نشد"],
    "el": ["Χωρίς πνευμοθώρακα."],
    "he": ["ללא חזה אוויר"],
    "th": ["ไม่พบลมในช่องเยื่อหุ้มปอด"],
    "hi": ["न्यूमोथोरैक्स नहीं है"],
}
SCANDINAVIAN = {"da", "nb", "sv"}
ENGLISH = """Cardiomegaly. | PTX RUL | NAD | XXXX XXXX. |    | AP CXR | ETT ok | LA ENLARGED. NO ICH.
ET TUBE IN SITU | Pre-op. | Cor pulmonale | Situs inversus totalis. | No e/o PTX.
Mass -ve, nodule -ve | SP CABG SOB NO RALES | BMT W/U; | De novo mass. | vocal cord paralysis
Dr. de la Cruz notified. Small effusion. | 42 y/o M c/o SOB | Patient 王小明: no pneumothorax.
Thorax | β-blocker. Clear. | Pneumothorax | Mitral anulus calcification.
Pars interarticularis | Os odontoideum. | Vena cava filter | Pectus excavatum. | Hallux valgus
Septum pellucidum | Ligamentum flavum | Ex vacuo dilatation | Et al. | Corpus callosum
Pes planus. | Cauda equina | Status post CABG | CT thorax: NAD | Coxa vara | Ileus. | Torus
Aorta | Placenta previa"""
GERMAN = "Kein Pneumothorax. Kein Erguss."
CLEAR = "No pneumothorax. The lungs are clear."


@pytest.mark.parametrize("code", FOREIGN)
def test_other_languages_are_told(code):
    for text in FOREIGN[code]:
        assert detect_language(text) in (SCANDINAVIAN if code in SCANDINAVIAN else {code}), text


def test_no_language_or_script_is_taken_for_english():
    taken = {code for code, text in LANGUAGES.items() if detect_language(text) == "en"}
    assert taken == {"en"}
    assert foreign_language(LANGUAGES["got"]) == "an unknown language"


def test_what_could_be_english_is_english():
    texts = [text.strip() for line in ENGLISH.splitlines() for text in line.split("|")]
    texts += INJECTIONS.values()
    assert [text for text in texts if detect_language(text) != "en"] == []


def test_no_word_of_the_vocabulary_is_taken_for_another_language():
    entries = [*load_vocabulary().findings.values(), *load_vocabulary().anatomy.values()]
    words = [word for entry in entries for word in (entry.name, *entry.synonyms)]
    spellings = [*words, *map(str.upper, words), *(f"{word.capitalize()}." for word in words)]
    assert [word for word in spellings if detect_language(word) != "en"] == []


def test_a_long_text_without_any_known_word_is_of_an_unknown_language():
    text = "lorg beag romhat agus gan athas mor duine leis fein inniu arís feoil"
    assert (detect_language(text), foreign_language(text)) == ("und", "an unknown language")
    assert detect_language(text[:30]) == "en"


@pytest.mark.parametrize(
    ("stated", "text", "language"),
    [
        ("de", CLEAR, "German"), ("de-AT", CLEAR, "German"), ("DEU", CLEAR, "German"), ("german", CLEAR, "German"),
        ("pt_BR", CLEAR, "Portuguese"), ("zh-Hans", CLEAR, "Chinese"), ("tlh", CLEAR, "tlh"),
        ("en-US", GERMAN, None), ("eng", GERMAN, None), ("English", GERMAN, None), ("en_GB", GERMAN, None),
        ("en", GERMAN, "German"), ("", GERMAN, "German"), ("und", GERMAN, "German"), ("nan", CLEAR, None),
    ],
)  # fmt: skip
def test_what_an_archive_states_is_believed_and_where_it_states_nothing_the_words_decide(stated, text, language):
    assert foreign_language(text, stated) == language


def _frame(foreign: int, english: int) -> pd.DataFrame:
    texts = [f"Kein Pneumothorax, {n} mm." for n in range(foreign)] + [f"A {n} mm nodule." for n in range(english)]
    return pd.DataFrame({"report_id": [str(n) for n in range(len(texts))], "text": texts})


def test_reports_none_of_which_is_english_are_refused_at_once(tmp_path):
    frame = pd.concat([_frame(3, 0), pd.DataFrame({"report_id": ["fr", "x"], "text": ["Pas de foyer.", " "]})])
    with pytest.raises(UsageError) as error:
        extract(frame, get_backend("rules"), tmp_path / "e")
    assert str(error.value) == (
        "none of the reports is in English, which 'rules' reads (3 German, 1 French); read other languages with a "
        "language model (--backend vllm or http, --prompt evidence-multilingual-v1), or read them all the same with "
        "--set options.language=any"
    )
    assert not (tmp_path / "e").exists()
    with pytest.raises(UsageError, match="1 Dutch"):
        lgdea.extract("Geen pneumothorax.")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_few_in_another_language_are_rejects_that_are_counted(tmp_path, workers):
    summary = extract(_frame(4, 196), get_backend("rules"), tmp_path / "e", workers=workers)
    assert summary["rejected_by_reason"] == {"language": 4}
    assert (summary["rejected_languages"], summary["rejected"]) == ({"German": 4}, 4)
    assert json.loads((tmp_path / "e" / "quality.json").read_text())["rejected_languages"] == {"German": 4}
    rejects = [json.loads(line) for line in (tmp_path / "e" / "rejects.jsonl").read_text().splitlines()]
    assert [(r["report_id"], r["reason"], r["detail"]) for r in rejects] == [
        (str(n), "language", "German") for n in range(4)
    ]


def test_many_in_another_language_are_too_many_rejects(tmp_path):
    with pytest.raises(RejectedShareError, match=r"were rejected \(40 German\), .*language model.*--max-rejected"):
        extract(_frame(40, 160), get_backend("rules"), tmp_path / "e")
    with pytest.warns(UserWarning, match=r"20.0% of the reports were rejected \(not English: 40 German\)"):
        rejects = lgdea.extract(_frame(40, 160)).rejects
    assert len(rejects) == 40


def test_told_otherwise_all_are_read(tmp_path):
    frame = _frame(4, 10).assign(language="de")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not lgdea.extract(frame, options={"language": "any"}).rejects
    with pytest.raises(
        UsageError, match="do not read language 'de'; write en or any; other languages are for a language"
    ):
        lgdea.extract(frame, options={"language": "de"})
    extract(_frame(0, 3), get_backend("rules"), tmp_path / "e")
    with pytest.raises(UsageError, match="another config"):
        extract(_frame(0, 3), get_backend("rules", language="any"), tmp_path / "e")


@pytest.mark.parametrize("stated", ["de", ""])
def test_the_language_of_an_archive_is_honoured(tmp_path, capsys, stated):
    table = tmp_path / "reports.csv"
    rows = [f"s{n},p{n},{'Kein Erguss.' if n == 3 else CLEAR},{stated if n == 3 else ''}" for n in range(60)]
    table.write_text("study_id,patient_id,report,language\n" + "\n".join(rows))
    code, _, err = run_lgdea(capsys, "data", "build", "table", table, "--out", tmp_path / "archive")
    assert code == 0, err
    code, out, err = run_lgdea(capsys, "extract", tmp_path / "archive", "--out", tmp_path / "e")
    assert code == 0, err
    assert " 1 rejected (not English: 1 German), " in out
    (reject,) = lgdea.load_evidence(tmp_path / "e").rejects
    assert (reject.reason, reject.detail) == ("language", "German")
