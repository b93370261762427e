"""COVIDx CXR: chest X-rays of several collections with a COVID-19 label each (``data_cards/covidx.md``)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.imaging.read import read_size
from lgdea.records.adapters.base import refuse_options
from lgdea.records.adapters.source import require_folder
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_utf8
from lgdea.vocabulary import load_vocabulary

NAME = "covidx"
SIDES = ("test", "val", "train")  # a patient named in several lists goes to the first
LABELLER = "covidx"
# What each class says, in the words of the vocabulary's codes. "positive" and "negative" are of a test for the virus.
STATED = {
    "positive": {"positive": 1.0},
    "negative": {"positive": 0.0},
    "COVID-19": {"COVID-19": 1.0, "normal": 0.0},
    "pneumonia": {"COVID-19": 0.0, "pneumonia": 1.0, "normal": 0.0},
    "normal": {"COVID-19": 0.0, "pneumonia": 0.0, "normal": 1.0},
}


class CovidX:
    """One study per image, split as published, but with all images of a patient on one side.

    The extra table ``sources`` (study_id, source) names the collection that an image comes from.
    """

    name = NAME
    card = NAME

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`; ``source`` holds the lists and image folders."""
        refuse_options(self.name, options)
        source = require_folder(source)
        sides = [side for side in SIDES if side != "val" or (source / "val.txt").is_file()]
        entries = [entry for side in sides for entry in read_entries(source, side)]
        found = [entry for entry in entries if (source / entry["path"]).is_file()]
        present = without_repeats(found, source)
        if not present:
            raise UsageError("holds none of the listed images", file=source, remedy="expected are train/*")
        split: dict[str, str] = {}
        for entry in present:
            split.setdefault(entry["patient_id"], entry["side"])
        info = {
            "source": str(source),
            "listed_images_that_are_absent": len(entries) - len(found),
            "repeated_lines": len(found) - len(present),
            "images_moved_to_their_patients_side": sum(split[e["patient_id"]] != e["side"] for e in present),
            "images_of_source": dict(Counter(entry["source"] for entry in present)),
        }
        studies = [
            {"study_id": e["id"], "patient_id": e["patient_id"], "dataset": NAME, "split": split[e["patient_id"]]}
            for e in present
        ]
        sources = pd.DataFrame([{"study_id": entry["id"], "source": entry["source"]} for entry in present])
        return write_archive(
            out,
            self.name,
            {
                "studies": studies,
                "images": [_image(entry, source) for entry in present],
                "labels": [label for entry in present for label in _labels(entry)],
            },
            source,
            info,
            {"sources": sources},
        )


def read_entries(source: Path, side: str) -> list[dict[str, Any]]:
    """The lines ``patientid filename class source`` of a side's list; patient and file may hold blanks.

    Raises:
        UsageError: No such file.
        DataError: A line has fewer words, or its class is not known.
    """
    file = source / f"{side}.txt"
    if not file.is_file():
        remedy = f"check the folder; `lgdea data card {NAME}` shows the expected layout"
        raise UsageError("no such file", file=file, remedy=remedy)
    entries = []
    for row, line in enumerate(read_utf8(file).splitlines(), start=1):
        words = line.split(" ") if line.strip() else []
        if not words:
            continue
        if len(words) < 4 or not all((words[0], words[-3], words[-2], words[-1])):
            problem = f"has {len(line.split())} words, not `patientid filename class source`"
            raise DataError(problem, file=file, row=row, remedy="correct the line")
        *names, word, collection = words
        if word not in STATED:
            remedy = f"known are {', '.join(STATED)}"
            raise DataError(f"the label {word!r} is not known", file=file, row=row, remedy=remedy)
        patient, name = _patient_and_file(names, source / side)
        identity = {"id": f"{NAME}:{name}", "patient_id": f"{NAME}:{collection}:{patient}"}
        entries.append(
            identity | {"path": f"{side}/{name}", "class": word, "source": collection, "side": side, "row": row}
        )
    return entries


def _patient_and_file(names: list[str], folder: Path) -> tuple[str, str]:
    """Split a line at the blank between patient and file; either may hold blanks, the file that exists decides."""
    cuts = [(" ".join(names[:cut]), " ".join(names[cut:])) for cut in range(1, len(names))]
    if len(cuts) == 1:
        return cuts[0]
    return next(((patient, name) for patient, name in cuts if (folder / name).is_file()), cuts[-1])


def without_repeats(entries: list[dict[str, Any]], source: Path) -> list[dict[str, Any]]:
    """The entries without lines that say the same again.

    Raises:
        DataError: Two lines name one file, or files of one name, and say different things.
    """
    seen: dict[str, dict[str, Any]] = {}
    for entry in entries:
        first = seen.setdefault(entry["id"], entry)
        if any(first[key] != entry[key] for key in ("path", "class", "patient_id")):
            problem = f"says other things of {Path(entry['path']).name} than {first['side']}.txt row {first['row']}"
            file = source / f"{entry['side']}.txt"
            raise DataError(problem, file=file, row=entry["row"], remedy="keep one of them")
    return list(seen.values())


def _image(entry: dict[str, Any], source: Path) -> dict[str, Any]:
    width, height = read_size(source / entry["path"])
    return {
        "image_id": entry["id"],
        "study_id": entry["id"],
        "path": entry["path"],
        "width": width,
        "height": height,
    }


def _labels(entry: dict[str, Any]) -> list[dict[str, Any]]:
    known, stated = load_vocabulary(), STATED[entry["class"]]
    shared = {"study_id": entry["id"], "image_id": entry["id"], "labeller": LABELLER}
    return [shared | {"finding": known.from_code("covidx", code), "value": value} for code, value in stated.items()]


ADAPTER = CovidX()
