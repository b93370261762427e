from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from lgdea.errors import DataError, LgdeaError, UsageError
from lgdea.records.adapters import base
from lgdea.records.adapters.covid_chestxray import ADAPTER as COVID
from lgdea.records.adapters.hannover_covid import ADAPTER as HANNOVER
from lgdea.records.adapters.nih_cxr14 import ADAPTER as NIH
from lgdea.records.adapters.openi import ADAPTER as OPENI
from lgdea.records.adapters.source import age_in_years
from lgdea.records.verify import verify
from lgdea.vocabulary import load_vocabulary
from tests.helpers import dataset_layouts as layouts

CASES = [
    (OPENI, layouts.openi, "openi_gld_std14.csv"),
    (NIH, layouts.nih, "Data_Entry_2017.csv"),
    (NIH, layouts.nih, "BBox_List_2017.csv"),
    (COVID, layouts.covid, "metadata.csv"),
    (COVID, layouts.covid, "pathology_boxes.csv"),
    (COVID, layouts.covid, "regions.csv"),
    (COVID, layouts.covid, "pairs.csv"),
    (HANNOVER, layouts.hannover, "data.csv"),
]
ADAPTERS = [
    case for case in CASES if case[2] in ("openi_gld_std14.csv", "Data_Entry_2017.csv", "metadata.csv", "data.csv")
]


def test_openi_keeps_both_sections_of_one_label(tmp_path):
    source = layouts.openi(tmp_path / "source")
    file = next((source / "ecgen-radiology").glob("10.xml"))
    text = file.read_text(encoding="utf-8")
    more = '<AbstractText Label="FINDINGS">No effusion.</AbstractText></Abstract>'
    file.write_text(text.replace("</Abstract>", more, 1), encoding="utf-8")
    texts = OPENI.build(source, tmp_path / "out").reports.set_index("report_id")["text"]
    assert texts["openi:CXR10"] == "FINDINGS: Café au lait, 5 < 7.\nFINDINGS: No effusion."


def test_openi(tmp_path):
    archive = OPENI.build(layouts.openi(tmp_path / "source"), tmp_path / "out")
    assert archive.studies["study_id"].tolist() == [
        "openi:CXR2",
        "openi:CXR10",
        "openi:CXR11",
    ]  # by number, not by text
    texts = archive.reports.set_index("report_id")["text"]
    assert texts["openi:CXR2"] == (
        "INDICATION: Cough.\nFINDINGS: Heart size normal. The lungs are clear.\nIMPRESSION: No acute disease."
    )
    assert texts["openi:CXR10"] == "FINDINGS: Café au lait, 5 < 7."
    assert archive.info["without_findings_and_impression"] == ["openi:CXR11"]
    labels = archive.labels.set_index(["study_id", "finding"])["value"]
    assert labels["openi:CXR2", "no_finding"] == 1
    assert labels["openi:CXR10", "cardiomegaly"] == 1
    assert labels["openi:CXR10", "pleural_effusion"] == 0
    assert len(labels) == 2 * 4  # no hernia, nothing for CXR11 and CXR999
    assert set(archive.labels["labeller"]) == {"openi-14"}
    assert archive.extra("mesh").values.tolist() == [
        ["openi:CXR2", "normal"],
        ["openi:CXR10", "Opacity/lung/base/left"],
        ["openi:CXR10", "Cardiomegaly"],
    ]


def test_openi_takes_the_folder_of_the_xml_files_and_the_images_when_they_are_there(tmp_path):
    import numpy as np

    source = layouts.openi(tmp_path / "source")
    direct = OPENI.build(source / "ecgen-radiology", tmp_path / "a")
    assert len(direct.reports) == 3
    assert len(direct.labels) == 8  # the gold file is found beside the folder
    assert direct.images.empty
    (source / "NLMCXR_png").mkdir()
    layouts.picture(source / "NLMCXR_png" / "CXR10_IM-0001-1001.png", np.random.default_rng(0), 30, 20)
    archive = OPENI.build(source, tmp_path / "b")
    assert archive.images[["image_id", "study_id", "width", "height"]].values.tolist() == [
        ["openi:CXR10_IM-0001-1001", "openi:CXR10", 30, 20]
    ]
    assert archive.image_path("openi:CXR10_IM-0001-1001").is_file()


@pytest.mark.parametrize("size", [256, 1024, 100])
def test_nih_scales_boxes_to_the_stored_image(tmp_path, size):
    archive = NIH.build(layouts.nih(tmp_path / "source", size), tmp_path / "out")
    boxes = archive.boxes.set_index("image_id")
    assert boxes["finding"].to_dict() == {
        "nih-cxr14:00000001_000": "pleural_effusion",
        "nih-cxr14:00000002_000": "infiltration",
    }
    effusion = boxes.loc["nih-cxr14:00000001_000", ["x_min", "y_min", "x_max", "y_max"]].tolist()
    assert effusion == pytest.approx([size / 2, size / 4, size * 3 / 4, size * 3 / 8])
    assert not verify(archive, workers=1)


