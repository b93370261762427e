"""`lgdea data scrub` on disk, and the extraction that lets nothing unscrubbed leave the machine."""

from __future__ import annotations

import json
import socket
from importlib import util
from pathlib import Path

import pandas as pd
import pytest

from lgdea.errors import UsageError
from lgdea.evidence.backends.base import Request, Response
from lgdea.evidence.runner import extract
from lgdea.manifests import hash_file
from lgdea.records.archive import Archive, write_archive
from lgdea.records.from_frames import write_frames
from tests.helpers.command_line import run_lgdea

TEXT = "Seen by Dr. Okafor on 3/4/2019, MRN 1234567. Small left effusion."
CLEAN = "Seen by Dr. [NAME] on [DATE], MRN [ID]. Small left effusion."
SECRETS = ("Okafor", "3/4/2019", "1234567", "Vogelsang")


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    reports = pd.DataFrame(
        {
            "study_id": [1, 2, 3],
            "text": [TEXT, "The lungs are clear.", "Befund: Herr Vogelsang hat einen Pleuraerguss links."],
        }
    )
    made = write_frames({"reports": reports}, tmp_path / "letters", name="letters")
    mesh = pd.DataFrame({"report_id": ["letters:1"], "words": ["Dr. Okafor"], "n": [3]})
    refused = pd.DataFrame({"row": [1], "text": ["Vogelsang"]})
    tables = {name: getattr(made, name) for name in ("studies", "images", "reports", "boxes", "labels")}
    write_archive(made.folder, made.name, tables, made.image_root, made.info, {"mesh": mesh, "left_out": refused})
    return made.folder


def _everything(folder: Path) -> bytes:
    archive = Archive.open(folder)
    tables = [*("studies", "images", "reports", "boxes", "labels"), *archive.extra_names]
    frames = [pd.read_parquet(folder / f"{name}.parquet").to_json() for name in tables]
    return "".join([*frames, *(file.read_text() for file in folder.glob("*.json"))]).encode()


