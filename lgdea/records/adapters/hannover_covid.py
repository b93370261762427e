"""COVID-19 image repository of the Hannover Medical School (``data_cards/hannover-covid.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import UsageError
from lgdea.imaging.read import read_size
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.source import number, require_folder, rows_of, sex, whole
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv
from lgdea.records.split import split_by_patient

NAME = "hannover-covid"
TABLE = "data.csv"
PREFIX = "mhh_"


class HannoverCovid:
    """X-rays of patients with COVID-19, one study per image; rows that ``duplicate_of`` marks are left out.

    Extra table ``laboratory`` (study_id, test, value, day): values as measured, with their day on the study's scale.
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds ``data.csv`` and ``images``."""
        refuse_options(self.name, options)
        source = require_folder(source)
        columns = ["image_id", "patient_id", "sex", "admission_offset", "projection"]
        table = read_csv(source / TABLE, columns, card=self.card)
        if "file" not in table:
            table["file"] = "png/" + table["image_id"] + ".png"
        duplicate = table["duplicate_of"].notna() if "duplicate_of" in table else pd.Series(False, index=table.index)
        present = pd.Series([(source / file).is_file() for file in table["file"]], index=table.index)
        used = rows_of(table[present & ~duplicate])
        if not used:
            raise UsageError(
                f"holds none of the images that {TABLE} lists",
                file=source,
                remedy=f"expected is {table['file'].iloc[0]}",
            )
        info = {
            "source": str(source),
            "duplicates_left_out": int(duplicate.sum()),
            "absent_images": table.loc[~present, "file"].tolist(),
        }
        return write_archive(
            out,
            self.name,
            {"studies": split_by_patient(pd.DataFrame(map(_study, used))), "images": [_image(r, source) for r in used]},
            source,
            info,
            {"laboratory": _laboratory(used)},
        )


def patient_of(key: str, dataset: str) -> str:
    """Patient id of a ``split_key``; a Hannover patient has the same id in whatever collection its images stand."""
    return f"{NAME if key.startswith(PREFIX) else dataset}:{key}"


def _study(row: dict[str, Any]) -> dict[str, Any]:
    key = str(row.get("split_key") or row["patient_id"])
    return {
        "study_id": f"{NAME}:{row['image_id']}",
        "patient_id": patient_of(key if key.startswith(PREFIX) else PREFIX + key, NAME),
        "dataset": NAME,
        "site": "Hannover",
        "day": _day(row),
        "sex": sex(row["sex"]),
    }


def _day(row: dict[str, Any]) -> int | None:
    """Days since admission; the source counts from the image to the admission."""
    offset = whole(row["admission_offset"])
    return None if offset is None else -offset


def _image(row: dict[str, Any], source: Path) -> dict[str, Any]:
    width, height = read_size(source / row["file"])
    identity = f"{NAME}:{row['image_id']}"
    view = row["projection"].upper() if row["projection"] else None
    names = {"image_id": identity, "study_id": identity, "path": row["file"]}
    return names | {"width": width, "height": height, "view": view, "modality": row.get("modality") or "CR"}


def _laboratory(used: list[dict[str, Any]]) -> pd.DataFrame:
    rows = []
    for row in used:
        for column in (c for c in row if c.endswith("_val")):
            value, offset = number(row[column]), whole(row.get(column.removesuffix("_val") + "_offset"))
            if value is not None:
                day, after = _day(row), offset
                measured = None if day is None or after is None else day + after
                test = column.removesuffix("_val")
                rows.append({"study_id": f"{NAME}:{row['image_id']}", "test": test, "value": value, "day": measured})
    return pd.DataFrame(rows, columns=["study_id", "test", "value", "day"]).astype({"day": "Int64"})


ADAPTER = HannoverCovid()