def test_nih(tmp_path):
    archive = NIH.build(layouts.nih(tmp_path / "source"), tmp_path / "out")
    assert archive.info["listed_images_that_are_absent"] == 1
    studies = archive.studies.set_index("study_id")
    assert studies["patient_id"].tolist() == ["nih-cxr14:1", "nih-cxr14:1", "nih-cxr14:2"]
    assert studies["age"].tolist()[:2] == [58, 59]
    assert studies["age"].isna()["nih-cxr14:00000002_000"]  # 414 years
    assert studies["day"].isna().all()
    assert archive.extra("follow_up")["follow_up"].tolist() == [0, 1, 0]
    labels = archive.labels.pivot(index="image_id", columns="finding", values="value")
    assert labels.shape == (3, 15)
    assert labels.loc["nih-cxr14:00000001_000"].loc[lambda v: v == 1].index.tolist() == [
        "cardiomegaly",
        "pleural_effusion",
    ]
    assert labels.loc["nih-cxr14:00000001_001"].loc[lambda v: v == 1].index.tolist() == ["no_finding"]
    assert labels.notna().all().all()


def test_nih_uses_the_official_test_list_and_the_downloads_folders(tmp_path):
    source = layouts.nih(tmp_path / "source")
    (source / "images_001").mkdir()
    (source / "images").rename(source / "images_001" / "images")
    (source / "test_list.txt").write_text("00000001_001.png\n")
    archive = NIH.build(source, tmp_path / "out")
    split = archive.studies.set_index("study_id")["split"]
    assert split["nih-cxr14:00000001_001"] == split["nih-cxr14:00000001_000"] == "test"  # the whole patient
    assert split["nih-cxr14:00000002_000"] != "test"
    assert archive.image_path("nih-cxr14:00000001_000").is_file()


def test_covid_chestxray(tmp_path):
    archive = COVID.build(layouts.covid(tmp_path / "source"), tmp_path / "out")
    images = archive.images.set_index("image_id")
    assert images["study_id"].to_dict() == {
        "covid-chestxray:a-pa.jpg": "covid-chestxray:7-day3",
        "covid-chestxray:a-l.jpg": "covid-chestxray:7-day3",
        "covid-chestxray:b.jpg": "covid-chestxray:7-day9",
        "covid-chestxray:c.jpg": "covid-chestxray:8-undated",
        "covid-chestxray:d.jpg": "covid-chestxray:9-day0",
    }
    assert images["view"].fillna("none").tolist() == ["PA", "L", "AP Supine", "none", "AP"]
    assert archive.reports.set_index("study_id")["text"].to_dict() == {
        "covid-chestxray:7-day3": "Patchy opacity, right base.",
        "covid-chestxray:7-day9": "Worse.",
        "covid-chestxray:8-undated": "Worse.",
    }
    studies = archive.studies.set_index("study_id")
    assert studies["patient_id"]["covid-chestxray:9-day0"] == "hannover-covid:mhh_abc"
    assert studies["patient_id"]["covid-chestxray:7-day3"] == "covid-chestxray:covid_7"
    assert studies["day"].tolist()[:2] == [3, 9]
    labels = archive.labels.groupby("image_id")["finding"].agg(set)
    assert labels["covid-chestxray:b.jpg"] == {"covid19", "ards"}
    assert labels["covid-chestxray:d.jpg"] == {"covid19", "pneumonia"}
    assert "covid-chestxray:c.jpg" not in labels
    assert archive.info["absent_images"] == ["images/gone.jpg"]
    assert archive.info["labels_without_finding"] == {"todo": 1, "Viral": 1}
    finding, anatomy = archive.boxes.to_dict("records")
    assert (finding["finding"], finding["kind"], finding["laterality"]) == ("ground_glass_opacity", "finding", "right")
    assert [finding[k] for k in ("x_min", "y_min", "x_max", "y_max")] == [5, 6, 25, 16]
    assert archive.mask_path(finding).is_file()
    assert (anatomy["finding"], anatomy["kind"], anatomy["laterality"]) == ("right_lung", "anatomy", "right")
    assert archive.mask_path(anatomy) is None
    pairs = archive.extra("pairs")
    assert pairs[["image_prior", "image_current", "study_prior", "study_current"]].values.tolist() == [
        ["covid-chestxray:a-pa.jpg", "covid-chestxray:b.jpg", "covid-chestxray:7-day3", "covid-chestxray:7-day9"]
    ]
    assert pairs["day_current"].tolist() == [9]