def test_no_identifier_is_left_in_the_archive_or_said(letters: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("philter_lite")
    code, out, err = run_lgdea(capsys, "data", "scrub", letters, "--out", tmp_path / "clean", "--verbose")
    assert code == 0, err
    assert not any(secret in out + err for secret in SECRETS)
    assert not any(secret.encode() in _everything(tmp_path / "clean") for secret in SECRETS)
    clean = Archive.open(tmp_path / "clean")
    assert list(clean.reports["text"]) == [
        CLEAN,
        "The lungs are clear.",
        "Befund: Herr [NAME] hat einen Pleuraerguss links.",
    ]
    assert clean.extra("mesh")["words"].item() == "Dr. [NAME]"
    assert clean.info["scrubbed"]["masks"] == {"DATE": 1, "ID": 1, "NAME": 2}
    counts = clean.extra("scrubbed")
    assert counts.groupby("type")["count"].sum().to_dict() == {"DATE": 1, "ID": 1, "NAME": 2}
    code, out, _ = run_lgdea(capsys, "verify", tmp_path / "clean")
    assert code == 0


def test_the_same_archive_gives_the_same_bytes_with_any_number_of_processes(
    letters: Path, tmp_path: Path, capsys
) -> None:
    pytest.importorskip("philter_lite")
    for name, workers in (("one", 1), ("two", 2)):
        code, _, err = run_lgdea(capsys, "data", "scrub", letters, "--out", tmp_path / name, "--workers", workers)
        assert code == 0, err
    for file in ("reports.parquet", "scrubbed.parquet", "archive.json"):
        assert hash_file(tmp_path / "one" / file) == hash_file(tmp_path / "two" / file)


def test_evidence_points_into_the_scrubbed_text(letters: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("philter_lite")
    assert run_lgdea(capsys, "data", "scrub", letters, "--out", tmp_path / "clean")[0] == 0
    assert run_lgdea(capsys, "extract", tmp_path / "clean", "--out", tmp_path / "evidence", "--max-rejected", 1)[0] == 0
    units = pd.read_parquet(tmp_path / "evidence" / "evidence.parquet")
    effusion = units[units["finding"] == "pleural_effusion"].iloc[0]
    assert CLEAN[effusion["start"] : effusion["end"]].startswith("Small left effusion")


def test_known_names_come_from_a_file(letters: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("philter_lite")
    (tmp_path / "staff.txt").write_text("\ufeffclear\n\n", encoding="utf-8")
    arguments = ["data", "scrub", letters, "--known", tmp_path / "staff.txt", "--out", tmp_path / "clean"]
    assert run_lgdea(capsys, *arguments)[0] == 0
    assert Archive.open(tmp_path / "clean").reports["text"][1] == "The lungs are [NAME]."
    code, _, err = run_lgdea(
        capsys, "data", "scrub", letters, "--known", tmp_path / "none.txt", "--out", tmp_path / "c"
    )
    assert code == 2
    assert "none.txt: cannot be read" in err
    code, _, err = run_lgdea(capsys, "data", "scrub", letters, "--out", letters)
    assert code == 2
    assert "is the archive itself" in err


def test_without_its_lists_nothing_is_scrubbed_by_halves(letters: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    from lgdea.deidentification import words

    words.load_words.cache_clear()
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    code, _, err = run_lgdea(capsys, "data", "scrub", letters, "--out", tmp_path / "clean")
    assert code == 2
    assert "pip install 'lgdea[scrub]'" in err
    assert not (tmp_path / "clean" / "archive.json").exists()


class _Away:
    """A backend on another machine, as it would be seen."""

    name = "away"
    needs_prompt = False
    is_remote = True

    def __init__(self) -> None:
        self.seen: list[str] = []

    def respond(self, requests):
        for request in requests:
            assert isinstance(request, Request)
            self.seen.append(request.text)
            yield Response(request.request_id, text='{"units": []}')

    def describe(self):
        return {"backend": self.name}


def test_only_scrubbed_reports_leave_the_machine(letters: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("philter_lite")
    backend = _Away()
    with pytest.raises(UsageError, match="data scrub"):
        extract(letters, backend, tmp_path / "refused")
    with pytest.raises(UsageError, match="allow-unscrubbed"):
        extract(pd.DataFrame({"report_id": ["1"], "text": [TEXT]}), backend, tmp_path / "refused")
    assert backend.seen == []
    assert not (tmp_path / "refused").exists()
    assert run_lgdea(capsys, "data", "scrub", letters, "--out", tmp_path / "clean")[0] == 0
    extract(tmp_path / "clean", backend, tmp_path / "scrubbed", max_rejected=1)
    assert backend.seen
    assert not any(secret in text for text in backend.seen for secret in SECRETS)
    extract(letters, backend, tmp_path / "asked-for", allow_unscrubbed=True, max_rejected=1)
    assert any("Okafor" in text for text in backend.seen)
    for folder, said in (("scrubbed", "scrubbed"), ("asked-for", "unscrubbed")):
        run = json.loads((tmp_path / folder / "run.json").read_text())
        assert run["config"]["reports_sent_away"] == said


def test_a_remote_server_is_refused_before_it_is_spoken_to(letters: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    def no_connection(*_, **__):
        raise AssertionError("the server was spoken to")

    monkeypatch.setattr(socket.socket, "connect", no_connection)
    remote = ["extract", letters, "--out", tmp_path / "out", "--backend", "http", "--url", "https://192.0.2.1/v1"]
    code, _, err = run_lgdea(capsys, *remote)
    assert code == 2
    assert "--allow-remote" in err
    code, _, err = run_lgdea(capsys, *remote, "--allow-remote")
    assert code == 2
    assert "lgdea data scrub" in err
    assert err.count("\n") == 1
