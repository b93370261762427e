"""Two exports of one hospital, images and reports, joined by their study."""

import pandas as pd
import pytest
from PIL import Image

import lgdea
from lgdea.errors import DataError
from lgdea.records.merge import merge


@pytest.fixture
def exports(tmp_path):
    """Images of studies 1 to 3, reports of 2 to 4, under one name."""
    for i in (1, 2, 3):
        Image.new("L", (16, 16), 40 * i).save(tmp_path / f"{i}.png")
    images = pd.DataFrame({"study_id": [1, 2, 3], "patient_id": [1, 1, 2], "path": ["1.png", "2.png", "3.png"]})
    reports = pd.DataFrame({"study_id": [2, 3, 4], "patient_id": [1, 2, 3], "text": ["Two.", "Three.", "Four."]})
    pacs = lgdea.build_archive("h", images=images, image_root=tmp_path, out=tmp_path / "pacs")
    ris = lgdea.build_archive("h", reports=reports, out=tmp_path / "ris")
    return pacs, ris


@pytest.mark.parametrize("turned", [False, True])
def test_a_study_in_both_has_its_image_and_its_report(exports, turned, tmp_path):
    made = merge(exports[::-1] if turned else exports, tmp_path / "both", name="h")
    assert sorted(made.studies["study_id"]) == ["h:1", "h:2", "h:3", "h:4"]
    assert set(made.images["study_id"]) & set(made.reports["study_id"]) == {"h:2", "h:3"}
    assert all(made.image_path(i).is_file() for i in made.images["image_id"])
    patients = made.studies.set_index("study_id")["patient_id"]
    assert patients.to_dict() == {"h:1": "h:1", "h:2": "h:1", "h:3": "h:2", "h:4": "h:3"}
    linked = lgdea.make_pairing(made, 1.0)["state"].value_counts()
    train = made.studies[made.studies["split"] == "train"]["study_id"]
    assert linked.get("paired", 0) == len({"h:2", "h:3"} & set(train))


def test_what_only_one_export_knows_of_a_study_is_kept(tmp_path):
    Image.new("L", (16, 16), 9).save(tmp_path / "1.png")
    one = pd.DataFrame({"study_id": [1], "patient_id": [1], "sex": [None], "age": [50.0]})
    two = one.assign(sex="F", age=None)
    image = pd.DataFrame({"study_id": [1], "path": ["1.png"]})
    pacs = lgdea.build_archive("h", studies=one, images=image, image_root=tmp_path, out=tmp_path / "pacs")
    report = pd.DataFrame({"study_id": [1], "text": ["Clear."]})
    ris = lgdea.build_archive("h", studies=two, reports=report, out=tmp_path / "ris")
    row = merge([pacs, ris], tmp_path / "both").studies.iloc[0]
    assert (row["sex"], row["age"]) == ("F", 50.0)


def test_the_same_side_twice_and_another_patient_are_refused(exports, tmp_path):
    pacs, _ = exports
    with pytest.raises(DataError, match="another dataset name"):
        merge([pacs, pacs], tmp_path / "x")
    reports = pd.DataFrame({"study_id": [2], "patient_id": [9], "text": ["Two."]})
    other = lgdea.build_archive("h", reports=reports, out=tmp_path / "other")
    with pytest.raises(DataError, match=r"h:2.*is of patient 'h:9' here and of 'h:1'"):
        merge([pacs, other], tmp_path / "x")
