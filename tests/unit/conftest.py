"""Small archives without images, for all rooms that read reports."""

from __future__ import annotations

import pandas as pd
import pytest

from lgdea.records.archive import Archive, write_archive

TEXTS = {
    "a": "FINDINGS: Small left pleural effusion. No pneumothorax.\nIMPRESSION: Small left pleural effusion.",
    "b": "FINDINGS: The lungs are clear. Heart size is normal.\nIMPRESSION: No acute disease.",
    "c": "",
    "d": "FINDINGS: Right upper lobe nodule. Mild cardiomegaly.",
}


def _make(folder, texts=TEXTS, **more) -> Archive:
    studies = [{"study_id": f"s:{k}", "patient_id": f"p:{k}", "dataset": "s", "split": "train"} for k in texts]
    reports = [{"report_id": f"r:{k}", "study_id": f"s:{k}", "text": text} for k, text in texts.items()]
    tables = {"studies": studies, "reports": reports, "labels": more.pop("labels", [])}
    return write_archive(folder, "s", tables, image_root=folder, extra_tables=more)


@pytest.fixture
def archive(tmp_path) -> Archive:
    return _make(tmp_path / "archive")


@pytest.fixture
def make_archive():
    """A function (folder, texts by key, labels=..., extra tables) that writes an archive of reports."""
    return _make


@pytest.fixture
def many() -> pd.DataFrame:
    texts = [f"FINDINGS: {n} mm nodule in the left lung base. No effusion." for n in range(200)]
    return pd.DataFrame({"report_id": [f"r:{n}" for n in range(200)], "text": texts})
