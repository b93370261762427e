from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import lgdea
from lgdea.errors import ConfigError, DataError, UsageError
from lgdea.records.adapters import nifti_slices
from lgdea.records.adapters.nifti_slices import ADAPTER, folder_names
from lgdea.records.patient_key import load_patient_key
from lgdea.records.verify import verify

nibabel = pytest.importorskip("nibabel")


def _volume(file, marked=(-1, -1, 11)):
    """Noise below -500 HU with a bright voxel; voxel (0, 0, 0) is at the patient's left, back and feet."""
    values = np.random.default_rng(len(str(file))).integers(-900, -600, (8, 6, 12)).astype(np.int16)
    values[marked] = 2000
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 5.0, 1.0])), file)


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "chest ct"
    _volume(source / "a" / "case 1.nii.gz")
    _volume(source / "case2.nii")
    (source / "case2.txt").write_text("FINDINGS: No effusion.")
    return source


def test_a_folder_of_volumes(folder, tmp_path):
    out = tmp_path / "out"
    archive = ADAPTER.build(folder, out, slices=12, window="lung")
    assert archive.name == "chest-ct"
    assert archive.studies["study_id"].tolist() == ["chest-ct:case 1", "chest-ct:case2"]
    assert archive.images["image_id"].tolist()[:2] == ["chest-ct:case 1:z00", "chest-ct:case 1:z01"]
    assert len(archive.images) == 24
    assert set(archive.images["modality"]) == {"CT"}
    assert set(archive.images["view"]) == {"axial"}
    assert archive.reports[["study_id", "text"]].values.tolist() == [["chest-ct:case2", "FINDINGS: No effusion."]]
    top = np.asarray(Image.open(archive.image_path("chest-ct:case2:z11")))
    assert top.shape == (6, 8)
    assert np.argwhere(top == 255).tolist() == [[0, 0]]  # front and the patient's right
    slices = archive.extra("slices").set_index("image_id")
    assert slices.loc["chest-ct:case 1:z03", ["volume", "slice", "depth", "slice_mm", "low", "high"]].tolist() == [
        "a/case 1.nii.gz", 3, 12, 5.0, -1350.0, 150.0,
    ]  # fmt: skip
    assert archive.image_root == out.resolve()  # the folder can be moved
    assert not [p for p in verify(archive, workers=1) if p.severity == "error"]


def test_a_table_gives_patients_labels_and_splits(folder, tmp_path):
    (folder / "scans.csv").write_text(
        "patient,volume,report,Pleural effusion,split\n"
        "p1,a/case 1.nii.gz,Small effusion.,1,training\n"
        "p2,case2,No effusion.,0,test\n"  # found by its name
    )
    archive = ADAPTER.build(folder, tmp_path / "out", table="scans.csv", dataset="ct", slices=2, window="percentiles")
    assert archive.studies[["study_id", "patient_id", "split"]].values.tolist() == [
        ["ct:case 1", "ct:p1", "train"],
        ["ct:case2", "ct:p2", "test"],
    ]
    assert archive.images["image_id"].tolist() == ["ct:case 1:z03", "ct:case 1:z08", "ct:case2:z03", "ct:case2:z08"]
    assert set(archive.images["modality"]) == {"MR"}
    assert archive.labels[["study_id", "value"]].values.tolist() == [["ct:case 1", 1.0], ["ct:case2", 0.0]]
    assert archive.labels["image_id"].isna().all()


def test_patients_of_volumes_are_hashed_by_a_key(folder, tmp_path):
    names = sorted(file.name for file in folder.glob("*.nii*"))
    rows = "".join(f"{name},471147,{number}\n" for number, name in enumerate(names))
    (folder / "scans.csv").write_text("volume,patient,study\n" + rows)
    options = {"table": "scans.csv", "dataset": "ct", "slices": 2, "image": "volume"}
    archive = lgdea.build_archive("nifti-slices", folder, tmp_path / "out", patient_key=tmp_path / "p.key", **options)
    key = load_patient_key(tmp_path / "p.key", outside=None)
    assert set(archive.studies["patient_id"]) == {f"ct:{key.hash_id('471147')}"}
    assert archive.patient_keys == {"ct": key.fingerprint}
    assert "471147" not in (archive.folder / "archive.json").read_text()


