"""The tables of VinDr-CXR: what each reader said of an image, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError
from lgdea.records.adapters.source import require_cells, required_number, rows_of
from lgdea.records.csv_io import read_csv
from lgdea.vocabulary import load_vocabulary

NAME = "vindr-cxr"
SIDES = ("train", "test")
LABEL_TABLE = "image_labels_{}.csv"
CONSENSUS = "consensus"
NO_FINDING = "No finding"
# Words for which the vocabulary has no finding; the test table and the training table spell the last one differently.
OTHERS = ("Other lesion", "Other diseases", "Other disease")
CORNERS = ("x_min", "y_min", "x_max", "y_max")
# The classes of the Kaggle challenge by class_id; 14 is "No finding".
KAGGLE_CLASSES = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD", "Infiltration",
    "Lung Opacity", "Nodule/Mass", "Other lesion", "Pleural effusion", "Pleural thickening", "Pneumothorax",
    "Pulmonary fibrosis", NO_FINDING,
)  # fmt: skip


@dataclass(frozen=True)
class Findings:
    """Labels and boxes of the readers.

    Attributes:
        votes: A row per image and reader: ``image_id``, ``reader`` and a column per label, 1 / 0 / NaN.
        readings: ``image_id``, ``reader``, ``label`` of each 1.
        boxes: Rows of the table ``boxes``; ``finding`` is None where the vocabulary has none.
    """

    votes: pd.DataFrame
    readings: pd.DataFrame
    boxes: list[dict[str, Any]]


def read_label_table(file: Path, side: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Votes and readings of ``image_labels_train.csv`` (a row per image and reader) or ``image_labels_test.csv``.

    Raises:
        DataError: A column is missing, unknown or holds something else than 0, 1 or nothing.
    """
    keys = ["image_id", "rad_id"] if side == "train" else ["image_id"]
    named = [scored.name for scored in load_vocabulary().classes("vindr")]
    table = read_csv(file, [*keys, *named], card=NAME)
    for key in keys:
        require_cells(table, key, file=file)
    labels = [column for column in table if column not in ("image_id", "rad_id")]
    unknown = [label for label in labels if label not in (*named, *OTHERS)]
    if unknown:
        raise DataError(f"has the column {unknown[0]!r}, no known label", file=file, remedy="correct the header")
    votes = pd.DataFrame({label: _zeros_and_ones(table[label], file) for label in labels})
    votes.insert(0, "reader", table["rad_id"] if side == "train" else CONSENSUS)
    votes.insert(0, "image_id", NAME + ":" + table["image_id"])
    return votes, _readings(votes)


def _zeros_and_ones(column: pd.Series, file: Path) -> pd.Series:
    numbers = column.map({"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}).astype(float)
    wrong = numbers.isna() & column.notna()
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        problem = f"{column.name} is {column.iloc[row]!r}, not 0 or 1"
        raise DataError(problem, file=file, row=row + 1, remedy="correct the cell")
    return numbers


def _readings(votes: pd.DataFrame) -> pd.DataFrame:
    long = votes.melt(["image_id", "reader"], var_name="label", value_name="value")
    return long.loc[long["value"] == 1, ["image_id", "reader", "label"]].reset_index(drop=True)


def read_annotations(file: Path, side: str) -> list[dict[str, Any]]:
    """Boxes of ``annotations_train.csv`` (of each reader) or ``annotations_test.csv``; rows without a box are left out.

    Raises:
        DataError: A class is not known or a corner is no number.
    """
    keys = ["image_id", "rad_id"] if side == "train" else ["image_id"]
    table = read_csv(file, [*keys, "class_name", *CORNERS], card=NAME)
    for key in keys:
        require_cells(table, key, file=file)
    boxes = [_box(row, file, position) for position, row in enumerate(rows_of(table), start=1)]
    return [box for box in boxes if box is not None]


def read_kaggle(file: Path) -> Findings:
    """``train.csv`` of the challenge: a row per box; a reader of an image votes 0 for the classes without a row.

    Raises:
        DataError: A class is not known, its number is another's, or a corner is no number.
    """
    columns = ["image_id", "class_name", "class_id", "rad_id", *CORNERS]
    table = read_csv(file, columns, card=NAME)
    for key in ("image_id", "rad_id"):
        require_cells(table, key, file=file)
    boxes = []
    for position, row in enumerate(rows_of(table), start=1):
        word, number = row["class_name"], row["class_id"]
        if word not in KAGGLE_CLASSES or number != str(KAGGLE_CLASSES.index(word)):
            problem = f"the label {word!r} with class_id {number!r} is not known"
            raise DataError(problem, file=file, row=position, remedy="correct the row")
        box = _box(row, file, position)
        boxes += [] if box is None else [box]
    table = table.assign(image_id=NAME + ":" + table["image_id"], value=1.0)
    wide = table.pivot_table(index=["image_id", "rad_id"], columns="class_name", values="value", aggfunc="max")
    wide = wide.reindex(columns=KAGGLE_CLASSES).fillna(0.0)
    votes = wide.rename_axis(columns=None).reset_index().rename(columns={"rad_id": "reader"})
    return Findings(votes, _readings(votes), boxes)


def _box(row: dict[str, Any], file: Path, position: int) -> dict[str, Any] | None:
    """A row of ``boxes``; None for a word that was given without a place."""
    word = row["class_name"]
    finding = load_vocabulary().from_code("vindr", word) if isinstance(word, str) else None
    if finding is None and word not in OTHERS:
        raise DataError(f"the label {word!r} is not known", file=file, row=position, remedy="correct the cell")
    if word == NO_FINDING or all(row[corner] is None for corner in CORNERS):
        return None
    corners = {c: required_number(row[c], file=file, row=position, column=c) for c in CORNERS}
    if corners["x_max"] < corners["x_min"] or corners["y_max"] < corners["y_min"]:
        raise DataError("the box ends before it begins", file=file, row=position, remedy="correct the row")
    image = f"{NAME}:{row['image_id']}"
    return {
        "box_id": f"{image}:{row.get('rad_id') or CONSENSUS}:box{position}",
        "image_id": image,
        "finding": finding,
        "label": word,
        **corners,
    }