def test_covid_chestxray_as_published_has_only_metadata_and_images(tmp_path):
    import pandas as pd

    source = layouts.covid(tmp_path / "source")
    for name in ("pathology_boxes.csv", "regions.csv", "pairs.csv"):
        (source / name).unlink()
    metadata = pd.read_csv(source / "metadata.csv", dtype=str).drop(columns="split_key")
    metadata.to_csv(source / "metadata.csv", index=False)
    archive = COVID.build(source, tmp_path / "out")
    assert len(archive.images) == 5
    assert archive.boxes.empty
    assert archive.extra("pairs") is None
    assert set(archive.studies["patient_id"]) == {f"covid-chestxray:covid_{n}" for n in (7, 8, 9)}


def test_notes_that_differ_on_one_day_are_two_studies(tmp_path):
    source = layouts.covid(tmp_path / "source")
    file = source / "metadata.csv"
    file.write_text(
        file.read_text().replace(
            'L,X-ray,images,a-l.jpg,"Patchy opacity, right base."', "L,X-ray,images,a-l.jpg,Tube in place."
        )
    )
    archive = COVID.build(source, tmp_path / "out")
    assert archive.images["study_id"].tolist()[:2] == ["covid-chestxray:7-day3", "covid-chestxray:7-day3-2"]


def test_hannover(tmp_path):
    archive = HANNOVER.build(layouts.hannover(tmp_path / "source"), tmp_path / "out")
    assert archive.images["image_id"].tolist() == ["hannover-covid:aa", "hannover-covid:bb"]
    assert archive.images["view"].tolist() == ["AP", "PA"]
    assert archive.studies["day"].tolist() == [0, 12]
    assert set(archive.studies["patient_id"]) == {"hannover-covid:mhh_abc"}
    assert archive.info["duplicates_left_out"] == 1
    laboratory = archive.extra("laboratory")  # -inf is left out
    assert laboratory.values.tolist() == [
        ["hannover-covid:aa", "crp", 5.0, 0],
        ["hannover-covid:bb", "d-dimer", 0.4, 14],
    ]


def test_hannover_as_published(tmp_path):
    """No file column, bare patient ids, pictures in png/."""
    import numpy as np

    (tmp_path / "png").mkdir()
    (tmp_path / "data.csv").write_text(
        "patient_id,image_id,sex,age,admission_offset,modality,projection,crp_offset,crp_val\nabc,aa,m,,0,CR,ap,0.0,5.0\n"
    )
    layouts.picture(tmp_path / "png" / "aa.png", np.random.default_rng(0), 30, 40)
    archive = HANNOVER.build(tmp_path, tmp_path / "out")
    assert archive.studies["patient_id"].tolist() == ["hannover-covid:mhh_abc"]
    assert archive.image_path("hannover-covid:aa").is_file()


@pytest.mark.parametrize(("adapter", "layout", "_"), ADAPTERS)
def test_every_archive_is_sound_and_speaks_the_vocabulary(tmp_path, adapter, layout, _):
    archive = adapter.build(layout(tmp_path / "source"), tmp_path / "out")
    assert not [p for p in verify(archive, workers=1) if p.severity == "error"]
    assert archive.name == adapter.name
    vocabulary = load_vocabulary()
    assert set(archive.labels["finding"]) <= set(vocabulary.findings)
    boxes = archive.boxes
    assert set(boxes.loc[boxes["kind"] == "finding", "finding"]) <= set(vocabulary.findings)
    assert set(boxes.loc[boxes["kind"] == "anatomy", "finding"]) <= set(vocabulary.anatomy)
    assert archive.studies["split"].notna().all()
    assert archive.studies["study_id"].str.startswith(adapter.name + ":").all()


@pytest.mark.parametrize(("adapter", "layout", "_"), ADAPTERS)
def test_a_wrong_source_is_one_clear_line(tmp_path, adapter, layout, _):
    layout(tmp_path / "source")
    (tmp_path / "nothing").mkdir()
    file = next(f for f in (tmp_path / "source").iterdir() if f.is_file())
    for source, message in [
        (tmp_path / "nowhere", "no such folder"),
        (tmp_path / "nothing", "no XML reports" if adapter is OPENI else "no such file"),
        (file, "is a file, not the dataset's folder"),
    ]:
        with pytest.raises(UsageError, match=message) as error:
            adapter.build(source, tmp_path / "out")
        assert str(source) in str(error.value)
        assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="takes no option 'colour'"):
        adapter.build(tmp_path / "source", tmp_path / "out", colour=1)