def test_a_damaged_volume_stops_the_build_or_is_counted(folder, tmp_path):
    (folder / "case3.nii").write_bytes(b"no volume")
    with pytest.raises(DataError, match=r"row 3: the volume .*case3.nii: is damaged or no NIfTI file"):
        ADAPTER.build(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    archive = ADAPTER.build(folder, tmp_path / "out", on_problem="leave_out")
    assert archive.studies["study_id"].tolist() == ["chest-ct:case 1", "chest-ct:case2"]
    assert [(p["kind"], p["count"]) for p in archive.info["left_out"]] == [
        ("unreadable-volume", 1),
        ("nothing-in-study", 1),
    ]


def test_bad_requests_are_one_line(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no \.nii or \.nii\.gz files"):
        ADAPTER.build(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(UsageError, match="no window 'liver'"):
        ADAPTER.build(folder, tmp_path / "out", window="liver")
    with pytest.raises(ConfigError, match="slices: Input should be a valid integer"):
        ADAPTER.build(folder, tmp_path / "out", slices="many")
    with pytest.raises(ConfigError, match=r"^--option colour=1: no such key"):
        ADAPTER.build(folder, tmp_path / "out", colour=1)
    (folder / "x.csv").write_text("a,b\n")
    with pytest.raises(UsageError, match=r"holds volumes and tables \(x.csv\); name the table"):
        ADAPTER.build(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


SAME_FOLDER = [
    ("case 1", "case_1"), ("患者", "病人"), ("a/b_c", "a_b/c"), ("Scan", "scan"), ("a%b", "a&b"), ("x" * 90, "x" * 91),
    ("\u00e9", "e\u0301"), ("a/..", "..", "..."),
]  # fmt: skip


@pytest.mark.parametrize("volumes", SAME_FOLDER)
def test_volumes_have_folders_of_their_own_that_do_not_depend_on_each_other(volumes):
    names = folder_names(volumes)
    assert len({name.lower() for name in names}) == len(volumes)
    assert all(name.isascii() and "/" not in name and not name.startswith(".") and len(name) < 100 for name in names)
    assert folder_names(volumes[::-1]) == names[::-1]
    assert folder_names(["case1"]) == ["case1"]


@pytest.mark.parametrize(
    "names", [("case 1", "case_1"), ("患者", "病人"), ("a/b_c", "a_b/c"), ("p/x", "q/x"), ("..", ".")]
)
def test_no_volume_overwrites_another(tmp_path, names):
    for name, value in zip(names, (-1000, 1000), strict=True):
        file = tmp_path / "v" / f"{name}.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.full((8, 6, 6), value, np.int16), np.eye(4)), file)
    archive = ADAPTER.build(tmp_path / "v", tmp_path / "out", window="mediastinum", slices=6)
    assert len({archive.image_path(image) for image in archive.images["image_id"]}) == 12
    slices = archive.extra("slices").set_index("image_id")
    for image in archive.images["image_id"]:
        grey = np.asarray(Image.open(archive.image_path(image)))
        first = slices.loc[image, "volume"] == f"{names[0]}.nii.gz"
        assert (grey == (0 if first else 255)).all()


def test_pictures_of_one_grey_are_told(folder, tmp_path, caplog):
    archive = ADAPTER.build(folder, tmp_path / "out", slices=2, window=(3000, 4000))
    said = "4 of 4 pictures are of one grey, such as chest-ct:case 1:z03: without a value between 3000 and 4000"
    assert caplog.messages[0].startswith(said)
    assert archive.info["notes"][-1] == caplog.messages[0]
    caplog.clear()
    ADAPTER.build(folder, tmp_path / "out", slices=2, window="percentiles")
    assert not caplog.messages


def test_a_build_that_fails_leaves_the_earlier_archive_as_it_was(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    ADAPTER.build(folder, out, slices=3)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    (folder / "case3.nii").write_bytes(b"no volume")
    with pytest.raises(DataError):
        ADAPTER.build(folder, out, slices=2, window="bone")
    (folder / "case3.nii").unlink()
    with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
        patch.setattr(nifti_slices, "write_archive", lambda *_: (_ for _ in ()).throw(OSError("full")))
        ADAPTER.build(folder, out, slices=2, window="bone")
    with pytest.raises(UsageError, match="holds the archive 'chest-ct' already"):
        ADAPTER.build(folder, out, slices=2, dataset="other")
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    archive = ADAPTER.build(folder, out, slices=2)
    assert len(list(out.rglob("*.png"))) == len(archive.images) == 4  # nothing of the earlier build is left
    assert sorted(p.name for p in out.iterdir() if p.name.startswith(".")) == []


def test_a_folder_of_pictures_that_no_build_made_stays(folder, tmp_path):
    (tmp_path / "out" / "slices").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds a folder slices and no archive"):
        ADAPTER.build(folder, tmp_path / "out")
    assert (tmp_path / "out" / "slices").is_dir()
