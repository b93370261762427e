"""A dataset of your own as a plug-in: `lgdea data build my-dataset FOLDER --out ARCHIVE` after `pip install .`."""

from pathlib import Path

import pandas as pd

import lgdea


class MyDataset:
    """FOLDER holds studies.csv (study_id, patient_id, image, report, effusion) and the pictures."""

    name = "my-dataset"
    card = "my_dataset"  # my_dataset.md beside this file; leave it out to have none

    def build(self, source: Path, out: Path) -> object:
        """Write the archive: frames in, ids, split and checks are lgdea's (docs/data.md, From Python)."""
        table = pd.read_csv(source / "studies.csv")
        ids = table[["study_id", "patient_id"]]
        images, reports = ids.assign(path=table["image"]), ids.assign(text=table["report"])
        labels = table[["study_id"]].assign(pleural_effusion=table["effusion"])
        return lgdea.build_archive(self.name, images=images, reports=reports, labels=labels, image_root=source, out=out)