@pytest.mark.parametrize(("adapter", "layout", "name"), CASES)
def test_a_missing_column_names_file_column_and_remedy(tmp_path, adapter, layout, name):
    file = layout(tmp_path / "source") / name
    header, _, rest = file.read_text().partition("\n")
    first = header.split(",")[1 if name in ("data.csv", "pairs.csv") else 0]
    file.write_text(header.replace(first, "Whatever", 1) + "\n" + rest)
    with pytest.raises(DataError, match=rf"{name}: lacks the column '{first}'; `lgdea data card"):
        adapter.build(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("adapter", "layout", "name"), ADAPTERS)
def test_a_table_that_is_not_utf8_or_empty(tmp_path, adapter, layout, name):
    file = layout(tmp_path / "source") / name
    whole = file.read_bytes()
    file.write_bytes(whole + "Müller".encode("latin-1"))
    row = whole.count(b"\n")
    with pytest.raises(DataError, match=rf"{name} row {row}: is not UTF-8 \(byte 0xfc\); convert it"):
        adapter.build(tmp_path / "source", tmp_path / "out")
    file.write_bytes(b"")
    with pytest.raises(DataError, match=f"{name}: is empty; fetch it again"):
        adapter.build(tmp_path / "source", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"10.xml: is empty; fetch the file again"),
        (b"<eCitation><uId id='CXR10'>", r"10.xml: is not XML \("),
        ('<?xml version="1.0" encoding="utf-8"?>\n<a>\n<uId id="x"/>é</a>'.encode("latin-1"),
         r"10.xml row 3: is not UTF-8 \(byte 0xe9\); convert it to UTF-8"),
        (b"<eCitation/>", r"10.xml: has no <uId id=...>"),
    ],
)  # fmt: skip
def test_a_report_that_cannot_be_read_is_named(tmp_path, content, message):
    source = layouts.openi(tmp_path / "source")
    (source / "ecgen-radiology" / "10.xml").write_bytes(content)
    with pytest.raises(DataError, match=message):
        OPENI.build(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("adapter", "layout", "name", "old", "new", "message"),
    [
        (NIH, layouts.nih, "Data_Entry_2017.csv", "Infiltration,0", "Infiltrating,0",
         "row 3: the finding 'Infiltrating' is none of"),
        (NIH, layouts.nih, "BBox_List_2017.csv", "512,256", "wide,256", r"row 1: Bbox \[x is 'wide', not a number"),
        (OPENI, layouts.openi, "openi_gld_std14.csv", "CXR10,0,1", "CXR10,0,7",
         "row 2: Cardiomegaly is '7', not 0 or 1"),
        (COVID, layouts.covid, "pathology_boxes.csv", "Ground Glass", "Milk Glass",
         "row 1: the region 'Milk Glass Opacities' is not"),
        (COVID, layouts.covid, "pathology_boxes.csv", "left,right", "left,up",
         "boxes.parquet row 1: laterality: Input should be 'left'"),
    ],
)  # fmt: skip
def test_a_bad_cell_names_its_row(tmp_path, adapter, layout, name, old, new, message):
    file = layout(tmp_path / "source") / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        adapter.build(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_corrupt_image_stops_the_build_by_name(tmp_path):
    source = layouts.nih(tmp_path / "source")
    (source / "images" / "00000001_000.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"00000001_000.png: is no PNG, JPEG or DICOM file"):
        NIH.build(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "years"),
    [("58", 58), ("058Y", 58), ("006M", 0.5), ("000D", 0), ("414", None), ("?", None), (None, None), ("-3", None)],
)
def test_ages(text, years):
    assert age_in_years(text) == years


def test_the_registry_reads_entry_points(monkeypatch):
    def found(group: str, name: str | None = None) -> EntryPoints:
        points = EntryPoints(
            EntryPoint(n, v, group)
            for n, v in [
                ("openi", "lgdea.records.adapters.openi:ADAPTER"),
                ("broken", "lgdea_no_such_module:ADAPTER"),
                ("strange", "json:dumps"),
            ]
        )
        return points if name is None else points.select(name=name)

    monkeypatch.setattr(base, "entry_points", found)
    assert base.list_adapters() == ["broken", "openi", "strange"]
    assert base.get_adapter("openi") is OPENI
    with pytest.raises(UsageError, match=r"no dataset 'open-i'; did you mean openi\? known are broken, openi, strange"):
        base.get_adapter("open-i")
    with pytest.raises(UsageError, match="no dataset 'mimic'; known are broken, openi, strange"):
        base.get_adapter("mimic")
    with pytest.raises(LgdeaError, match="the dataset 'broken' cannot be loaded from lgdea_no_such_module:ADAPTER"):
        base.get_adapter("broken")
    with pytest.raises(LgdeaError, match="json:dumps is no dataset adapter"):
        base.get_adapter("strange")
    monkeypatch.setattr(base, "entry_points", lambda **_: EntryPoints())
    with pytest.raises(UsageError, match=r"no dataset 'openi'; this lgdea is a folder .* pip install -e \."):
        base.get_adapter("openi")
