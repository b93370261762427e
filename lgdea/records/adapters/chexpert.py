"""CheXpert: frontal and lateral X-rays of one hospital with fourteen labels (``data_cards/chexpert.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import UsageError
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.columns import chexpert_classes, label_rows, on_disk, require, with_sizes
from lgdea.records.adapters.source import age_in_years, find_plain_or_gzipped, require_folder, sex
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv
from lgdea.records.split import split_by_patient

NAME = "chexpert"
TRAIN, VALID, TEST = ("train.csv",), ("valid.csv",), ("test.csv", "test_labels.csv")
LABELLERS = {"train": "chexpert", "valid": "radiologist", "test": "radiologist"}
PATH = r"(?:^|/)(?P<path>(?P<study>(?:train|valid|val|test)/(?P<patient>patient\d+)/study\d+)/view\d+_\w+)\.\w+$"
VALIDATION_SHARE = {"train": 0.95, "val": 0.05}


class CheXpert:
    """The images that the tables list, one study per ``patient/study``; labels hold for the study.

    Without the official test set the official validation set, which radiologists labelled, is the test side; see
    :func:`official_sides`.
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` is, or holds, ``CheXpert-v1.0*``."""
        refuse_options(self.name, options)
        source = find_root(require_folder(source))
        files = {
            part: find_plain_or_gzipped(source, *names)
            for part, names in (("train", TRAIN), ("valid", VALID), ("test", TEST))
        }
        files = {part: file for part, file in files.items() if file.is_file()}
        if not files:
            remedy = f"`lgdea data card {NAME}` shows the expected layout"
            raise UsageError("no such file: train.csv, valid.csv or test.csv", file=source, remedy=remedy)
        tables = {part: read_part(file, part) for part, file in files.items()}
        listed = pd.concat(tables.values(), ignore_index=True)
        present = listed[on_disk(source, listed["path"])]
        images, unreadable = with_sizes(present, source)
        if images.empty:
            raise UsageError(
                "holds none of the images that its tables list",
                file=source,
                remedy=f"expected is {listed['path'].iloc[0]}",
            )
        labels, torn = [], 0
        for part, table in tables.items():
            used = table[table["study_id"].isin(images["study_id"])]
            rows, lost = label_rows(used, chexpert_classes(), file=files[part], labeller=LABELLERS[part])
            labels.append(rows)
            torn += lost
        studies = images.drop_duplicates("study_id")[["study_id", "patient_id", "sex", "age", "part"]]
        info = {
            "source": str(source),
            "tables": [file.name for file in files.values()],
            "listed_images_that_are_absent": len(listed) - len(present),
            "unreadable_images": unreadable,
            "contradicting_labels_left_out": torn,
        }
        return write_archive(
            out,
            self.name,
            {
                "studies": official_sides(studies).assign(dataset=NAME),
                "images": images[["image_id", "study_id", "path", "width", "height", "view"]],
                "labels": pd.concat(labels, ignore_index=True),
            },
            source,
            info,
        )


def find_root(source: Path) -> Path:
    """``source``, or its only folder ``CheXpert-v1.0*`` when the tables are not in ``source`` itself."""
    inside = sorted(folder for folder in source.glob("CheXpert-v1.0*") if folder.is_dir())
    here = any(find_plain_or_gzipped(source, *names).is_file() for names in (TRAIN, VALID, TEST))
    return inside[0] if len(inside) == 1 and not here else source


def read_part(file: Path, part: str) -> pd.DataFrame:
    """A table with ``image_id``, ``study_id``, ``patient_id``, ``path``, ``view``, ``sex``, ``age`` and ``part``.

    The test table of the challenge has no sex, age and view. ``Age`` 0 means that it is not known.
    """
    frame = read_csv(
        file, ["Path", *chexpert_classes()], card=NAME, optional=["Sex", "Age", "Frontal/Lateral", "AP/PA"]
    )
    described = {"Sex", "Age", "Frontal/Lateral", "AP/PA"} <= set(frame.columns)
    if not described:
        frame = frame.assign(**{"Sex": None, "Age": None, "Frontal/Lateral": None, "AP/PA": None})
    frame = with_ids(frame, "Path", file=file)
    ending = frame["Path"].str.rsplit(".", n=1).str[-1]
    return frame.assign(
        path=frame["path"] + "." + ending,
        view=frame["AP/PA"].where(frame["AP/PA"].notna(), frame["Frontal/Lateral"]),
        sex=frame["Sex"].map(sex, na_action=None),
        age=frame["Age"].map(age_in_years, na_action=None).replace(0, None),
        part=part,
    )


def with_ids(frame: pd.DataFrame, column: str, *, file: Path, prefix: str = NAME) -> pd.DataFrame:
    """``frame`` with the ids that its paths say, and ``path`` without ending and leading folders.

    Patient ids are those of ``chexpert`` whatever the prefix, so that CheXpert Plus shares them.

    Raises:
        DataError: A path is not like ``train/patient00001/study1/view1_frontal.jpg``.
    """
    parts = frame[column].astype("string").str.extract(PATH).astype(object)
    require(parts["path"].notna(), frame[column], "not like train/patient00001/study1/view1_frontal.jpg", file)
    return frame.assign(
        path=parts["path"],
        image_id=prefix + ":" + parts["path"],
        study_id=prefix + ":" + parts["study"],
        patient_id=NAME + ":" + parts["patient"],
    )


def official_sides(studies: pd.DataFrame) -> pd.DataFrame:
    """``studies`` with ``split`` in place of ``part`` (train, valid, test).

    With a test part the parts are the sides. Without one ``valid`` is the test side, and a twentieth of the training
    patients, by their hash, is the validation side.
    """
    if (studies["part"] == "test").any():
        split = studies["part"].replace({"valid": "val"})
    else:
        split = split_by_patient(studies, fractions=VALIDATION_SHARE)["split"].where(studies["part"] == "train", "test")
    return studies.assign(split=split).drop(columns="part").reset_index(drop=True)


ADAPTER = CheXpert()
