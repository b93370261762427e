"""`lgdea data build --option`: every name reaches the dataset, also those that are frames in Python."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

import lgdea
from lgdea.errors import UsageError
from lgdea.records.adapters.ms_cxr_t import FINDINGS
from tests.helpers import layouts_reports as layouts
from tests.helpers.command_line import run_lgdea
from tests.helpers.dataset_layouts import picture
from tests.helpers.table_source import export

CHANGES = "MS_CXR_T_temporal_image_classification_v1.0.0.csv"


def ms_cxr_t(folder):
    """One pair of studies, of which edema has become worse."""
    head = ["subject_id", "study_id", "dicom_id", "previous_study_id", "previous_dicom_id"]
    head += [f"{finding}_{what}" for finding in FINDINGS for what in ("progression", "label_quality")]
    now, before = (f"p10/p10001/s{study}/{image}" for study, image in ((5001, "now"), (9001, "old")))
    cells = ["10001", "5001", now, "9001", before]
    cells += [
        cell for finding in FINDINGS for cell in (("worsening", "one_expert") if finding == "edema" else ("", ""))
    ]
    for image in (now, before):
        (folder / "files" / image).parent.mkdir(parents=True, exist_ok=True)
        picture(folder / "files" / f"{image}.jpg", np.random.default_rng(0), 24, 24)
    (folder / CHANGES).write_text("\n".join(map(",".join, [head, cells])) + "\n")
    return folder


def _build(capsys, *arguments):
    return run_lgdea(capsys, "data", "build", *arguments)


@pytest.mark.parametrize(
    ("dataset", "layout", "option", "ending", "told"),
    [
        ("ms-cxr-t", ms_cxr_t, "images", "jpg", "2 studies, 2 images, 0 reports"),
        ("ms-cxr", layouts.ms_cxr, "images", "jpg", "2 studies, 2 images, 0 reports, 4 boxes"),
        ("mimic-cxr", layouts.mimic, "reports", "txt", "3 images, 2 reports"),
    ],
)
def test_files_that_stand_elsewhere_are_found_by_an_option(tmp_path, capsys, dataset, layout, option, ending, told):
    source = layout(tmp_path / "source")
    elsewhere = shutil.copytree(source, tmp_path / "elsewhere")
    for file in source.rglob(f"*.{ending}"):
        file.unlink()
    code, out, err = _build(capsys, dataset, source, "--option", f"{option}={elsewhere}", "--out", tmp_path / "a")
    assert code == 0, err
    assert told in " ".join(out.split())
    assert len(lgdea.build_archive(dataset, source, tmp_path / "b", **{option: elsewhere}).studies) > 0


def test_the_pictures_of_a_table_may_stand_elsewhere(tmp_path, capsys):
    file = export(tmp_path / "ours")
    (file.parent / "img").rename(tmp_path / "img")
    options = ["--option", f"image_root={tmp_path}", "--option", "labels={columns: [Cardiomegaly]}"]
    code, out, err = _build(capsys, "table", file, *options, "--out", tmp_path / "a")
    assert code == 0, err
    assert "4 studies, 4 images" in " ".join(out.split())
    assert len(lgdea.build_archive("table", file, tmp_path / "b", image_root=tmp_path).images) == 4


@pytest.mark.parametrize("key", ["source", "out", "name", "image_root"])
def test_an_option_that_the_dataset_does_not_take_is_named(tmp_path, capsys, key):
    code, _, err = _build(
        capsys, "ms-cxr", layouts.ms_cxr(tmp_path / "s"), "--option", f"{key}=x", "--out", tmp_path / "a"
    )
    assert code == 2
    assert f"the dataset ms-cxr takes no option '{key}'" in err
    assert not (tmp_path / "a").exists()


def test_a_folder_does_not_go_with_frames(tmp_path):
    reports = pd.DataFrame({"study_id": [1], "text": ["Clear lungs."]})
    with pytest.raises(UsageError, match="'images' does not go with data frames"):
        lgdea.build_archive("mine", reports=reports, images=tmp_path, out=tmp_path / "a")
