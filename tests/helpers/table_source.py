"""A small archive as a hospital might export it: a table, pictures and a table of boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.helpers.dataset_layouts import picture

COLUMNS = (
    "Patient ID;Accession;Study Date;Sex;Age;View;Image Path;Findings;Impression;Pleural Effusion;Cardiomegaly;Split"
)
ROWS = (
    "P1;A1;31.12.2019;F;64Y;PA;img/a1-pa.png;Small left effusion.;Effusion.;1;0;training",
    "P1;A1;31.12.2019;F;64Y;LAT;img/a1-lat.png;Small left effusion.;Effusion.;1;0;training",
    "P1;A2;10.01.2020;F;64Y;PA;img/a2.png;\"Effusion gone; heart normal.\nNo \"\"new\"\" opacity.\";;0;;training",
    "P2;A3;05.03.2021;m;?;AP;img/a3.png;;;-1;1;Test",
    "P3;A4;06.03.2021;M;71;AP;;Lungs clear.;No acute disease.;0;0;valid",
)  # fmt: skip
BOXES = (
    "image;class_name;x_min;y_min;x_max;y_max;side\na1-pa.png;Effusion;2;20;12;28;left\na3;Enlarged heart;5;10;30;25;\n"
)


def export(folder: Path, rows: tuple[str, ...] = ROWS, columns: str = COLUMNS) -> Path:
    """The table ``studies.csv`` with ``img/*.png`` of 40x30 pixels; returns the table."""
    (folder / "img").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a1-pa", "a1-lat", "a2", "a3"):
        picture(folder / "img" / f"{name}.png", rng, 40, 30)
    file = folder / "studies.csv"
    file.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return file
