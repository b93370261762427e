from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pyarrow.parquet as pq
import pytest

from lgdea import runs
from lgdea.errors import DataError, UsageError
from lgdea.manifests import seal
from lgdea.records.archive import Archive, write_archive
from lgdea.records.schema import Box, Label, Report, Study
from lgdea.records.tables import read_table, write_table
from lgdea.runs import fingerprint
from tests.helpers.command_line import uncounted_environment


def test_an_archive_comes_back_as_it_was_written(make_archive):
    archive = make_archive(patients=10)
    again = Archive.open(archive.folder)
    assert again.name == "toy"
    assert again.info == {"source": "made up"}
    assert len(again.studies) == 20
    assert len(again.images) == 16
    assert list(again.boxes[["x_min", "y_max"]].iloc[0]) == [1, 10]
    assert again.studies["sex"].isna().all()
    assert again.reports["text"].iloc[0] == "Report number 1 of toy: no focal consolidation."


def test_the_schema_version_stands_in_the_file(make_archive):
    metadata = pq.read_schema(make_archive().folder / "studies.parquet").metadata
    assert metadata[b"lgdea_schema"] == b"Study"
    assert metadata[b"lgdea_schema_version"] == b"1"


def test_image_paths_follow_the_folder_when_it_is_moved(make_archive, tmp_path):
    archive = make_archive()
    archive.folder.rename(tmp_path / "elsewhere")
    moved = Archive.open(tmp_path / "elsewhere")
    assert moved.image_path("toy:i1").is_file()
    assert moved.image_path(moved.images.iloc[0]) == moved.image_path("toy:i1")
    with pytest.raises(DataError, match="has no image 'toy:i0'"):
        moved.image_path("toy:i0")


def test_a_replaced_table_says_where_images_are_whatever_was_asked_before(make_archive, tmp_path):
    archive = make_archive()
    image = archive.images["image_id"].iloc[0]
    before = archive.image_path(image)
    moved = archive.with_tables(images=archive.images.assign(path=str(tmp_path / "moved.png")))
    assert moved.image_path(image) == tmp_path / "moved.png"
    assert archive.image_path(image) == before


def test_writing_the_same_source_again_gives_the_same_fingerprint(make_archive):
    archive = make_archive()
    before = fingerprint(archive.folder)
    tables = {name: getattr(archive, name) for name in ("studies", "images", "reports", "boxes", "labels")}
    write_archive(archive.folder, "toy", tables, archive.folder, archive.info)
    assert fingerprint(archive.folder) == before


def test_extra_tables_are_kept_and_stale_ones_go(tmp_path):
    mesh = pd.DataFrame({"report_id": ["a", "b"], "major": ["normal", "Opacity/lung"]})
    archive = write_archive(tmp_path / "a", "toy", {}, tmp_path, extra_tables={"mesh": mesh})
    assert archive.extra("mesh").equals(mesh.astype(archive.extra("mesh").dtypes))
    assert archive.extra("pairs") is None
    write_archive(tmp_path / "a", "toy", {}, tmp_path)
    assert not (tmp_path / "a" / "mesh.parquet").exists()


