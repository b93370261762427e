from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lgdea import runs
from lgdea.api.integrity import accept_changes, verify_folder
from lgdea.errors import DataError, LgdeaError, UsageError


def _start(folder: Path, source: Path, **config: object) -> bool:
    return runs.start(folder, stage="extract", config=config, inputs={"source": source})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "source.csv"
    file.write_text("a,b\n1,2\n")
    return file


def test_a_new_run_records_configuration_and_input_hashes_before_work(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "run"
    assert _start(folder, source, seed=3) is False
    manifest = json.loads((folder / "run.json").read_text())
    assert manifest["input_hashes"]["source"] == runs.fingerprint(source)
    assert (folder / "config.yaml").read_text() == "seed: 3\n"
    assert not runs.is_finished(folder)
    runs.finish(folder, units=5)
    assert runs.is_finished(folder)
    assert json.loads((folder / "run.json").read_text())["units"] == 5


def test_the_same_call_resumes_and_another_one_is_refused(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "run"
    _start(folder, source, seed=3)
    assert _start(folder, source, seed=3) is True
    with pytest.raises(UsageError, match="another config"):
        _start(folder, source, seed=4)
    source.write_text("a,b\n1,3\n")
    with pytest.raises(UsageError, match="another input hashes"):
        _start(folder, source, seed=3)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, source: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").write_text("x")
    with pytest.raises(UsageError, match="is not empty"):
        _start(tmp_path / "mine", source)
    with pytest.raises(UsageError, match="is a file"):
        _start(source, source)


def test_require_finished_names_the_command(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(UsageError, match="make it with `lgdea extract`"):
        runs.require_finished(folder, what="evidence folder", made_by="lgdea extract")
    _start(folder, source)
    with pytest.raises(UsageError, match="unfinished"):
        runs.require_finished(folder, what="evidence folder", made_by="lgdea extract")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["model.safetensors", "config.json"], "is a model, no archive; check the order of the arguments"),
        (["X1.png", "notes.txt"], "holds no archive; make it with `lgdea data build` or check the path"),
        ([], "holds no archive"),
        (["studies.parquet"], "this archive is unfinished"),
    ],
)
def test_a_folder_that_was_never_begun_is_not_unfinished(tmp_path: Path, names: list[str], says: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UsageError, match=says):
        runs.require_finished(tmp_path, what="archive", made_by="lgdea data build")


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    runs.write_json(file, {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        runs.write_json(file, {"a": float("nan")})
    with pytest.raises(RuntimeError), runs.atomic(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads(file.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_the_fingerprint_of_a_folder_ignores_times_but_no_table(tmp_path: Path) -> None:
    for name, started in (("a", "1"), ("b", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "units.parquet").write_text("same")
        (tmp_path / name / "run.json").write_text(started)
    assert runs.fingerprint(tmp_path / "a") == runs.fingerprint(tmp_path / "b")
    (tmp_path / "b" / "units.parquet").write_text("other")
    assert runs.fingerprint(tmp_path / "a") != runs.fingerprint(tmp_path / "b")


def test_a_start_that_was_killed_at_any_write_can_be_repeated(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text, left = runs.write_text, 0

    def die_after(count: int) -> None:
        def write(file: Path, text: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                (file.parent / f".{file.name}.{os.getpid()}.tmp").write_text(text[:5])  # a kill cleans nothing up
                raise KeyboardInterrupt
            write_text(file, text)

        nonlocal left
        left = count
        monkeypatch.setattr(runs, "write_text", write)

    for count in range(3):
        folder = tmp_path / f"run{count}"
        die_after(count)
        with pytest.raises(KeyboardInterrupt):
            _start(folder, source, seed=3)
        monkeypatch.undo()
        assert _start(folder, source, seed=3) is False
        assert _start(folder, source, seed=3) is True


def test_what_a_finished_run_made_is_watched(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "run"
    _start(folder, source)
    (folder / "units.parquet").write_text("units")
    runs.finish(folder, ["units.parquet"], units=5)
    assert runs.is_finished(folder)
    runs.check_output(folder / "units.parquet")
    (folder / "units.parquet").write_text("Units")
    with pytest.raises(DataError, match=r"units\.parquet: is not as it was written"):
        runs.check_output(folder / "units.parquet")
    with pytest.raises(UsageError, match=r"units\.parquet: is not as it was written"):
        _start(folder, source)
    (folder / "units.parquet").unlink()
    assert not runs.is_finished(folder)
    with pytest.raises(UsageError, match=r"this evidence lacks units.parquet; .*`lgdea extract` again"):
        runs.require_finished(folder, what="evidence", made_by="lgdea extract")
    assert _start(folder, source) is True


def test_an_error_is_one_line_with_file_row_and_remedy() -> None:
    error = LgdeaError("age is\nnegative", file="a.csv", row=3, remedy="mend it")
    assert str(error) == "a.csv row 3: age is negative; mend it"


@pytest.mark.parametrize("name", [runs.CONFIG, runs.ENVIRONMENT])
def test_a_changed_description_is_told_and_can_be_accepted(tmp_path, name):
    runs.start(tmp_path / "run", stage="x", config={"a": 1}, inputs={})
    runs.finish(tmp_path / "run")
    runs.check_description(tmp_path / "run")
    (tmp_path / "run" / name).write_text("{}")
    with pytest.raises(DataError, match=f"{name}: is not as it was written"):
        runs.check_description(tmp_path / "run")
    assert verify_folder(tmp_path).problems == [(f"run/{name}", "is not as it was written")]
    accept_changes(tmp_path)
    runs.check_description(tmp_path / "run")


def test_a_run_whose_folder_was_removed_in_between_is_not_finished(tmp_path):
    runs.start(tmp_path / "run", stage="x", config={"a": 1}, inputs={})
    (tmp_path / "run" / runs.CONFIG).unlink()
    with pytest.raises(DataError, match="was removed while the folder was written"):
        runs.finish(tmp_path / "run")
    assert runs.start(tmp_path / "run", stage="x", config={"a": 1}, inputs={})
    runs.finish(tmp_path / "run")
    assert runs.is_finished(tmp_path / "run")
