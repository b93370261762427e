"""Open-I: the Indiana University chest X-ray reports (``data_cards/openi.md``)."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.imaging.read import read_size
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.source import require_folder, rows_of
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_csv, read_utf8
from lgdea.records.split import split_by_patient
from lgdea.vocabulary import load_vocabulary

REPORTS = "ecgen-radiology"
IMAGES = "NLMCXR_png"
GOLD = "openi_gld_std14.csv"
LABELLER = "openi-14"
UNRELIABLE = "Hernia"  # all 0 in the gold file although the MeSH coding has hernias


class OpenI:
    """Reports from the XML files; images where ``NLMCXR_png`` is there; labels where the gold file is.

    Extra table ``mesh`` (report_id, major): the human coding, one row per heading.
    """

    name = "openi"
    card = "openi"

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds ``ecgen-radiology`` or the XML."""
        refuse_options(self.name, options)
        source = require_folder(source)
        folder = source / REPORTS if (source / REPORTS).is_dir() else source
        files = sorted(folder.glob("*.xml"), key=lambda file: [int(n) for n in re.findall(r"\d+", file.stem)])
        if not files:
            raise UsageError("holds no XML reports", file=folder, remedy="`lgdea data card openi` shows the layout")
        root = folder.parent if folder.name == REPORTS else folder
        parsed = [parse_report(file) for file in files]
        reports = [{"report_id": r["id"], "study_id": r["id"], "text": r["text"]} for r in parsed]
        studies = pd.DataFrame({"study_id": [r["id"] for r in parsed]})
        studies = studies.assign(patient_id=studies["study_id"], dataset=self.name)
        mesh = [{"report_id": r["id"], "major": major} for r in parsed for major in r["majors"]]
        gold = next((f for f in (root / GOLD, folder / GOLD) if f.is_file()), None)
        labels = [] if gold is None else read_gold(gold, set(studies["study_id"]))
        bare = [r["id"] for r in parsed if not {"FINDINGS", "IMPRESSION"} & set(r["sections"])]
        return write_archive(
            out,
            self.name,
            {
                "studies": split_by_patient(studies),
                "reports": reports,
                "labels": labels,
                "images": _images(root, parsed),
            },
            root,
            {"source": str(source), "without_findings_and_impression": bare, "gold": None if gold is None else GOLD},
            {"mesh": pd.DataFrame(mesh, columns=["report_id", "major"])},
        )


def parse_report(file: Path) -> dict[str, Any]:
    """One XML file: ``id``, ``text`` (a line ``SECTION: words`` per section), ``sections``, ``majors``, ``images``.

    Raises:
        DataError: It is empty, not UTF-8, not XML, or has no ``uId``.
    """
    remedy = "fetch the file again or take it out of the folder"
    text = read_utf8(file)
    if not text.strip():
        raise DataError("is empty", file=file, remedy=remedy)
    try:
        root = ET.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except ET.ParseError as error:
        raise DataError(f"is not XML ({error})", file=file, remedy=remedy) from None
    identity = root.find("uId")
    if identity is None or not identity.get("id"):
        raise DataError("has no <uId id=...>", file=file, remedy=remedy)
    sections = [  # a label may come twice
        (str(part.get("Label", "REPORT")), part.text.strip())
        for part in root.iter("AbstractText")
        if part.text and part.text.strip()
    ]
    return {
        "id": f"openi:{identity.get('id')}",
        "text": "\n".join(f"{label}: {words}" for label, words in sections),
        "sections": [label for label, _ in sections],
        "majors": [major.text.strip() for major in root.iterfind("MeSH/major") if major.text],
        "images": [str(image.get("id")) for image in root.iterfind("parentImage")],
    }


def read_gold(file: Path, studies: set[str]) -> list[dict[str, Any]]:
    """Labels of the gold file for the studies that are there; ``Hernia`` is left out (see the card)."""
    frame = read_csv(file, ["filename", "normal"], card="openi")
    vocabulary = load_vocabulary()
    columns = {c: vocabulary.from_code("openi14", c) for c in frame.columns if c not in ("filename", UNRELIABLE)}
    unknown = [column for column, finding in columns.items() if finding is None]
    if unknown:
        raise DataError(f"has the unknown column {unknown[0]!r}", file=file, remedy="fetch the original file")
    labels = []
    for position, row in enumerate(rows_of(frame), start=1):
        study = f"openi:{row['filename']}"
        for column, finding in columns.items():
            if row[column] not in ("0", "1"):
                raise DataError(
                    f"{column} is {row[column]!r}, not 0 or 1", file=file, row=position, remedy="correct it"
                )
            if study in studies:
                value = float(row[column])
                labels.append({"study_id": study, "finding": finding, "value": value, "labeller": LABELLER})
    return labels


def _images(root: Path, parsed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for report in parsed:
        for name in report["images"]:
            path = Path(IMAGES) / f"{name}.png"
            if (root / path).is_file():
                width, height = read_size(root / path)
                rows.append(
                    {"image_id": f"openi:{name}", "study_id": report["id"], "path": str(path), "width": width,
                     "height": height}
                )  # fmt: skip
    return rows


ADAPTER = OpenI()