def test_another_archive_is_not_overwritten(make_archive):
    archive = make_archive()
    with pytest.raises(UsageError, match=r"holds the archive 'toy' already; choose another --out"):
        write_archive(archive.folder, "other", {}, archive.folder)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"report_id": "r2", "study_id": "s", "text": None},
            "parquet row 2: text: Input should be a valid string",
        ),
        ({"report_id": "", "study_id": "s", "text": "x"}, "row 2: report_id: String should have at least 1 character"),
        (
            {"report_id": "r", "study_id": "s", "text": "x", "tekst": "y"},
            "row 2: tekst: Extra inputs are not permitted",
        ),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_left_behind(tmp_path, row, message):
    good = {"report_id": "r1", "study_id": "s", "text": "Normal."}
    with pytest.raises(DataError) as error:
        write_archive(tmp_path / "out", "toy", {"reports": [good, row]}, tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_an_empty_box_is_refused(tmp_path):
    box = {"box_id": "b", "image_id": "i", "finding": "mass", "label": "Mass",
           "x_min": 5, "y_min": 0, "x_max": 5, "y_max": 9}  # fmt: skip
    with pytest.raises(DataError, match="box b is empty"):
        write_table(tmp_path / "boxes.parquet", [box], Box)


def test_frames_are_checked_by_column_then_by_row(tmp_path):
    frame = pd.DataFrame({"study_id": ["s1", "s2"], "finding": "mass", "value": [1.0, None], "labeller": "x"})
    write_table(tmp_path / "labels.parquet", frame, Label)
    assert read_table(tmp_path / "labels.parquet", Label)["value"].isna().tolist() == [False, True]
    with pytest.raises(DataError, match="lacks the column 'labeller'"):
        write_table(tmp_path / "labels.parquet", frame.drop(columns="labeller"), Label)
    with pytest.raises(DataError, match="unknown column 'Finding'"):
        write_table(tmp_path / "labels.parquet", frame.assign(Finding="x"), Label)


def test_whole_numbers_survive_a_frame_with_gaps(tmp_path):
    frame = pd.DataFrame({"study_id": ["a", "b"], "patient_id": ["a", "b"], "dataset": "d", "day": [3, None]})
    write_table(tmp_path / "studies.parquet", frame, Study)
    assert pq.read_table(tmp_path / "studies.parquet")["day"].to_pylist() == [3, None]


def test_reading_says_what_is_wrong(tmp_path, make_archive):
    with pytest.raises(UsageError, match=r"no such archive; make it with `lgdea data build` or check the path"):
        Archive.open(tmp_path / "nowhere")
    archive = make_archive()
    (archive.folder / "labels.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(DataError, match=r"labels\.parquet: is not as it was written"):
        _ = Archive.open(archive.folder).labels
    (archive.folder / "boxes.parquet").unlink()
    with pytest.raises(UsageError, match=r"boxes.parquet: no such table"):
        _ = Archive.open(archive.folder).boxes
    with pytest.raises(DataError, match="holds rows of Report, expected rows of Study"):
        read_table(archive.folder / "reports.parquet", Study)
    pd.DataFrame({"report_id": ["r"]}).to_parquet(tmp_path / "own.parquet")
    with pytest.raises(DataError, match="holds no lgdea table"):
        read_table(tmp_path / "own.parquet", Report)


def test_an_archive_of_another_schema_version_is_refused(make_archive):
    archive = make_archive()
    file = archive.folder / "archive.json"
    runs.write_json(file, seal({**json.loads(file.read_text()), "schema_version": "0"}))
    with pytest.raises(DataError, match="has schema version 0, this lgdea reads 1; build it again"):
        Archive.open(archive.folder)
    file.write_text("{")
    with pytest.raises(DataError, match=r"archive\.json: the archive's description cannot be read"):
        Archive.open(archive.folder)


def test_an_unfinished_archive_is_refused(make_archive):
    archive = make_archive()
    (archive.folder / "_SUCCESS").unlink()
    with pytest.raises(UsageError, match="this archive is unfinished; run `lgdea data build` again"):
        Archive.open(archive.folder)


KILLED = """
import os, sys
from pathlib import Path
from lgdea.records import archive
archive.write_json = lambda *_: os.kill(os.getpid(), 9)
archive.write_archive(Path(sys.argv[1]), "toy", {}, Path(sys.argv[1]))
"""


def test_a_killed_write_leaves_the_old_archive_and_the_next_write_tidies_up(make_archive):
    archive = make_archive()
    before = fingerprint(archive.folder)
    assert subprocess.run([sys.executable, "-c", KILLED, str(archive.folder)], check=False).returncode == -9
    assert fingerprint(archive.folder) == before
    assert len(Archive.open(archive.folder).studies) == 20
    assert list(archive.folder.glob(".staging.*"))
    write_archive(archive.folder, "toy", {}, archive.folder)
    assert not list(archive.folder.glob(".staging.*"))


FULL_DISK = """
import resource, sys
from pathlib import Path
from lgdea.errors import DataError
from lgdea.records.archive import write_archive
folder = Path(sys.argv[1])
rows = [{"report_id": f"r{i}", "study_id": f"s{i}", "text": str(hash((i, "salt"))) * 20} for i in range(20000)]
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_archive(folder, "toy", {"reports": rows}, folder)
except DataError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_full_disk_gives_one_line_and_leaves_what_was_there(make_archive, tmp_path):
    """The operating system itself refuses the write: a file may not grow beyond 100 kB."""
    pytest.importorskip("resource")
    archive = make_archive()
    before = fingerprint(archive.folder)
    for folder in (archive.folder, tmp_path / "new"):
        command = [sys.executable, "-c", FULL_DISK, str(folder)]
        run = subprocess.run(command, env=uncounted_environment(), capture_output=True, text=True, check=False)
        assert run.returncode == 1, run.stderr
        assert run.stdout.strip().count("\n") == 0
        assert "cannot be written (File too large); free some space" in run.stdout
    assert fingerprint(archive.folder) == before
    assert Archive.open(archive.folder).name == "toy"
    assert not (tmp_path / "new").exists()
    assert not [p for p in archive.folder.iterdir() if p.name.startswith(".")]


def test_records_and_imaging_cost_no_torch():
    modules = "lgdea.records.verify, lgdea.records.merge, lgdea.records.adapters.openi, lgdea.imaging.cache"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
