"""VinDr-CXR: boxes and labels of three readers, and of five in consensus (``data_cards/vindr-cxr.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.dicom_source import facts_of, image_row, require_images, study_row
from lgdea.records.adapters.source import has_extent, require_folder
from lgdea.records.adapters.vindr_tables import (
    LABEL_TABLE,
    NAME,
    SIDES,
    Findings,
    read_annotations,
    read_kaggle,
    read_label_table,
)
from lgdea.records.archive import Archive, write_archive
from lgdea.records.split import split_around_test, split_by_patient
from lgdea.vocabulary import load_vocabulary

LABELLER = "vindr-readers"
KAGGLE = "train.csv"


class VinDrCxr:
    """One study and one patient per image, from PhysioNet's layout or that of the Kaggle challenge.

    ``labels`` join the readers of an image: 1 when more than half name the finding, 0 when none does, -1 (uncertain)
    when fewer do. ``boxes`` are those of every reader, named in ``box_id``. The extra table ``readings`` (image_id,
    reader, label) has a row for each word that a reader gave, of whatever the vocabulary has no finding for too.
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds tables and images."""
        refuse_options(self.name, options)
        source = require_folder(source)
        kaggle = (source / KAGGLE).is_file() and not (source / "annotations").is_dir()
        found = read_kaggle(source / KAGGLE) if kaggle else read_physionet(source)
        files = {f"{NAME}:{f.stem}": f for side in SIDES for f in sorted((source / side).glob("*.dicom"))}
        require_images(files, source, "train/*.dicom")
        facts = facts_of(files)
        studies = pd.DataFrame([study_row(i, i, NAME, facts[i]) for i in files])
        is_test = pd.Series([file.parent.name == "test" for file in files.values()])
        readings = found.readings[found.readings["image_id"].isin(list(files))].reset_index(drop=True)
        marked = [box for box in found.boxes if box["image_id"] in files]
        boxes = [box for box in marked if has_extent(box)]
        without = readings[[load_vocabulary().from_code("vindr", word) is None for word in readings["label"]]]
        listed = set(found.votes["image_id"])
        info = {
            "source": str(source),
            "layout": "kaggle" if kaggle else "physionet",
            "listed_images_that_are_absent": len(listed - files.keys()),
            "images_without_labels": len(files.keys() - listed),
            "readings_without_finding": without["label"].value_counts().to_dict(),
            "boxes_without_extent": len(marked) - len(boxes),
            "boxes_without_finding": sum(box["finding"] is None for box in boxes),
        }
        return write_archive(
            out,
            self.name,
            {
                "studies": split_by_patient(studies) if kaggle else split_around_test(studies, is_test),
                "images": [image_row(i, i, file.relative_to(source), facts[i]) for i, file in files.items()],
                "boxes": [box for box in boxes if box["finding"] is not None],
                "labels": joined_labels(found.votes[found.votes["image_id"].isin(list(files))]),
            },
            source,
            info,
            {"readings": readings},
        )


def read_physionet(source: Path) -> Findings:
    """Labels and boxes of the sides whose label table is there; without any, the missing one is an error."""
    folder = source / "annotations"
    sides = [side for side in SIDES if (folder / LABEL_TABLE.format(side)).is_file()] or ["train"]
    parts = []
    for side in sides:
        votes, readings = read_label_table(folder / LABEL_TABLE.format(side), side)
        parts.append(Findings(votes, readings, read_annotations(folder / f"annotations_{side}.csv", side)))
    return Findings(
        pd.concat([part.votes for part in parts], ignore_index=True),
        pd.concat([part.readings for part in parts], ignore_index=True),
        [box for part in parts for box in part.boxes],
    )


def joined_labels(votes: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``labels`` from the readers' votes.

    Args:
        votes: ``image_id``, ``reader`` and a column per label, 1 / 0 / NaN (a cell that the reader left empty).

    Returns:
        1 where more than half of the votes of an image are 1, 0 where none is, -1 otherwise; no row without votes.
    """
    cast = votes.drop(columns="reader").groupby("image_id", sort=False)
    positive, given = cast.sum(), cast.count()
    values = np.select([given == 0, 2 * positive > given, positive == 0], [np.nan, 1.0, 0.0], -1.0)
    wide = pd.DataFrame(values, index=positive.index, columns=positive.columns)
    findings = {label: load_vocabulary().from_code("vindr", str(label)) for label in wide}
    wide = wide[[label for label in wide if findings[label] is not None]]
    long = wide.rename(columns=findings).reset_index().melt("image_id", var_name="finding", value_name="value")
    long = long.dropna(subset="value").reset_index(drop=True)
    return long.assign(study_id=long["image_id"], labeller=LABELLER)


ADAPTER = VinDrCxr()
