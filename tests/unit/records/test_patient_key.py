"""Patients' ids as keyed hashes: who is the same is known, who it is needs the key, and the key stays outside."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest

import lgdea
from lgdea.errors import DataError, LgdeaError, UsageError
from lgdea.records.adapters.table.adapter import ADAPTER
from lgdea.records.archive import Archive
from lgdea.records.merge import merge
from lgdea.records.patient_key import count_plain_ids, load_patient_key
from tests.helpers import layouts_detection as layouts
from tests.helpers.odd_files import make_pipe

IDS = [f"{number:04d}" for number in range(10_000)]  # all that a hospital with ids of four digits can have


def _table(file: Path, patients: list[str], prefix: str = "A", extra: str = "") -> Path:
    rows = "".join(f'{p},{prefix}{n},"Clear lungs, report {n}."{extra}\n' for n, p in enumerate(patients))
    file.write_text("MRN,ACC,report" + (",pic" if extra else "") + "\n" + rows)
    return file


def _build(file: Path, key: Path | None, out: Path, **options) -> Archive:
    return lgdea.build_archive("table", file, out, patient_key=key, dataset="klinik", **options)


def _guesses(words: list[str], archive: Archive) -> set[str]:
    """Those of ``words`` that somebody finds who has the archive alone, by all that it holds as a key or salt."""
    held = {p.removeprefix("klinik:") for p in archive.studies["patient_id"]}
    manifest = (archive.folder / "archive.json").read_text()
    salts = ["", "klinik:", "patient\x1f", *re.findall(r"[0-9a-f]{12,64}", manifest)]
    found = set()
    for word in words:
        for salt in salts:
            plain = hashlib.sha256((salt + word).encode()).hexdigest()
            keyed = hmac.new(salt.encode(), ("patient\x1f" + word).encode(), "sha256").hexdigest()
            if (
                any(held & {digest[:length] for length in (16, 24, 32, 64)} for digest in (plain, keyed))
                or word in held
            ):
                found.add(word)
    return found


def test_a_dictionary_of_all_ids_finds_nobody_without_the_key(tmp_path):
    patients = ["0007", "4711", "9999"]
    file, key = _table(tmp_path / "t.csv", patients), tmp_path / "p.key"
    plain, keyed = _build(file, None, tmp_path / "plain"), _build(file, key, tmp_path / "keyed")
    assert _guesses(IDS, plain) == set(patients)  # the attack is one
    assert _guesses(IDS, keyed) == set()
    own = load_patient_key(key, outside=keyed.folder)
    back = {f"klinik:{own.hash_id(word)}": word for word in IDS}
    assert [back[p] for p in keyed.studies["patient_id"]] == patients
    everything = b"".join(f.read_bytes() for f in keyed.folder.rglob("*") if f.is_file())
    assert key.read_bytes().strip() not in everything
    assert keyed.patient_keys == {"klinik": own.fingerprint}
    for frame in (keyed.studies, keyed.images, keyed.reports):
        # as a word: four digits may stand in a hash by chance
        assert not any(re.search(rf"\b{p}\b", str(cell)) for p in patients for cell in frame.to_numpy().ravel())


def test_the_same_patient_has_the_same_hash_however_the_id_is_written(tmp_path):
    key = tmp_path / "p.key"
    first = _build(_table(tmp_path / "a.csv", [" 10", "11"]), key, tmp_path / "a")
    second = _build(_table(tmp_path / "b.csv", ["10.0", "12.0"], "B"), key, tmp_path / "b")
    frames = pd.DataFrame({"study_id": ["C1", "C2"], "patient_id": [10.0, None], "text": ["One.", "Two."]})
    with pytest.raises(DataError, match="has no patient_id"):
        lgdea.build_archive("klinik", reports=frames, out=tmp_path / "c", patient_key=key)
    third = lgdea.build_archive("klinik", reports=frames[:1], out=tmp_path / "c", patient_key=key)
    ten = first.studies["patient_id"].iloc[0]
    assert second.studies["patient_id"].iloc[0] == third.studies["patient_id"].iloc[0] == ten
    assert second.studies["patient_id"].iloc[1] != first.studies["patient_id"].iloc[1]
    assert len({a.studies["split"].iloc[0] for a in (first, second, third)}) == 1
    both = merge([first, second, third], tmp_path / "all", name="all")
    assert both.studies["patient_id"].nunique() == 3
    assert both.patient_keys == first.patient_keys
    written = _build(_table(tmp_path / "d.csv", ["10", "10.0"]), key, tmp_path / "d", ids="written")
    assert written.studies["patient_id"].nunique() == 2


def test_archives_of_two_keys_or_of_none_are_not_taken_for_the_same_patients(tmp_path):
    one = _build(_table(tmp_path / "a.csv", ["1"]), tmp_path / "1.key", tmp_path / "a")
    other = _build(_table(tmp_path / "b.csv", ["1"], "B"), tmp_path / "2.key", tmp_path / "b")
    plain = _build(_table(tmp_path / "c.csv", ["1"], "C"), None, tmp_path / "c")
    assert one.studies["patient_id"][0] != other.studies["patient_id"][0]
    for pair in ([one, other], [other, plain], [plain, one]):
        with pytest.raises(DataError, match=r"patients of klinik are hashed .* in another archive.*same --patient-key"):
            merge(pair, tmp_path / "out")
    public = lgdea.build_archive("table", _table(tmp_path / "d.csv", ["1"], "D"), tmp_path / "d", dataset="public")
    assert merge([one, public], tmp_path / "out", name="out").patient_keys == one.patient_keys


def test_linking_keeps_the_key(tmp_path):
    key = tmp_path / "p.key"
    made = _build(_table(tmp_path / "a.csv", ["1", "2"]), key, tmp_path / "a")
    (tmp_path / "l.csv").write_text("image_id,report_id\n")
    with pytest.raises(UsageError):
        lgdea.link_archive(made, [tmp_path / "l.csv"], tmp_path / "b")
    assert Archive.open(made.folder).patient_keys == made.patient_keys


def test_a_study_that_is_named_by_its_patient_is_named_by_the_hash(tmp_path):
    file = _table(tmp_path / "a.csv", ["KL4711", "KL4711", "KL0815"])
    made = _build(file, tmp_path / "p.key", tmp_path / "a", study=["MRN", "ACC"])
    patient = made.studies["patient_id"].str.removeprefix("klinik:")
    assert (made.studies["study_id"] == "klinik:" + patient + "-" + pd.Series(["A0", "A1", "A2"])).all()
    assert not any(p in (made.folder / "archive.json").read_text() for p in ("KL4711", "KL0815"))


def test_what_is_left_out_names_no_patient(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(
        "MRN,ACC,report,pic,split\n471147,A1,One.,,train\n081508,A1,Two.,,train\n471147,A2,,471147/x.png,test\n"
        "1.2345E+11,A3,Three.,,train\n471147,A4,Four.,,test\n"
    )
    made = _build(file, tmp_path / "p.key", tmp_path / "a", on_problem="leave_out")
    told = (made.folder / "archive.json").read_text() + made.extra("left_out").to_csv()
    assert {p["kind"] for p in made.info["left_out"]} >= {"two-patients", "rounded-patient-id", "patient-in-two-splits"}
    assert not any(p in told for p in ("471147", "081508", "1.2345E"))


def test_ids_that_stand_elsewhere_are_said(tmp_path, caplog):
    file = tmp_path / "a.csv"
    file.write_text(
        "MRN,ACC,report\n471147,A1,MRN 471147. Clear.\n081508,081508-1,Clear.\n22,122,22 mm.\n33,A4,Clear.\n"
    )
    made = _build(file, tmp_path / "p.key", tmp_path / "a")
    assert "ids of patients seem to stand in 1 study ids and in 1 report ids and in 1 reports" in caplog.text
    assert any("ids of patients seem to stand" in note for note in made.info["notes"])
    frames = {
        "images": pd.DataFrame({"study_id": ["s", "t"], "image_id": ["i", "j"], "path": ["p7/a.png", "p17/b.png"]})
    }
    assert count_plain_ids({"s": "p7", "t": "7"}, frames) == {"image paths": 1}


def test_a_key_needs_patients(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("ACC,report\nA1,One.\n")
    with pytest.raises(UsageError, match=r"no column of patients is known, whose ids could be hashed; name it"):
        _build(file, tmp_path / "p.key", tmp_path / "a", patient=None)
    with pytest.raises(UsageError, match="no frame has a patient_id that could be hashed"):
        frame = pd.DataFrame({"study_id": [1], "text": ["One."]})
        lgdea.build_archive("x", reports=frame, out=tmp_path / "b", patient_key=tmp_path / "p.key")
    with pytest.raises(UsageError, match="the dataset openi keeps the patients' ids of its publishers; leave"):
        lgdea.build_archive("openi", tmp_path, tmp_path / "c", patient_key=tmp_path / "never.key")
    assert not (tmp_path / "never.key").exists()


def test_the_key_is_made_for_its_owner_alone_and_said(tmp_path, caplog):
    file = tmp_path / "p.key"
    key = load_patient_key(file, outside=tmp_path / "a")
    assert file.stat().st_mode & 0o777 == 0o600
    assert f"made a new patient key: {file}" in caplog.text
    assert key._secret.decode() not in caplog.text + repr(key)
    assert key.fingerprint == load_patient_key(file, outside=None).fingerprint
    file.write_bytes(file.read_bytes().strip() + b"\r\n\r\n")  # as an editor saves it
    assert key.hash_id("1") == load_patient_key(file, outside=None).hash_id("1")


def _make(folder: Path, kind: str) -> Path:
    file = folder / "k"
    contents = {
        "empty": b"", "blank": b"\n" * 99, "short": b"0123456789abcdef", "one letter": b"a" * 64,
        "picture": bytes(range(256)) * 4, "two lines": b"0123456789abcdef\n" * 4, "long": b"0123456789" * 1000,
        "open": b"0123456789abcdef" * 4,
    }  # fmt: skip
    if kind in contents:
        file.write_bytes(contents[kind])
        file.chmod(0o640 if kind == "open" else 0o600)
    elif kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        make_pipe(file)
    elif kind == "device":
        return Path("/dev/zero")
    elif kind == "dangling":
        file.symlink_to(folder / "nowhere")
    elif kind == "no folder":
        return folder / "none" / "k"
    return file


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        *((k, "holds no patient key") for k in
          ("empty", "blank", "short", "one letter", "picture", "two lines", "long")),
        ("open", r"read or changed by others \(mode 640\); run chmod 600"),
        ("folder", "is a folder, not a patient key"),
        ("pipe", "is a named pipe, not a patient key"), ("device", "is a device, not a patient key"),
        ("dangling", "no such patient key"), ("no folder", "no such folder"),
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_trusted_is_refused(tmp_path, kind, message):
    with pytest.raises(UsageError, match=message) as caught:
        load_patient_key(_make(tmp_path, kind), outside=tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_the_key_lies_outside_the_archive_by_whatever_path(tmp_path):
    (tmp_path / "a" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "sub")
    for file in (tmp_path / "a" / "k", tmp_path / "link" / "k", tmp_path / "b" / ".." / "a" / "k"):
        with pytest.raises(UsageError, match="lies inside the archive that it protects"):
            load_patient_key(file, outside=tmp_path / "a")
    if os.geteuid():
        (tmp_path / "closed").write_bytes(b"x")
        (tmp_path / "closed").chmod(0)
        with pytest.raises(LgdeaError, match="cannot be read"):
            load_patient_key(tmp_path / "closed", outside=None)


def test_another_key_over_an_archive_is_said(tmp_path, caplog):
    file = _table(tmp_path / "a.csv", ["1"])
    for key in ("1.key", "1.key"):
        _build(file, tmp_path / key, tmp_path / "a")
    assert "stored otherwise" not in caplog.text
    _build(file, tmp_path / "2.key", tmp_path / "a")
    assert "patients' ids were stored otherwise before (by another key, or by none)" in caplog.text


def test_an_archive_without_the_entry_opens_as_before(tmp_path):
    made = ADAPTER.build(_table(tmp_path / "a.csv", ["1"]), tmp_path / "a")
    assert "patient_keys" not in json.loads((made.folder / "archive.json").read_text())
    assert made.patient_keys == {}


def test_patients_of_dicom_headers_are_hashed_by_the_key_or_named_by_their_first_study(tmp_path):
    source = layouts.siim(tmp_path / "source")
    plain = lgdea.build_archive("siim-acr", source, tmp_path / "a")
    again = lgdea.build_archive("siim-acr", source, tmp_path / "b")
    keyed = lgdea.build_archive("siim-acr", source, tmp_path / "c", patient_key=tmp_path / "p.key")
    pd.testing.assert_frame_equal(plain.studies, again.studies)  # no secret of a process decides
    assert set(plain.studies["patient_id"]) <= set(plain.studies["study_id"])
    key = load_patient_key(tmp_path / "p.key", outside=None)
    names = [f"siim-acr:{key.hash_id(f'{layouts.PRIVATE}{number}')}" for number in (0, 1, 2)]
    assert set(keyed.studies["patient_id"]) == set(names)
    same = [a.studies.groupby("patient_id")["study_id"].agg(sorted).tolist() for a in (plain, keyed)]
    assert sorted(same[0]) == sorted(same[1])
