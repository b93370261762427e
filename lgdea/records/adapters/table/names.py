"""Names that columns have in hospitals and datasets: English, German, Dutch, French, Spanish, Portuguese, Italian."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from itertools import product


def _split(words: str) -> tuple[str, ...]:
    return tuple(words.split())


# A noun and a word for "number" in any order make the name of an id: `patient_id`, `No. de dossier`, `Auftragsnummer`.
_ID_WORDS = _split(
    "id nr no number num nummer numero n code codigo cod codice key identifier identifiant identificador "
    "identificativo kennung kurzel pseudonym uid ids"
)
_JOINING = ("", "de", "du", "del", "do", "da", "d", "dell", "van", "der", "des", "of", "s")
_PATIENT_NOUNS = _split(
    "patient patienten patients paciente pacientes paziente pazienti pat paz pac subject subj subjekt proband "
    "person participant mrn dossier prontuario historia historiaclinica medicalrecord ipp nip nhc hc utente "
    "processo cartella pt registro"
)
_STUDY_NOUNS = _split(
    "study accession acc exam examination examen untersuchung untersuchungs unters auftrag auftrags anforderung "
    "anforderungs fall case order request report onderzoek onderzoeks accessie verrichting verrichtings aanvraag "
    "estudio exploracion peticion episodio acceso solicitud etude acces demande esame studio accettazione "
    "richiesta exame estudo pedido requisicao acesso studien acession accesion"
)
# In order of preference.
NAMES: Mapping[str, tuple[str, ...]] = {
    "study": _split(
        "study_id study study_uid study_instance_uid accession_number accession acc_no acc exam_id case_id "
        "visit_id encounter_id report_id uid estudio estudo etude untersuchung onderzoek esame exame examen exam "
        "examination case fall"
    ),
    "patient": _split(
        "patient_id patient subject_id subject pid pat_id mrn person_id patient_number case_patient paciente "
        "paziente nhc ipp nip prontuario historia_clinica medical_record_number hospital_number nhs_number "
        "chi_number ppn empi patient_key pseudonym proband utente cartella_clinica processo_clinico "
        "registro_hospitalario"
    ),
    "image": _split(
        "image_path path file_path filepath image_file file filename file_name image image_filename image_name "
        "img img_path png_path jpg_path dicom_path path_to_image image_index dcm_path dicom_file volume "
        "volume_path nifti nii scan images image_paths image_files paths files filenames bilddatei bildpfad bild "
        "bilder dateiname dateipfad datei pfad bestandsnaam bestandspad bestand beeld afbeelding pad "
        "nombre_archivo nombre_de_archivo ruta ruta_imagen archivo fichero imagen nom_fichier nom_du_fichier "
        "chemin chemin_fichier fichier cliche bildname file_immagine nombre_fichero chemin_image nome_da_imagem "
        "nome_imagem nome_immagine image_file_path png_file jpg_file img_file image_url nome_file percorso "
        "percorso_file immagine nome_arquivo nome_do_arquivo nome_do_ficheiro caminho arquivo ficheiro imagem"
    ),
    "image_id": _split(
        "image_id dicom_id sop_instance_uid instance_id img_id image_uid bild_id id_imagen id_imagem id_image"
    ),
    "report": _split(
        "report report_text radiology_report full_report full_text bericht berichttext befundtext befundbericht "
        "radiologiebericht compte_rendu_examen verslag verslagtekst radiologieverslag informe texto_informe "
        "informe_texto reporte informe_radiologico compte_rendu texte_compte_rendu rapport laudo texto_laudo "
        "laudo_texto relatorio referto testo_referto arztbericht freitext narrative text texte texto testo tekst"
    ),
    "remark": _split("caption clinical_notes note notes body notizen bemerkung"),
    "report_file": _split("report_file report_path path_to_report text_file txt txt_path"),
    "view": _split(
        "view_position view projection proj ap_pa frontal_lateral projektion aufnahmerichtung strahlengang "
        "ansicht projectie opnamerichting aanzicht proyeccion vista incidence vue proiezione incidencia projecao"
    ),
    "sex": _split(
        "sex gender patient_sex patient_gender geschlecht geschl geslacht sexo sexe sesso genero genre genere mf "
        "sexo_paciente sexe_patient"
    ),
    "age": _split(
        "age patient_age age_years age_at_study anchor_age alter alter_bei_untersuchung age_at_exam "
        "patientenalter alter_jahre leeftijd edad edad_paciente eta idade idade_paciente age_patient"
    ),
    "date": _split(
        "study_date date exam_date acquisition_date datetime study_datetime report_date untersuchungsdatum "
        "unters_datum aufnahmedatum studiendatum befunddatum datum onderzoeksdatum datum_onderzoek opnamedatum "
        "fecha fecha_estudio fecha_del_estudio fecha_de_estudio fecha_examen fecha_exploracion fecha_realizacion "
        "date_examen date_d_examen date_etude date_de_l_examen datum_untersuchung data_esame data_dell_esame "
        "data_studio data_exame data_do_exame data_estudo data"
    ),
    "day": _split("day days study_day days_from_first offset offset_days day_offset"),
    "split": _split("split fold_name subset partition set dataset_split"),
    "site": _split(
        "site hospital institution center centre institution_name location standort klinik krankenhaus ziekenhuis "
        "locatie centro hopital etablissement ospedale sede instituicao"
    ),
    "language": _split("language lang report_language report_lang sprache taal idioma lengua langue lingua"),
    "modality": _split("modality modalitat modaliteit modalidad modalite modalita modalidade"),
    "folder": _split(
        "folder image_folder study_folder directory dir image_dir study_path ordner bildordner verzeichnis map "
        "carpeta directorio dossier_images repertoire cartella pasta"
    ),
}  # fmt: skip
# Section columns in the order in which reports have them; those of the second group make a report.
_CONTEXT = _split(
    "examination indication history clinical_history clinical_information fragestellung indikation "
    "klinische_angaben anamnese vraagstelling klinische_gegevens indicacion motivo datos_clinicos "
    "renseignements_cliniques indicazione quesito_clinico indicacao technique technik techniek tecnica comparison "
    "vergleich vergelijking comparacion comparaison confronto comparacao"
)
FINDINGS = _split(
    "findings befund befunde bevindingen bevinding hallazgos resultats resultat constatations achados reperti "
    "rilievi descrizione descripcion descricao"
)
IMPRESSIONS = _split(
    "impression beurteilung zusammenfassung samenvatting opinion juicio juicio_clinico conclusoes conclusie "
    "conclusion conclusions conclusiones impresion impresion_diagnostica synthese conclusione conclusioni "
    "impressao conclusao"
)
SECTIONS = (
    *_CONTEXT, *FINDINGS, *IMPRESSIONS,
    *_split("recommendation empfehlung aanbeveling recomendacion recommandation raccomandazione recomendacao"),
)  # fmt: skip
LABEL_WORDS = _split(
    "finding_labels labels label finding_label findings finding diagnosis diagnoses class class_name pathology "
    "disease diagnose diagnosen diagnostico diagnosticos diagnostic diagnosi etiquetas etiqueta etichette "
    "etichetta etiquettes pathologie patologia"
)
BOX_NAMES: Mapping[str, tuple[str, ...]] = {
    "x_min": ("x_min", "xmin", "x1", "left", "x"),
    "y_min": ("y_min", "ymin", "y1", "top", "y"),
    "x_max": ("x_max", "xmax", "x2", "right"),
    "y_max": ("y_max", "ymax", "y2", "bottom"),
    "width": ("width", "w", "box_width", "bbox_width"),
    "height": ("height", "h", "box_height", "bbox_height"),
    "finding": ("finding", "label", "class_name", "class", "region", "finding_label", "pathology", "category"),
    "laterality": ("laterality", "side", "patient_side"),
    "phrase": ("phrase", "sentence", "label_text"),
}
# DICOM elements, where a header has the tag alone.
_TAGS = {
    "00100020": "patient_id", "00080050": "accession_number", "0020000d": "study_uid", "00080060": "modality",
    "00080020": "study_date", "00100040": "sex", "00101010": "age", "00185101": "view_position",
    "00080018": "sop_instance_uid", "00080080": "institution", "00081030": "examination",
}  # fmt: skip
_TAG = re.compile(r"\W*([0-9a-f]{4})([,_| ]?)([0-9a-f]{4})\W*(.*)", re.IGNORECASE | re.DOTALL)
_ASIDE = re.compile(r"\([^)]*\)|\[[^\]]*\]")
# What is said of a column beside its meaning.
_AROUND = frozenset(
    _split(
        "deid deidentified anon anonymized anonymised anonymous pseudo pseudonymized pseudonymised hashed hash "
        "dicom dcm ris pacs his emr src source raw"
    )
)
_ARTICLES = frozenset(_split("de du del do da d des der dell della van l le la el the of het"))
# Words beside a name that leave its meaning: of a patient, at the examination, in radiology.
_BESIDE = (
    _AROUND
    | _ARTICLES
    | frozenset(
        _split(
            "patient patienten patients paciente pacientes paziente at bei text texto texte testo tekst txt "
            "section radiology radiologie radiologisch radiologischer radiologisches radiologico radiologique "
            "medical medico diagnostische diagnostica diagnostico diagnostique zusammenfassende"
        )
    )
)
_BESIDE_IDS = (
    _AROUND
    | _ARTICLES
    | frozenset(_split("hospital clinic site study research local internal external global unique master index"))
)


def plain(name: str) -> str:
    """A name without case, accents, blanks and punctuation.

    >>> plain("Patiënt-Nr."), plain("N° d'examen")
    ('patientnr', 'ndexamen')
    """
    letters = unicodedata.normalize("NFKD", name.replace("ø", "o").replace("æ", "ae").replace("œ", "oe"))
    return "".join(c for c in letters.casefold() if c.isalnum())


def spellings(name: str, *, loose: bool = True) -> Iterator[str]:
    """The plain forms that a column's name may be known by, the most literal first; ``loose`` ones leave words out.

    >>> list(spellings("(0010,0020) Patient ID", loose=False)), list(spellings("Alter (Jahre)"))
    (['00100020patientid', 'patientid'], ['alterjahre', 'alter'])
    >>> list(spellings("dicom_sex_of_patient"))
    ['dicomsexofpatient', 'sexofpatient', 'sexpatient', 'sex']
    """
    seen = dict.fromkeys([plain(name)])
    tag = _TAG.fullmatch(name)
    if tag is not None and (tag[2] or name.strip().isalnum()):
        rest = tag[4].strip()
        named = plain(rest) or plain(_TAGS.get((tag[1] + tag[3]).lower(), ""))
        seen.setdefault(named)
    seen.setdefault(plain(_ASIDE.sub(" ", name)))
    parts = name_words(name)
    for beside in (_AROUND, _AROUND | _ARTICLES, *([_BESIDE] if loose else [])):
        seen.setdefault("".join(part for part in parts if part not in beside))
    yield from (form for form in seen if form)


def name_words(name: str) -> list[str]:
    """The words of a name, also of one in camel case."""
    apart = re.sub(r"(?<=[a-zà-ÿ0-9])(?=[A-ZÀ-Þ])", " ", name)
    return [plain(part) for part in re.split(r"[\W_]+", apart) if part]


def find_column(columns: Iterable[object], names: Iterable[str], taken: Iterable[str] = ()) -> str | None:
    """The column that has the first of ``names`` that any of them has."""
    return next(iter(find_columns(columns, names, taken)), None)


def find_columns(
    columns: Iterable[object], names: Iterable[str], taken: Iterable[str] = (), *, loose: bool = True
) -> list[str]:
    """The columns that have one of ``names``, in the order of the names."""
    exact: dict[str, str] = {}
    looser: dict[str, str] = {}
    for column in map(str, columns):
        if column not in taken:
            first, *others = list(spellings(column, loose=loose)) or [""]
            exact.setdefault(first, column)
            for form in others:
                looser.setdefault(form, column)
    wanted = _all_plain(tuple(names))
    return list(dict.fromkeys(places[name] for places in (exact, looser) for name in wanted if name in places))


@lru_cache(maxsize=64)
def _all_plain(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(plain(name) for name in names)


def find_id_columns(field: str, columns: Iterable[object], taken: Iterable[str] = ()) -> list[str]:
    """Columns of a study's or patient's id: a usual name, or a noun with a word for number."""
    names, taken = [str(column) for column in columns], set(taken)
    found = find_columns(names, (*NAMES[field], *_ids(field)), taken, loose=False)
    return list(dict.fromkeys((*found, *(c for c in names if c not in taken and _is_made_of_ids(field, c)))))


def _is_made_of_ids(field: str, column: str) -> bool:
    """Check that a name consists of a noun, words for number, and what stands beside them: `Clinic Patient No`."""
    nouns = set(_PATIENT_NOUNS[:17] if field == "patient" else ("accession", "study"))
    words = set(name_words(column))
    return bool(words & nouns) and not words - nouns - set(_ID_WORDS) - _BESIDE_IDS


@cache
def _ids(field: str) -> tuple[str, ...]:
    nouns = {"patient": _PATIENT_NOUNS, "study": _STUDY_NOUNS}[field]
    words = product(nouns, _ID_WORDS, _JOINING)
    return tuple(
        dict.fromkeys(form for noun, word, joint in words for form in (noun + joint + word, word + joint + noun))
    )


@cache
def _known() -> frozenset[str]:
    fields = (name for names in NAMES.values() for name in names)
    boxes = (name for names in BOX_NAMES.values() for name in names if len(name) > 1 and "_" in name)
    ids = (*_ids("patient"), *_ids("study"))
    return frozenset(map(plain, (*fields, *SECTIONS, *LABEL_WORDS, *boxes))) | frozenset(ids)


def is_known(name: str) -> bool:
    """Check that a column of this name would be recognised."""
    return any(form in _known() for form in spellings(name)) or any(
        _is_made_of_ids(field, name) for field in ("patient", "study")
    )
