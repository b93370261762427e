"""Evidence in Python: the same units as on the command line, and nothing of a report becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lgdea
from lgdea.errors import DataError, RejectedShareError, UsageError
from lgdea.evidence.io import read_evidence
from lgdea.evidence.schema import Unit
from lgdea.phantom import generate
from lgdea.records.archive import Archive
from tests.helpers.command_line import run_lgdea
from tests.helpers.openai_server import OpenAIServer, Reply

pytestmark = pytest.mark.filterwarnings("ignore:.*were rejected")
TEXTS = {
    "a": "FINDINGS: Small left pleural effusion. No pneumothorax.\nIMPRESSION: Small left pleural effusion.",
    "b": "FINDINGS: Possible pneumonia. No pneumonia in the right lung. Mild cardiomegaly.",
    "c": "",
    "d": "The patient could not be examined.",
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return generate(tmp_path_factory.mktemp("phantom") / "archive", studies=40, size=64)


@pytest.fixture(scope="module")
def evidence(archive: Archive) -> lgdea.Evidence:
    return lgdea.extract(archive)


def test_in_memory_equals_the_command_line(
    archive: Archive, evidence: lgdea.Evidence, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_lgdea(capsys, "extract", archive.folder, "--out", tmp_path / "cli")[0] == 0
    assert evidence == lgdea.load_evidence(tmp_path / "cli")
    evidence.save(tmp_path / "saved")
    for name in ("evidence.parquet", "rejects.jsonl", "quality.json"):
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "cli" / name).read_bytes()
    again = lgdea.extract(str(archive.folder), out=tmp_path / "cli")
    assert again == evidence
    assert again.folder == tmp_path / "cli"
    assert evidence.folder is None


def test_units_are_typed_and_made_when_asked_for(evidence: lgdea.Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    validate = Unit.model_validate
    monkeypatch.setattr(Unit, "model_validate", lambda row: made.append(row) or validate(row))
    assert len(evidence) > 100
    assert made == []
    unit = evidence[-1]
    assert type(unit) is Unit
    assert len(made) == 1
    assert next(iter(evidence[5:])) == evidence[5]
    frame = evidence.to_frame()
    assert [unit.unit_id for unit in evidence] == list(frame["unit_id"])
    frame["quote"] = "changed"
    assert evidence[0].quote != "changed"
    with pytest.raises(IndexError):
        _ = evidence[len(evidence)]
    assert isinstance(evidence[2:4], lgdea.Evidence)
    assert list(evidence[2:4]) == [evidence[2], evidence[3]]


def test_a_report_has_its_units_its_text_and_its_rejects(archive: Archive, evidence: lgdea.Evidence) -> None:
    for report, text in zip(archive.reports["report_id"], archive.reports["text"], strict=True):
        mine = evidence.for_report(report)
        assert list(mine) == [unit for unit in evidence if unit.report_id == report]
        assert all(text[unit.start : unit.end] == unit.quote for unit in mine)
    small = lgdea.extract(TEXTS)
    assert small.reports == TEXTS
    assert [reject.reason for reject in small.for_report("c").rejects] == ["empty_report"]
    assert len(small.for_report("d")) == 0
    with pytest.raises(UsageError, match="no report 'x'"):
        small.for_report("x")


@pytest.mark.parametrize("uncertain", ["ignore", "present", "absent"])
def test_findings_are_those_of_a_loop_over_the_units(uncertain: str) -> None:
    evidence = lgdea.extract(TEXTS)
    assert {unit.assertion for unit in evidence} == {"present", "absent", "uncertain"}
    labels = evidence.findings(uncertain)
    assert list(labels.index) == list(TEXTS)
    assert set(labels.columns) == {unit.finding for unit in evidence}
    for report in TEXTS:
        for finding in labels.columns:
            stated = {u.assertion for u in evidence if (u.report_id, u.finding) == (report, finding)}
            if "present" in stated:
                expected = 1.0
            elif "uncertain" in stated:
                expected = {"ignore": np.nan, "present": 1.0, "absent": 0.0}[uncertain]
            else:
                expected = 0.0 if stated else np.nan
            assert labels.loc[report, finding] == pytest.approx(expected, nan_ok=True), (report, finding)


def test_a_saved_folder_comes_back_equal_and_serves_the_commands(
    archive: Archive, evidence: lgdea.Evidence, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = evidence.save(tmp_path / "e")
    loaded = lgdea.load_evidence(folder)
    assert loaded == evidence
    assert loaded.rejects == evidence.rejects
    assert loaded.summary == evidence.summary
    assert loaded.run_id == evidence.run_id
    assert loaded.reports == dict(zip(archive.reports["report_id"], archive.reports["text"], strict=True))
    pd.testing.assert_frame_equal(loaded.findings(), evidence.findings())
    assert evidence.save(folder) == folder
    assert loaded.save(tmp_path / "copy") == tmp_path / "copy"
    assert lgdea.load_evidence(tmp_path / "copy") == evidence
    score = ("extract", "score", folder, "--gold", "phantom", "--archive", archive.folder)
    assert run_lgdea(capsys, *score)[0] == 0
    assert run_lgdea(capsys, "extract", archive.folder, "--out", folder)[0] == 0  # it is this run, and finished
    with pytest.raises(UsageError, match="holds something else"):
        lgdea.extract(TEXTS).save(folder)
    with pytest.raises(UsageError, match="part of a run"):
        evidence[:3].save(tmp_path / "part")


def test_scores_are_the_command_lines_and_another_archive_is_refused(
    archive: Archive, evidence: lgdea.Evidence, tmp_path: Path
) -> None:
    folder = evidence.save(tmp_path / "e")
    in_memory, of_folder = evidence.score("phantom"), lgdea.load_evidence(folder).score("phantom", archive)
    assert in_memory == of_folder
    assert in_memory.micro.f1 > 0.9
    few = lgdea.extract(archive, limit=10).score("phantom")
    assert (few.reports, few.not_asked) == (10, 30)  # what was not to be read is not missed
    assert few.micro.recall > 0.9
    other = generate(tmp_path / "other", studies=40, size=64, seed=5)
    for scored in (evidence, lgdea.load_evidence(folder)):
        with pytest.raises(UsageError, match="other reports"):
            scored.score("phantom", other)
    with pytest.raises(UsageError, match="part of a run"):
        evidence[:5].score("phantom")
    with pytest.raises(UsageError, match="needs its archive"):
        lgdea.extract(TEXTS).score("phantom")


def test_other_evidence_can_be_the_gold() -> None:
    evidence = lgdea.extract(TEXTS)
    same = evidence.score(evidence)
    assert (same.micro.precision, same.micro.recall, same.reports) == (1.0, 1.0, 3)  # the empty report says nothing
    less = lgdea.extract({**TEXTS, "a": TEXTS["a"].replace("No pneumothorax", "No pneumothorax")})
    assert less.score(evidence).micro.f1 == 1.0
    with pytest.raises(UsageError, match="other reports"):
        lgdea.extract({"a": "Edema."}).score(evidence)
    with pytest.raises(UsageError, match="other reports"):
        lgdea.extract({"z": "Edema."}).score(evidence)


class _Structure(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("has_text", [True, False])
def test_nothing_of_a_report_is_markup_in_a_notebook(has_text: bool) -> None:
    text = '<script>alert("x")</script> Small left pleural effusion & <img src=x onerror=alert(1)> no </pre> edema.'
    evidence = lgdea.extract({'<b>"id"</b>': text})
    assert len(evidence) == 2
    shown = evidence if has_text else lgdea.Evidence(evidence.to_frame())
    structure = _Structure()
    structure.feed(shown._repr_html_())
    assert structure.tags == {"div", "style", "p", "mark", "pre"}
    assert '<b>"id"</b>' in structure.text
    assert (text if has_text else evidence[1].quote) in structure.text


def test_a_notebook_shows_the_first_reports_and_says_how_many_there_are(evidence: lgdea.Evidence) -> None:
    html = evidence._repr_html_()
    assert html.count("<pre>") == 5
    assert "5 shown" in html
    assert "<script" not in html
    assert "http" not in html  # nothing is fetched


def test_a_notebook_has_the_colours_of_the_pages() -> None:
    templates = resources.files("lgdea.reporting") / "templates"
    pages, notebook = ((templates / name).read_text(encoding="utf-8") for name in ("style.css", "notebook.css"))
    colour = re.compile(r"--(?:present|absent|uncertain|ink|muted|line|surface)(?:-bg)?: #[0-9a-f]{6};")
    wanted = set(colour.findall(pages))
    assert len(wanted) == 20  # ten of the light theme, ten of the dark one
    assert set(colour.findall(notebook)) == wanted


def test_a_terminal_shows_counts_and_the_first_units(evidence: lgdea.Evidence) -> None:
    lines = repr(evidence).splitlines()
    assert lines[0].startswith("Evidence(40 reports, ")
    assert "rules" in lines[0]
    assert len(lines) == 10
    assert repr(lgdea.extract("Mild cardiomegaly.")).splitlines()[0].startswith("Evidence(1 report, 1 unit, 0 rejects")


def test_reports_come_in_many_forms() -> None:
    frame = pd.DataFrame({"report_id": list(TEXTS), "text": list(TEXTS.values()), "more": 1})
    assert list(lgdea.extract(frame)) == list(lgdea.extract(TEXTS))
    assert lgdea.extract(pd.Series(TEXTS)).report_ids == list(TEXTS)
    assert lgdea.extract(list(TEXTS.values())).report_ids == ["0", "1", "2", "3"]
    assert lgdea.extract("Mild cardiomegaly.")[0].report_id == "0"
    nothing = lgdea.extract([])
    assert (len(nothing), nothing.report_ids, nothing.findings().shape) == (0, [], (0, 0))
    assert repr(nothing).startswith("Evidence(0 reports")
    assert "<pre>" not in nothing._repr_html_()


@pytest.mark.parametrize(
    ("reports", "error", "says"),
    [
        (pd.DataFrame({"words": ["x"]}), DataError, "lack the column"),
        (pd.DataFrame({"report_id": ["a", "a"], "text": ["x", "y"]}), DataError, "'a' is used twice"),
        (["x", 3], UsageError, "report '1' is int, not text"),
        (7, UsageError, "int holds no reports"),
        ("archives/none", UsageError, "no such archive"),
        (Path("none"), UsageError, "no such archive"),
    ],
)
def test_what_is_no_report_is_one_clear_line(reports: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        lgdea.extract(reports)  # type: ignore[arg-type]
    assert len(str(raised.value).splitlines()) == 1


def test_rejects_are_kept_and_warned_of_in_memory(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"50\.0% of the reports were rejected"):
        evidence = lgdea.extract(["", "Edema."])
    assert [(reject.report_id, reject.reason) for reject in evidence.rejects] == [("0", "empty_report")]
    assert evidence.summary["rejected_by_reason"] == {"empty_report": 1}
    with pytest.raises(RejectedShareError):
        lgdea.extract(["", "Edema."], max_rejected=0.1)
    with pytest.raises(RejectedShareError):
        lgdea.extract(["", "Edema."], out=tmp_path / "e")
    assert len(lgdea.load_evidence(tmp_path / "e")) == 1


def test_settings_are_checked_and_reach_the_backend() -> None:
    with pytest.raises(UsageError, match="no backend 'ruls'"):
        lgdea.extract("Edema.", backend="ruls")
    with pytest.raises(UsageError, match="limt"):
        lgdea.extract("Edema.", limt=3)
    assert lgdea.extract(["Edema."] * 3, limit=2).report_ids == ["0", "1"]


def test_a_language_model_behind_a_server(tmp_path: Path) -> None:
    answer = (
        '{"units": [{"quote": "left effusion", "finding": "pleural_effusion", "finding_text": "effusion", '
        '"assertion": "present", "laterality": "left"}, {"quote": "edema", "finding": "edema", '
        '"finding_text": "edema", "assertion": "present"}]}'
    )
    with OpenAIServer(lambda _: Reply(answer)) as server:
        evidence = lgdea.extract(
            {"r": "There is a left effusion."}, backend="http", url=server.url, options={"max_tokens": 64}
        )
        assert server.seen[0].body["max_tokens"] == 64
    assert [(unit.finding, unit.laterality, unit.quote) for unit in evidence] == [
        ("pleural_effusion", "left", "left effusion")
    ]
    assert [reject.reason for reject in evidence.rejects] == ["quote_not_in_report"]
    assert "http tiny" in repr(evidence)


def test_texts_can_be_given_to_a_folder_and_are_checked(tmp_path: Path) -> None:
    folder = lgdea.extract(TEXTS, out=tmp_path / "e", max_rejected=1).folder
    assert folder is not None
    assert lgdea.load_evidence(folder).reports is None
    assert "pleural effusion" in lgdea.load_evidence(folder)._repr_html_()
    assert lgdea.load_evidence(folder, TEXTS).reports == TEXTS
    for other in ({**TEXTS, "a": "Another text."}, {"a": TEXTS["a"]}):
        with pytest.raises(UsageError, match="other reports"):
            lgdea.load_evidence(folder, other)


def test_a_damaged_or_missing_folder_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such evidence"):
        lgdea.load_evidence(tmp_path / "none")
    folder = lgdea.extract("Edema.", out=tmp_path / "e").folder
    assert folder is not None
    (folder / "evidence.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is not as it was written"):
        lgdea.load_evidence(folder)
    with pytest.raises((UsageError, DataError)):
        read_evidence(folder)
