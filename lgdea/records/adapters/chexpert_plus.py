"""CheXpert Plus: the reports of CheXpert's training and validation images (``data_cards/chexpert-plus.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.reading import parse_json, require_file
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.chexpert import VALID, official_sides, with_ids
from lgdea.records.adapters.columns import chexpert_classes, label_rows, on_disk, one_per, require, with_sizes
from lgdea.records.adapters.source import age_in_years, find_plain_or_gzipped, require_folder, sex, whole
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv

NAME = "chexpert-plus"
TABLE = "df_chexpert_plus_240401.csv"
FOLDERS = ("", "PNG", "PNG/PNG", "PNGs", "CheXpert-v1.0", "CheXpert-v1.0-small")
LABEL_FOLDERS = ("chexbert_labels", "")
# Which part of the report each file of CheXbert labels was made from, and the column that holds it.
CHEXBERT = {"report": "report", "findings": "section_findings", "impression": "section_impression"}
PARTS = ("train", "valid")


class CheXpertPlus:
    """Reports and the images that are there; CheXbert's labels where their files are, one labeller per file.

    A label file says "No Finding" of a report that lacks the section it was made from; those labels are left out.
    Extra table ``report_order`` (study_id, order): the place of the study among its patient's, which counts no days.
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds ``df_chexpert_plus_240401.csv``.

        Options:
            images: Folder that holds ``train/`` and ``valid/`` of the images, PNG or JPG; default: looked for in
                ``source`` under the names the publishers use.
        """
        image_root = options.pop("images", None)
        refuse_options(self.name, options)
        source = require_folder(source)
        table = _read(source / TABLE)
        root = _image_root(source, image_root)
        found = table.assign(path=_image_paths(table["path"], root))
        images, unreadable = with_sizes(found[found["path"].notna()], root)
        studies = one_per(
            table, "study_id", {"patient_id": "patient_id", "sex": "sex", "age": "age", "split": "part"}
        )  # fmt: skip
        texts = one_per(table, "study_id", {column: column for column in CHEXBERT.values()})
        reports = texts[texts["report"].notna()]
        labels, lost = _labels(source, root, table, texts)
        info = {
            "source": str(source),
            "listed_images_that_are_absent": int(found["path"].isna().sum()),
            "unreadable_images": unreadable,
            "studies_without_report": len(texts) - len(reports),
            **lost,
        }
        order = one_per(table, "study_id", {"patient_report_date_order": "order"})
        return write_archive(
            out,
            self.name,
            {
                "studies": official_sides(studies).assign(dataset=NAME),
                "images": images[["image_id", "study_id", "path", "width", "height", "view"]],
                "reports": pd.DataFrame(
                    {"report_id": reports["study_id"], "study_id": reports["study_id"], "text": reports["report"]}
                ),
                "labels": labels,
            },
            root,
            info,
            {"report_order": order.assign(order=order["order"].map(whole, na_action=None).astype("Int64"))},
        )


def _read(file: Path) -> pd.DataFrame:
    required = ["path_to_image", "frontal_lateral", "ap_pa", "deid_patient_id", "patient_report_date_order", "age",
                "sex", "split", *CHEXBERT.values()]  # fmt: skip
    table = read_csv(file, required, card=NAME, optional=[])
    require(table["split"].isin(PARTS), table["split"], f"none of {', '.join(PARTS)}", file)
    texts = {
        column: table[column].where(table[column].astype("string").str.strip() != "") for column in CHEXBERT.values()
    }
    return with_ids(table, "path_to_image", file=file, prefix=NAME).assign(
        view=table["ap_pa"].where(table["ap_pa"].notna(), table["frontal_lateral"]),
        sex=table["sex"].map(sex, na_action=None),
        age=table["age"].map(age_in_years, na_action=None).replace(0, None),
        **texts,
    )


def _image_root(source: Path, given: str | Path | None) -> Path:
    """The folder of the images; ``source`` when there are none, which makes an archive of reports alone."""
    if given is None:
        candidates = [source / folder for folder in FOLDERS]
        return next((root for root in candidates if any((root / part).is_dir() for part in PARTS)), source)
    root = require_folder(given)
    if not any((root / part).is_dir() for part in PARTS):
        raise UsageError("holds neither train/ nor valid/", file=root, remedy="name the folder that holds them")
    return root


def _image_paths(stems: pd.Series, root: Path) -> pd.Series:
    """Path below ``root`` of each image, PNG before JPG, null where there is none."""
    paths: pd.Series = pd.Series(np.nan, index=stems.index, dtype=object)
    for ending in (".png", ".jpg"):
        rest = stems[paths.isna()] + ending
        paths[rest.index] = rest.where(on_disk(root, rest))
    return paths


def _labels(source: Path, root: Path, table: pd.DataFrame, texts: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """CheXbert's labels of each part of the report, and the radiologists' of the validation images."""
    parts, torn, without_section = [], 0, 0
    for kind, column in CHEXBERT.items():
        candidates = [source / folder / f"{kind}_fixed.json" for folder in LABEL_FOLDERS]
        file = next((candidate for candidate in candidates if candidate.is_file()), None)
        if file is None:
            continue
        frame = with_ids(_read_json_lines(file), "path_to_image", file=file, prefix=NAME)
        known = frame["study_id"].isin(table["study_id"])
        written = frame["study_id"].isin(texts.loc[texts[column].notna(), "study_id"])
        without_section += frame.loc[known & ~written, "study_id"].nunique()
        rows, lost = label_rows(frame[known & written], chexpert_classes(), file=file, labeller=f"chexbert-{kind}")
        parts.append(rows)
        torn += lost
    valid = next((file for folder in (source, root) if (file := find_plain_or_gzipped(folder, *VALID)).is_file()), None)
    if valid is not None:
        frame = with_ids(read_csv(valid, ["Path", *chexpert_classes()], card=NAME), "Path", file=valid, prefix=NAME)
        frame = frame[frame["study_id"].isin(table["study_id"])]
        rows, lost = label_rows(frame, chexpert_classes(), file=valid, labeller="radiologist")
        parts.append(rows)
        torn += lost
    columns = ["study_id", "finding", "value", "labeller"]
    labels = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    return labels, {"contradicting_labels_left_out": torn, "studies_whose_labels_had_no_section": without_section}


def _read_json_lines(file: Path) -> pd.DataFrame:
    """One JSON object per line: ``path_to_image`` and the fourteen classes, each 1, 0, -1 or null.

    Raises:
        DataError: A line is no such object; the row is its number.
    """
    expected = ["path_to_image", *chexpert_classes()]
    columns: dict[str, list[Any]] = {name: [] for name in expected}
    with require_file(file).open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                entry = parse_json(line)
                values = [entry[name] for name in expected]
            except (ValueError, KeyError, TypeError) as error:
                reason = f"lacks {error}" if isinstance(error, KeyError) else "is no JSON object"
                raise DataError(reason, file=file, row=number, remedy="fetch it again") from None
            for name, value in zip(expected, values, strict=True):
                columns[name].append(value)
    return pd.DataFrame(columns, dtype=object)


ADAPTER = CheXpertPlus()
