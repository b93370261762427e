"""What the tabs say: reports, phrases, cases, comparisons and runs, on a phantom with untrained models."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lgdea
from lgdea.app.bench import AppSettings, Bench
from lgdea.app.cases import find
from lgdea.app.changes import compare_with_prior, compare_with_references, list_pairs
from lgdea.app.fragments import alert, problem_line, sheet_html, table
from lgdea.app.images import answer_html, ask, findings_html, list_findings
from lgdea.app.reports import LONGEST, marked_html, read_report, readers, units_html, write_files
from lgdea.app.runs import index_runs, run_html
from lgdea.errors import DataError, UsageError
from lgdea.records.csv_io import read_spreadsheet
from tests.helpers.openai_server import OpenAIServer, Reply

TEXT = "FINDINGS: Small left pleural effusion <img src=x onerror=alert(1)>. No pneumothorax.\nPossible edema."
SETTINGS = AppSettings(model="m", archive=Path("a"))


def test_a_report_is_marked_in_words_and_escaped():
    read = read_report(TEXT, SETTINGS)
    page = marked_html(read.text, read.units)
    for words in ("pleural effusion: present", "left", "pneumothorax: absent", "edema: uncertain"):
        assert words in page
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "3 pieces of evidence, read by rules" in units_html(read)


def test_a_report_that_looks_like_a_path_is_read_as_text(tmp_path):
    read = read_report(str(tmp_path), SETTINGS)  # a folder that exists
    assert len(read.units) == 0
    assert "nothing was found" in units_html(read)


@pytest.mark.parametrize(
    ("text", "problem"), [("", "is empty"), (" \n ", "is empty"), ("x" * (LONGEST + 1), "characters")]
)
def test_what_cannot_be_read_is_one_line(text, problem):
    with pytest.raises(UsageError, match=problem):
        read_report(text, SETTINGS)


def test_evidence_can_be_taken_away(tmp_path):
    read = read_report("Left effusion. =HYPERLINK(1) No nodule.", SETTINGS)
    as_json, as_csv = write_files(read, tmp_path / "new")
    content = json.loads(as_json.read_text())
    units = content["units"]
    assert (units[0]["finding"], units[0]["laterality"]) == ("pleural_effusion", "left")
    assert all(content["text"][u["start"] : u["end"]] == u["quote"] for u in units)
    assert [row["quote"] for _, row in read_spreadsheet(as_csv, ["quote"])] == [u["quote"] for u in units]
    cells = [cell for row in csv.reader(as_csv.open(encoding="utf-8-sig")) for cell in row]
    assert not [cell for cell in cells if cell.startswith("=")]


def test_a_served_model_reads_too():
    answer = json.dumps({"units": [{"quote": "Left effusion", "finding": "pleural_effusion", "assertion": "present"}]})
    with OpenAIServer(lambda seen: Reply(answer)) as server:
        settings = AppSettings(
            model="m", archive=Path("a"), url=server.url, language_model="tiny", prompt="sentence-v2"
        )
        assert readers(settings) == ["rules", "tiny"]
        read = read_report("Left effusion.", settings, "tiny")
    assert read.reader == "tiny"
    assert len(server.seen) >= 1


@pytest.mark.parametrize(
    "url",
    [
        "http://films.example/v1",
        "http://10.0.0.7:8000/v1",
        "http://127.0.0.1@films.example/v1",
        "127.0.0.1:8000",
        "",
        "x",
    ],
)
def test_report_text_does_not_leave_the_machine_and_no_name_is_looked_up(url, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("a name was looked up"))
    settings = AppSettings(model="m", archive=Path("a"), url=url, language_model="tiny")
    with pytest.raises(UsageError, match="to this machine alone"):
        read_report("Left effusion.", settings, "tiny")


def test_a_phrase_is_answered_in_source_pixels(make_bench):
    bench = make_bench()
    pixels = bench.read_pixels(bench.image_ids[0])
    answer = ask(bench, pixels, "  left   pleural effusion ")
    assert answer.scale * max(pixels.shape) >= 512
    assert answer.picture.height >= answer.scale * pixels.shape[0]
    assert 0 <= answer.score <= 1
    said = answer_html(answer, "<b>id</b>")
    assert "not calibrated" in said
    assert "&lt;b&gt;id" in said
    direct = bench.model.score_phrases([pixels], ["left pleural effusion"])[0, 0]
    assert answer.score == pytest.approx(float(direct))


def test_a_cosine_is_not_called_a_probability(make_bench):
    bench = make_bench("global")
    pixels = bench.read_pixels(bench.image_ids[0])
    said = answer_html(ask(bench, pixels, "edema"), "x")
    assert "no probability" in said
    listed = findings_html(list_findings(bench, pixels), bench.model.scoring)
    assert "probab" not in listed
    assert "cosine" in listed


def test_findings_are_listed_most_probable_first(make_bench):
    bench = make_bench()
    found = list_findings(bench, bench.read_pixels(bench.image_ids[0]), 7)
    assert len(found) == 7
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    assert "not calibrated" in findings_html(found, "presence")


@pytest.mark.parametrize("phrase", ["", "   ", "x" * 301])
def test_a_phrase_that_is_none_is_one_line(make_bench, phrase):
    with pytest.raises(UsageError, match="phrase"):
        ask(make_bench(), np.zeros((64, 64), np.float32), phrase)


def test_images_are_found_by_a_part_of_their_id(make_bench):
    bench = make_bench()
    whole = bench.image_ids[3]
    assert bench.find_image(f" {whole} ") == whole
    assert bench.find_image(whole.removeprefix("phantom:")) == whole
    for wrong, problem in (
        ("", "no image is chosen"),
        ("phantom", "60|images have"),
        ("../../etc/passwd", "has no image"),
    ):
        with pytest.raises(UsageError, match=problem):
            bench.find_image(wrong)


@pytest.mark.parametrize("path", ["../outside.png", "/etc/passwd", "images/../../outside.png"])
def test_no_picture_outside_the_archive_is_shown(make_bench, folder, path):
    bench = make_bench()
    (folder / "outside.png").write_bytes((folder / "archive" / bench.archive.images["path"].iloc[0]).read_bytes())
    images = bench.archive.images.copy()
    images.loc[0, "path"] = path
    bench.archive = bench.archive.with_tables(images=images)
    first = str(images.loc[0, "image_id"])
    for show in (lambda: bench.read_pixels(first), lambda: find(bench, "edema", first, top=1)):
        with pytest.raises(DataError, match="outside the archive"):
            show()


def test_an_archive_without_images_is_one_line(tmp_path):
    reports = pd.DataFrame({"study_id": ["1"], "text": ["Edema."]})
    archive = lgdea.build_archive("mine", reports=reports, out=tmp_path / "mine")
    bench = Bench(AppSettings(model="m", archive=archive.folder))
    with pytest.raises(UsageError, match="has no images"):
        bench.find_image("x")
    with pytest.raises(UsageError, match="no study"):
        compare_with_prior(bench, "")


def test_a_link_out_of_the_archive_is_not_followed(make_bench, tmp_path):
    from lgdea.phantom import generate

    archive = generate(tmp_path / "linked", studies=4, size=64)
    file = archive.image_path(archive.images["image_id"].iloc[0])
    file.rename(tmp_path / "elsewhere.png")
    file.symlink_to(tmp_path / "elsewhere.png")
    bench = Bench(AppSettings(model="m", archive=archive.folder))
    with pytest.raises(DataError, match="outside the archive"):
        bench.read_pixels(str(archive.images["image_id"].iloc[0]))


def test_cases_are_ranked_by_the_entity_head_where_there_is_one(make_bench):
    bench = make_bench("heads")
    query = bench.image_ids[0]
    found = find(bench, "left pleural effusion", query, top=3)
    assert found.notes[0].startswith("ranked by the entity head")
    patient = query.split("s")[0]
    ids = [column.lines[1] for column in found.sheet.columns]
    assert ids[0] == query
    assert len(ids) == 4
    assert not [one for one in ids[1:] if one.startswith(patient)]


def test_without_an_entity_head_the_page_says_so(make_bench):
    bench = make_bench()
    query = bench.image_ids[0]
    found = find(bench, "left pleural effusion", query, top=3, split="test")
    assert "no entity head" in found.notes[0]
    assert "zero-shot" in found.notes[0]
    assert found.sheet.columns[0].lines[:2] == ("query", query)
    without = find(bench, "cardiomegaly", None, top=2)
    scores = [float(column.lines[2].split()[-1]) for column in without.sheet.columns]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 2
    page = sheet_html(without.sheet)
    assert page.count("<img") == 4
    assert page.count("alt=") == 4
    with pytest.raises(UsageError, match="no word"):
        find(bench, "xyzzy", None)


def test_a_search_that_is_cut_short_says_so(make_bench, monkeypatch):
    monkeypatch.setattr("lgdea.app.cases.MOST_SEARCHED", 5)
    assert "the first 5 of 60 images" in find(make_bench(), "edema", None, top=2).notes[1]


def test_the_change_head_tells_states_and_without_it_two_readings(make_bench):
    bench = make_bench("heads")
    study = list_pairs(bench)["study_current"].iloc[0]
    found = compare_with_prior(bench, study, "pleural effusion, cardiomegaly")
    assert found.notes == ()
    assert [row[0] for row in found.sheet.rows] == ["pleural effusion", "cardiomegaly"]
    bare = compare_with_prior(make_bench(), study, "pleural effusion")
    assert "no change head" in bare.notes[0]
    assert bare.sheet.head == ("finding", "prior", "current", "difference")
    before, now, gap = map(float, bare.sheet.rows[0][1:])
    assert gap == pytest.approx(now - before, abs=0.011)


def test_a_study_without_a_prior_is_one_line(make_bench):
    bench = make_bench()
    first = next(s for s in bench.archive.studies["study_id"] if s not in set(list_pairs(bench)["study_current"]))
    with pytest.raises(DataError, match="has no prior"):
        compare_with_prior(bench, first)
    with pytest.raises(UsageError, match="no study"):
        compare_with_prior(bench, "nobody")


def test_a_query_beside_references_says_what_the_model_lacks(make_bench):
    bench = make_bench()
    found = compare_with_references(bench, bench.image_ids[0], "pleural effusion", strategy="random")
    assert "one image at a time" in found.notes[0]
    assert [column.lines[0] for column in found.sheet.columns[:2]] == ["query alone", "beside references"]
    with pytest.raises(UsageError, match="names no finding"):
        compare_with_references(bench, bench.image_ids[0], "heart")


def test_runs_of_a_folder_are_shown_and_nothing_beside_it(tmp_path):
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("objective: <script>\n")
    (run / "metrics.csv").write_text("step,loss\n1,2.0\n2,1.0\n")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "config.yaml").write_text("a: 1\n")
    (tmp_path / "secret" / "metrics.csv").write_text("step,loss\n1,2.0\n")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "secret")
    index = index_runs(tmp_path / "runs")
    assert index.names == ["first"]
    page = run_html(index, "first")
    assert "loss over training steps" in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "not finished" in page
    for name in ("../secret", "link", str(tmp_path / "secret"), ""):
        with pytest.raises(UsageError, match="no run"):
            run_html(index, name)
    with pytest.raises(UsageError, match="no such folder"):
        index_runs(tmp_path / "nothing")


def test_a_damaged_run_is_one_line(tmp_path):
    (tmp_path / "metrics.csv").write_text("loss\n1\n")
    (tmp_path / "config.yaml").write_text("a: [\n")
    with pytest.raises(DataError):
        run_html(index_runs(tmp_path), ".")


def test_fragments_are_escaped_and_name_no_folder():
    assert "<b>x" not in table("<b>x", ("<b>x", "<b>y"), [("<b>x", "<b>x")])
    assert "<script>" not in alert("<script>")
    error = DataError("is damaged", file="/home/somebody/archive/images/a.png", row=3, remedy="fetch it again")
    assert problem_line(error) == "a.png row 3: is damaged; fetch it again"
