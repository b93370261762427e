"""PadChest-GR: sentences of reports with their boxes, in Spanish and English (``data_cards/padchest-gr.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.reading import parse_json
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.columns import dates_of, days_since_first, require, with_sizes
from lgdea.records.adapters.padchest import NAME as PADCHEST
from lgdea.records.adapters.padchest_words import StudyLabels, finding_of, known_word
from lgdea.records.adapters.source import age_in_years, require_folder, sex
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv, read_utf8

NAME = "padchest-gr"
SENTENCES, MASTER = "grounded_reports_20240819.json", "master_table.csv"
FOLDERS = ("Padchest_GR_files/PadChest_GR", "Padchest_GR_files", "PadChest_GR", "")
SPLITS = {"train": "train", "validation": "val", "test": "test"}
EDGES = ("x_min", "y_min", "x_max", "y_max")
ROUNDING = 1e-3  # how far a fraction may lie outside [0, 1]


class PadChestGR:
    """One image per study, its English sentences as report and phrases, and the first reader's boxes.

    Boxes come as fractions of the image and are turned into pixels of the stored one. Patient ids are those of
    ``padchest``. Extra tables: ``sentences`` (both languages, abnormal, labels, locations, progression),
    ``second_reader`` (the boxes of the second reader, columns as in ``boxes``) and ``prior_images`` (study_id,
    prior_study, prior_image: names of the source).
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds the JSON and the CSV file."""
        refuse_options(self.name, options)
        source = require_folder(source)
        file, master_file = source / SENTENCES, source / MASTER
        if not file.is_file():
            remedy = f"`lgdea data card {NAME}` shows the expected layout"
            raise UsageError("no such file", file=file, remedy=f"check the folder; {remedy}")
        entries = _read_json(file)
        studies = _studies(master_file)
        listed = pd.DataFrame(
            {
                "study_id": [NAME + ":" + e["StudyID"] for e in entries],
                "image_id": [NAME + ":" + e["ImageID"].removesuffix(".png") for e in entries],
                "path": [_stored_path(source, e["ImageID"]) for e in entries],
            }
        )
        unknown = listed.loc[~listed["study_id"].isin(studies["study_id"]), "study_id"]
        if len(unknown):
            study = unknown.iloc[0].removeprefix(f"{NAME}:")
            raise DataError("has no row for this study", file=master_file, row=study, remedy="fetch it again")
        images, unreadable = with_sizes(listed[listed["path"].notna()], source)
        sizes = {i: (w, h) for i, w, h in images[["image_id", "width", "height"]].itertuples(index=False)}
        found = _Sentences(sizes, file)
        for row, entry in enumerate(entries, start=1):
            found.add(entry, row)
        info = {
            "source": str(source),
            "absent_images": int(listed["path"].isna().sum()),
            "unreadable_images": unreadable,
            "labels_without_finding": {},
            **found.left_out,
        }
        labels = found.labels.rows()
        info["labels_without_finding"] = dict(found.labels.unmapped.most_common())
        return write_archive(
            out,
            self.name,
            {
                "studies": studies[studies["study_id"].isin(listed["study_id"])].reset_index(drop=True),
                "images": images[["image_id", "study_id", "path", "width", "height"]],
                "reports": found.reports,
                "boxes": found.boxes["boxes"],
                "labels": labels,
            },
            source,
            info,
            {
                "sentences": pd.DataFrame(found.sentences),
                "second_reader": pd.DataFrame(found.boxes["extra_boxes"], columns=list(BOX_COLUMNS)),
                "prior_images": pd.DataFrame(_priors(entries), columns=["study_id", "prior_study", "prior_image"]),
            },
        )


BOX_COLUMNS = ("box_id", "image_id", "finding", "label", "phrase", *EDGES)


class _Sentences:
    """Goes through the studies and collects the rows of all tables but the images."""

    def __init__(self, sizes: dict[str, tuple[int, int]], file: Path) -> None:
        self.sizes, self.file, self.labels = sizes, file, StudyLabels()
        self.reports: list[dict[str, Any]] = []
        self.sentences: list[dict[str, Any]] = []
        self.boxes: dict[str, list[dict[str, Any]]] = {"boxes": [], "extra_boxes": []}
        self.left_out = {"boxes_of_such_images": 0, "boxes_without_finding": 0, "empty_boxes": 0}

    def add(self, entry: dict[str, Any], row: int) -> None:
        study, image = NAME + ":" + entry["StudyID"], NAME + ":" + entry["ImageID"].removesuffix(".png")
        words: set[str] = set()
        for position, sentence in enumerate(entry["findings"]):
            abnormal = bool(sentence.get("abnormal"))
            named = [known_word(word, file=self.file, row=row) for word in sentence.get("labels") or ()]
            words |= set(named) if abnormal else set()
            self.sentences.append(
                {
                    "study_id": study,
                    "sentence": position,
                    "sentence_en": sentence.get("sentence_en"),
                    "sentence_es": sentence.get("sentence_es"),
                    "abnormal": abnormal,
                    "labels": "|".join(named),
                    "locations": "|".join(sentence.get("locations") or ()),
                    "progression": sentence.get("progression"),
                }
            )
            for reader in self.boxes:
                for number, edges in enumerate(sentence.get(reader) or ()):
                    self._box(edges, reader, f"{image}:{reader}{position}-{number}", image, sentence, named, row)
        if not any(sentence.get("abnormal") for sentence in entry["findings"]):
            words = {"normal"}
        self.labels.add(study, words, NAME, complete=True)
        texts = [s["sentence_en"].strip() for s in entry["findings"] if (s.get("sentence_en") or "").strip()]
        if texts:
            self.reports.append({"report_id": study, "study_id": study, "text": "\n".join(texts)})

    def _box(
        self, edges: Any, reader: str, box: str, image: str, sentence: dict[str, Any], named: list[str], row: int
    ) -> None:
        x_min, y_min, x_max, y_max = _fractions(edges, self.file, row)
        coded = [(word, finding) for word in named if (finding := finding_of(word)) is not None]
        if image not in self.sizes:
            self.left_out["boxes_of_such_images"] += 1
        elif x_min >= x_max or y_min >= y_max:
            self.left_out["empty_boxes"] += 1
        elif not coded:
            self.left_out["boxes_without_finding"] += 1
        else:
            width, height = self.sizes[image]
            corners = (x_min * width, y_min * height, x_max * width, y_max * height)
            phrase = (sentence.get("sentence_en") or "").strip() or None
            cells = (box, image, coded[0][1], coded[0][0], phrase, *corners)
            self.boxes[reader].append(dict(zip(BOX_COLUMNS, cells, strict=True)))


def _fractions(edges: Any, file: Path, row: int) -> list[float]:
    """Four fractions of the image, those a rounding error outside it moved to its edge."""
    good = isinstance(edges, list) and len(edges) == 4 and all(type(e) in (int, float) for e in edges)
    if not good or not all(-ROUNDING <= e <= 1 + ROUNDING for e in edges):
        problem = f"the box {edges!r} is not four fractions of the image"
        raise DataError(problem, file=file, row=row, remedy="correct the box")
    return [min(1.0, max(0.0, float(e))) for e in edges]


def _read_json(file: Path) -> list[dict[str, Any]]:
    """The studies.

    Raises:
        DataError: It is no JSON list of studies with ``StudyID``, ``ImageID`` and ``findings``; the row is the study's
            number.
    """
    try:
        entries = parse_json(read_utf8(file))
    except ValueError as error:
        raise DataError(f"is no JSON ({error})", file=file, remedy="fetch it again") from None
    if not isinstance(entries, list) or not entries:
        raise DataError("holds no list of studies", file=file, remedy="fetch it again")
    for row, entry in enumerate(entries, start=1):
        for key, kind in (("StudyID", str), ("ImageID", str), ("findings", list)):
            if not isinstance(entry, dict) or not isinstance(entry.get(key), kind):
                raise DataError(f"lacks {key!r}", file=file, row=row, remedy="fetch it again")
        if not all(isinstance(sentence, dict) for sentence in entry["findings"]):
            raise DataError("has a finding that is no object", file=file, row=row, remedy="fetch it again")
    return entries


def _studies(file: Path) -> pd.DataFrame:
    """One row per study from the master table, which has one per label."""
    required = ["StudyID", "PatientID", "split", "PatientAge", "PatientSex_DICOM", "StudyDate_DICOM"]
    table = read_csv(file, required, card=NAME, optional=[])
    require(table["split"].isin(list(SPLITS)), table["split"], f"none of {', '.join(SPLITS)}", file)
    for column in ("StudyID", "PatientID"):
        require(table[column].notna(), table[column], "not an id", file)
    patients = PADCHEST + ":" + table["PatientID"]
    studies = pd.DataFrame(
        {
            "study_id": NAME + ":" + table["StudyID"],
            "patient_id": patients,
            "dataset": NAME,
            "day": days_since_first(dates_of(table["StudyDate_DICOM"], file=file), patients),
            "sex": table["PatientSex_DICOM"].map(sex, na_action=None),
            "age": table["PatientAge"].map(age_in_years, na_action=None),
            "split": table["split"].map(SPLITS),
        }
    )
    return studies.drop_duplicates("study_id").reset_index(drop=True)


def _stored_path(source: Path, name: str) -> str | None:
    """Path of an image, None when it is in none of the folders that the archives unpack to."""
    options = (f"{folder}/{name}".lstrip("/") for folder in FOLDERS)
    return next((option for option in options if (source / option).is_file()), None)


def _priors(entries: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    return [
        (NAME + ":" + e["StudyID"], str(e["PreviousStudyID"]), e.get("PreviousImageID"))
        for e in entries
        if e.get("PreviousStudyID")
    ]


ADAPTER = PadChestGR()
