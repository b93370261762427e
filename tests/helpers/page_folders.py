"""What a page's reader has that ``lgdea demo`` does not leave: a table's pictures, a PACS export, MIMIC-CXR's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.helpers import dataset_layouts as layouts
from tests.helpers import layouts_reports


def _pictures_of_the_export() -> None:
    rng = np.random.default_rng(0)
    Path("pa").mkdir()
    for name in ("X1", "X2", "X3"):  # the page tells what happens without X4
        layouts.picture(Path("pa") / f"{name}.png", rng, 40, 30)


def _pacs() -> None:
    rng = np.random.default_rng(0)
    for accession, patient in (("A1", "4711"), ("A2", "4711"), ("A3", "4712"), ("A4", "4714")):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", generate_uid()
        data.PatientID, data.AccessionNumber, data.Modality, data.ViewPosition = patient, accession, "DX", "PA"
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 32, 40, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PixelData = rng.integers(0, 4096, (32, 40)).astype("<u2").tobytes()
        file = Path("pacs") / patient / accession / "IM0"
        file.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(file, enforce_file_format=True)


def _mimic() -> None:
    layouts_reports.mimic(Path("mimic"))


PREPARED: dict[str, Callable[[], None]] = {
    "docs/data.md": _pictures_of_the_export,
    "docs/cookbook/pacs.md": _pacs,
    "docs/cookbook/mimic-cxr.md": _mimic,
}
"""Page -> what makes the files in the current folder."""
