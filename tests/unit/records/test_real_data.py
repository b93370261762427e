"""The published files themselves, where they are at hand: counts, verification, merging."""

from __future__ import annotations

from pathlib import Path

import pytest

from lgdea.records.adapters.covid_chestxray import ADAPTER as COVID
from lgdea.records.adapters.hannover_covid import ADAPTER as HANNOVER
from lgdea.records.adapters.nih_cxr14 import ADAPTER as NIH
from lgdea.records.adapters.openi import ADAPTER as OPENI
from lgdea.records.archive import Archive
from lgdea.records.merge import merge
from lgdea.records.pairing import make_pairing
from lgdea.records.verify import verify

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def archives(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Archive]:
    out = tmp_path_factory.mktemp("real")
    folders = {OPENI: "openi", NIH: "nih_cxr14", COVID: "covid_chestxray", HANNOVER: "hannover_covid"}
    return {adapter.name: adapter.build(real_data / f, out / f) for adapter, f in folders.items()}


def test_counts(archives):
    openi, nih, covid, hannover = archives.values()
    assert len(openi.reports) == 1974
    assert len(openi.labels) == 1925 * 14
    assert openi.labels.query("finding == 'no_finding'")["value"].sum() == 689
    assert openi.labels.query("finding == 'atelectasis'")["value"].sum() == 146
    assert len(openi.extra("mesh")) == 4162
    assert len(nih.images) == 626
    assert len(nih.boxes) == 29
    assert nih.studies["patient_id"].nunique() == 443
    assert len(covid.images) == 239
    assert (covid.boxes["kind"] == "finding").sum() == 66
    assert covid.boxes.query("kind == 'finding'")["image_id"].nunique() == 27
    assert covid.studies["patient_id"].nunique() == 126
    assert len(covid.extra("pairs")) == 62
    noted = covid.images["study_id"].isin(covid.reports["study_id"])
    assert noted.sum() == 181
    assert len(hannover.images) == 163


def test_verification_finds_no_errors_and_the_known_faults(archives, tmp_path):
    merged = merge(list(archives.values()), tmp_path / "merged")
    problems = verify(merged)
    assert not [problem for problem in problems if problem.severity == "error"]
    kinds = {problem.kind for problem in problems}
    assert kinds == {"empty-report", "repeated-report", "repeated-image"}
    shared = set(archives["hannover-covid"].studies["patient_id"]) & set(
        archives["covid-chestxray"].studies["patient_id"]
    )
    assert len(shared) == 32
    assert merged.studies.groupby("patient_id")["split"].nunique().max() == 1


def test_only_covid_chestxray_can_be_paired(archives, tmp_path):
    merged = merge(list(archives.values()), tmp_path / "merged", seed=0, hold_out_boxes=True)
    pairing = make_pairing(merged, 1.0).merge(merged.studies[["study_id", "dataset", "split"]], on="study_id")
    assert set(pairing.loc[pairing["state"] == "paired", "dataset"]) == {"covid-chestxray"}
    assert set(pairing.loc[pairing["state"] == "paired", "split"]) == {"train"}
    assert (pairing["state"] == "text_only").sum() == 1974


def test_masks_lie_where_their_boxes_say(archives):
    """The box of a component holds its part of the mask: boxes and masks are in the same frame."""
    import numpy as np

    from lgdea.imaging.read import read_image

    covid = archives["covid-chestxray"]
    for box in covid.boxes.query("kind == 'finding'").to_dict("records"):
        mask = read_image(covid.mask_path(box)).pixels > 0.5
        inside = mask[int(box["y_min"]) : int(box["y_max"]), int(box["x_min"]) : int(box["x_max"])]
        assert inside.any(axis=1).all()
        assert inside.any(axis=0).all()
        image = covid.images.set_index("image_id").loc[box["image_id"]]
        assert mask.shape == (image["height"], image["width"])
        side = np.mean([box["x_min"], box["x_max"]]) / image["width"]
        assert (side < 0.5) == (box["laterality"] == "right")  # the patient's right is at the picture's left


def test_the_table_adapter_reads_the_nih_files_as_the_nih_adapter_does(real_data, archives, tmp_path):
    """Everything that a mapping has to say about a foreign table, against an adapter written for it."""
    from lgdea.records.adapters.table.adapter import ADAPTER as TABLE

    labels = {"words": "Finding Labels", "unlisted_is_absent": True, "codes": "nih14", "labeller": "nih-mined",
              "level": "image"}  # fmt: skip
    boxes = {"table": "BBox_List_2017.csv", "image": "Image Index", "finding": "Finding Label", "x_min": "Bbox [x",
             "y_min": "y", "width": "w", "height": "h]", "frame": [1024, 1024], "codes": "nih14",
             "findings": {"Infiltrate": "infiltration"}}  # fmt: skip
    file = real_data / "nih_cxr14" / "Data_Entry_2017.csv"
    words = {"age": {"414": None}}
    told = TABLE.build(file, tmp_path / "out", dataset="nih-cxr14", labels=labels, boxes=boxes, words=words)
    keys = {"studies": ["study_id"], "images": ["image_id"], "labels": ["image_id", "finding"], "boxes": ["box_id"]}
    for name, key in keys.items():
        mine, theirs = (getattr(a, name).sort_values(key).reset_index(drop=True) for a in (told, archives["nih-cxr14"]))
        assert mine.equals(theirs), name
