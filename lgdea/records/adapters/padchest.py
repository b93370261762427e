"""PadChest: X-rays of one hospital with Spanish reports and 193 labels (``data_cards/padchest.md``)."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.columns import dates_of, days_since_first, on_disk, one_per, require, with_sizes
from lgdea.records.adapters.padchest_words import StudyLabels, known_word
from lgdea.records.adapters.source import find_plain_or_gzipped, require_folder, sex
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv
from lgdea.records.split import split_by_patient

NAME = "padchest"
TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
METHODS = {"Physician": "padchest-physician", "RNN_model": "padchest-rnn"}
COLUMNS = ["ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM",
           "Projection", "Report", "MethodLabel", "Labels", "LabelsLocalizationsBySentence"]  # fmt: skip
LEFT_OUT, UNKNOWN = "EXCLUDE", "UNK"  # projections


class PadChest:
    """The images that are there, the reports (Spanish, ``language`` is ``es``) and labels, which hold for the study.

    Sizes are read from the PNG files. Extra table ``sentences`` (study_id, sentence, label, locations): the labels of
    each sentence of the report and where it puts them, joined by ``|``.
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds the CSV file and ``0/`` ..."""
        refuse_options(self.name, options)
        source = require_folder(source)
        file = find_plain_or_gzipped(source, TABLE)
        table = _read(file)
        listed = table[table["Projection"] != LEFT_OUT]
        listed = listed.assign(path=_paths(listed, source))
        images, unreadable = with_sizes(listed[listed["path"].notna()], source)
        reported = listed.loc[listed["Report"].notna(), "study_id"]
        rows = listed[listed["study_id"].isin(images["study_id"]) | listed["study_id"].isin(reported)]
        if rows.empty:
            raise UsageError(f"holds no image and no report of {file.name}", file=source, remedy="unpack the images")
        studies = one_per(
            rows, "study_id",
            {"patient_id": "patient_id", "day": "day", "PatientSex_DICOM": "sex", "age": "age"},
        )  # fmt: skip
        texts = rows.dropna(subset="Report").drop_duplicates(["study_id", "Report"])
        reports = texts.drop_duplicates("study_id")
        labels, sentences, unmapped = _labels(rows, file)
        info = {
            "source": str(source),
            "absent_images": int(listed["path"].isna().sum()),
            "unreadable_images": unreadable,
            "images_marked_exclude": len(table) - len(listed),
            "studies_with_neither_side": listed["study_id"].nunique() - len(studies),
            "studies_without_report": len(studies) - len(reports),
            "further_reports_of_a_study_left_out": len(texts) - len(reports),
            "labels_without_finding": dict(unmapped.most_common()),
        }
        return write_archive(
            out,
            self.name,
            {
                "studies": split_by_patient(studies).assign(
                    dataset=NAME, sex=studies["sex"].map(sex, na_action=None)
                ),
                "images": images[["image_id", "study_id", "path", "width", "height", "view", "modality"]],
                "reports": pd.DataFrame(
                    {"report_id": reports["study_id"], "study_id": reports["study_id"], "text": reports["Report"]}
                ).assign(language="es"),
                "labels": labels,
            },
            source,
            info,
            {"sentences": sentences},
        )  # fmt: skip


def _read(file: Path) -> pd.DataFrame:
    table = read_csv(file, COLUMNS, card=NAME, optional=["Modality_DICOM"])
    for column in ("ImageID", "StudyID", "PatientID"):
        require(table[column].notna(), table[column], "not an id", file)
    directory = table["ImageDir"].astype("string").str.removesuffix(".0")
    require(
        directory.str.fullmatch(r"\d+").fillna(False).astype(bool), table["ImageDir"], "not a folder's number", file
    )
    dates = dates_of(table["StudyDate_DICOM"], file=file)
    patients = NAME + ":" + table["PatientID"]
    birth = pd.to_numeric(table["PatientBirth"], errors="coerce")
    age = (dates.dt.year - birth).astype(float)
    modality = (
        table["Modality_DICOM"] if "Modality_DICOM" in table else pd.Series(None, index=table.index, dtype=object)
    )
    return table.assign(
        ImageDir=directory.astype(object),
        image_id=NAME + ":" + table["ImageID"].str.removesuffix(".png"),
        study_id=NAME + ":" + table["StudyID"],
        patient_id=patients,
        day=days_since_first(dates, patients),
        age=age.where(age.between(0, 120)),
        view=table["Projection"].where(table["Projection"] != UNKNOWN),
        modality=modality.where(modality.notna(), "CR"),
    )


def _paths(table: pd.DataFrame, source: Path) -> pd.Series:
    """``<ImageDir>/<ImageID>``, else ``<ImageID>``, null when neither is there."""
    paths = pd.Series(np.nan, index=table.index, dtype=object)
    for option in (table["ImageDir"] + "/" + table["ImageID"], table["ImageID"]):
        rest = option[paths.isna()]
        paths[rest.index] = rest.where(on_disk(source, rest))
    return paths


def _labels(rows: pd.DataFrame, file: Path) -> tuple[pd.DataFrame, pd.DataFrame, Counter[str]]:
    """Rows of ``labels`` and ``sentences``, and the words without a finding with the number of their studies."""
    collected = StudyLabels()
    sentences: list[tuple[str, int, str, str]] = []
    seen: set[tuple[str, str, str]] = set()
    columns = ["study_id", "MethodLabel", "Labels", "LabelsLocalizationsBySentence"]
    for index, study, method, labels, by_sentence in rows[columns].itertuples():
        if labels is None or (study, labels, by_sentence) in seen:
            continue
        seen.add((study, labels, by_sentence))
        if method not in METHODS:
            problem = f"MethodLabel is {method!r}, not {' or '.join(METHODS)}"
            raise DataError(problem, file=file, row=index + 1, remedy="correct the cell")
        words = {known_word(word, file=file, row=index + 1) for word in _list(labels, file, index, "Labels") if word}
        collected.add(study, words, METHODS[method], complete=method == "Physician")
        for number, entries in enumerate(_list(by_sentence or "[]", file, index, columns[-1])):
            places = "|".join(e.removeprefix("loc ") for e in entries if e.startswith("loc "))
            sentences += [(study, number, entry, places) for entry in entries if entry and not entry.startswith("loc ")]
    table = pd.DataFrame(sentences, columns=["study_id", "sentence", "label", "locations"])
    return collected.rows(), table, collected.unmapped


def _list(cell: str, file: Path, index: int, column: str) -> list[Any]:
    """A cell that holds a Python list of words, or of lists of words; words without the spaces around them."""
    try:
        value = ast.literal_eval(cell)
        if not isinstance(value, list):
            raise ValueError
        nested = column != "Labels"
        return [[word.strip() for word in entry] if nested else entry.strip() for entry in value]
    except (ValueError, SyntaxError, AttributeError, TypeError):
        problem = f"{column} is not a list of words"
        raise DataError(problem, file=file, row=index + 1, remedy="correct the cell or fetch the file again") from None


ADAPTER = PadChest()
