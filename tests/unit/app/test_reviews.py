"""Verdicts in reviewers' files: they survive, are what the import reads, and nobody's are lost in silence."""

from __future__ import annotations

import shutil
import threading

import pandas as pd
import pytest

from lgdea.annotation.corrections import import_corrections
from lgdea.app.reviews import ReviewFolder, is_added, reviewer_name, values_of
from lgdea.app.worklists import differing, doubted_links, doubtful, image_of, report_against_image
from lgdea.errors import DataError, LgdeaError, UsageError
from lgdea.evidence.io import read_evidence
from lgdea.records.links import without_wrong


@pytest.fixture
def bench(make_bench):
    return make_bench()


@pytest.fixture
def store(bench) -> ReviewFolder:
    return ReviewFolder(bench.settings.reviews, bench.archive, bench.settings.evidence)


def _report_with_units(store: ReviewFolder, least: int = 3) -> str:
    return next(report for report, units in store.mine.items() if len(units) >= least)


def test_nothing_is_written_before_the_first_verdict(store):
    block = store.open("Ann", _report_with_units(store))
    assert block.status == ""
    assert not store.folder.exists()


def test_accept_fix_and_add_become_corrections(store, bench, tmp_path):
    report = _report_with_units(store)
    block = store.open("Ann", report)
    first, second, third = block.units[:3]
    block = store.judge("Ann", block, first, "correct", {})
    block = store.judge("Ann", block, second, "wrong", {})
    changed = values_of(block.rows[third]) | {"severity": "severe", "laterality": "left"}
    block = store.judge("Ann", block, third, "fixed", changed)
    words = store.texts[report].split()[0]
    block = store.add("Ann", block, {"quote": words, "finding": "cardiac enlargement", "assertion": "uncertain"})
    assert block.status == "begun"
    block = store.finish("Ann", block, "others_correct")
    assert ReviewFolder(store.folder, bench.archive, bench.settings.evidence).statuses("ann") == {
        report: "others_correct"
    }

    made = import_corrections([store.file("Ann")], bench.archive, tmp_path / "corrections")
    units = read_evidence(tmp_path / "corrections")
    assert made.reports == 1
    assert len(units) == len(store.mine[report])  # one wrong, one added
    said = store.mine[report]
    assert said[1].unit_id not in set(units["unit_id"])
    fixed = units[(units["finding"] == said[2].finding) & (units["start"] == said[2].start)].iloc[0]
    assert (fixed["severity"], fixed["laterality"]) == ("severe", "left")
    added = units[units["quote"] == words].iloc[0]
    assert (added["finding"], added["assertion"]) == ("cardiomegaly", "uncertain")


def test_a_fix_can_be_taken_back_and_an_addition_removed(store):
    report = _report_with_units(store)
    block = store.open("Ann", report)
    unit = block.units[0]
    block = store.judge("Ann", block, unit, "fixed", values_of(block.rows[unit]) | {"severity": "severe"})
    block = store.judge("Ann", block, unit, "correct", {})
    assert block.rows[unit]["correct_severity"] == ""
    words = store.texts[report].split()[0]
    block = store.add("Ann", block, {"quote": words, "finding": "edema", "assertion": "present"})
    added = next(i for i in block.units if is_added(block.rows[i]))
    block = store.judge("Ann", block, added, "wrong", {})
    assert not [row for row in block.rows if is_added(row)]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"finding": "xyzzy"}, "not in the vocabulary"),
        ({"quote": "words that nobody wrote"}, "does not hold the words"),
        ({"assertion": "maybe"}, "must be one of"),
        ({}, "nothing is changed"),
    ],
)
def test_a_fix_that_cannot_be_is_refused_and_nothing_is_written(store, change, problem):
    block = store.open("Ann", _report_with_units(store))
    unit = block.units[0]
    with pytest.raises(LgdeaError, match=problem) as error:
        store.judge("Ann", block, unit, "fixed", values_of(block.rows[unit]) | change)
    assert "row" not in str(error.value).split(":")[0]
    assert not store.folder.exists()


def test_a_report_is_complete_only_when_every_unit_has_a_verdict(store):
    block = store.open("Ann", _report_with_units(store))
    with pytest.raises(DataError, match="has no verdict"):
        store.finish("Ann", block, "complete")


def test_two_windows_of_one_reviewer_do_not_overwrite_each_other(store):
    report = _report_with_units(store)
    one, other = store.open("Ann", report), store.open("Ann", report)
    seen = store.judge("Ann", one, one.units[0], "correct", {})
    with pytest.raises(UsageError, match="changed in another window"):
        store.judge("Ann", other, other.units[0], "wrong", {})
    assert store.open("Ann", report) == seen
    with pytest.raises(UsageError, match="changed in another window"):
        store.finish("Ann", one, "others_correct")  # seen before its own verdict


def test_two_reviewers_have_a_file_each_and_what_they_differ_in_is_listed(store, bench, tmp_path):
    report = _report_with_units(store)
    for name, verdict in (("Ann", "correct"), ("Ben", "wrong")):
        block = store.open(name, report)
        block = store.judge(name, block, block.units[0], verdict, {})
        store.finish(name, block, "others_correct")
    assert store.others("Ann", report) == ["ben"]
    made = import_corrections([store.file("Ann"), store.file("Ben")], bench.archive, tmp_path / "corrections")
    assert made.reports == 0
    assert {c.report_id for c in made.conflicts} == {report}


def test_reviewers_at_once_lose_nothing(store):
    reports = list(store.mine)[:6]

    def work(name: str) -> None:
        for report in reports:
            store.finish(name, store.open(name, report), "others_correct")

    threads = [threading.Thread(target=work, args=(name,)) for name in ("Ann", "Ben", "Cem")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("Ann", "Ben", "Cem"):
        assert store.statuses(name) == dict.fromkeys(reports, "others_correct")


@pytest.mark.parametrize("name", ["", "  ", "../x", "a/b", "a\\b", ".hidden", "x" * 41, "a\nb/..", "nul\0", "end."])
def test_a_name_that_cannot_be_a_files_is_refused(store, name):
    with pytest.raises(UsageError):
        store.file(name)


def test_names_are_files_of_their_folder(store):
    assert store.file("Ann") == store.file("ANN")
    assert store.file("Dr. Jürgen Öz").parent == store.folder
    assert reviewer_name("  Ann  B ") == "Ann B"


def test_readers_that_differ_come_first_and_one_reading_excludes_the_other(make_bench, folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder / "evidence", other)
    units = read_evidence(other)
    report = str(units["report_id"].iloc[0])
    chosen = (units["report_id"] == report) & (units["assertion"] == "present")
    flipped = units[chosen].index[:1] if chosen.any() else units[units["report_id"] == report].index[:1]
    was = units.loc[flipped[0], "assertion"]
    units.loc[flipped, "assertion"] = "absent" if was == "present" else "present"
    from lgdea.evidence.io import EVIDENCE
    from lgdea.evidence.schema import Unit
    from lgdea.records.tables import write_table

    write_table(
        other / EVIDENCE,
        [Unit(**row) for row in units.astype(object).where(units.notna(), None).to_dict("records")],
        Unit,
    )
    manifest = other / "run.json"
    import json

    content = {k: v for k, v in json.loads(manifest.read_text()).items() if k not in ("sha256", "files")}
    manifest.write_text(json.dumps(content))
    bench = make_bench(against=other)
    tasks = differing(bench)
    assert [task.report_id for task in tasks] == [report]
    store = ReviewFolder(bench.settings.reviews, bench.archive, bench.settings.evidence, other)
    block = store.open("Ann", report)
    pair = [i for i in block.units if block.rows[i]["differs"]]
    assert len(pair) == 2
    block = store.judge("Ann", block, pair[0], "correct", {})
    assert [block.rows[i]["verdict"] for i in pair] == ["correct", "wrong"]
    with pytest.raises(DataError, match="two readings"):
        store.judge("Ann", block, pair[1], "correct", {})


def test_the_reader_was_unsure_of_uncertain_and_inexact_words(bench):
    units = read_evidence(bench.settings.evidence)
    unsure = units[(units["assertion"] == "uncertain") | (units["alignment"] != "exact")]
    assert {task.report_id for task in doubtful(bench)} == set(unsure["report_id"])


def test_reports_are_compared_with_images_by_the_worst_finding(bench):
    tasks = report_against_image(bench)
    probabilities = [
        (task.reason.split("says ")[1].split(",")[0], float(task.reason.split(" P ")[1][:4])) for task in tasks
    ]
    gaps = [1 - p if said == "present" else p for said, p in probabilities]
    assert len(tasks) > 10
    assert gaps == pytest.approx(sorted(gaps, reverse=True), abs=0.011)
    assert image_of(bench, tasks[0].report_id) in bench.image_ids


def test_lists_that_need_more_say_what(make_bench):
    for work, bench in (
        (differing, make_bench()), (doubted_links, make_bench()), (doubtful, make_bench(evidence=None)),
        (report_against_image, make_bench("global")),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            work(bench)


def test_doubted_links_are_judged_in_the_format_that_pairing_reads(make_bench, tmp_path):
    plain = make_bench()
    reports = plain.archive.reports.head(3)
    rows = pd.DataFrame({
        "rank": [1, 2, 3], "study_id": reports["study_id"], "report_id": reports["report_id"],
        "image_id": [image_of(plain, r) for r in reports["report_id"]], "p_wrong": [0.9, 0.5, 0.1],
        "disagreement": [0.1, 0.1, 0.1], "reason": ["effusion", "edema", "mass"], "wrong": "",
    })  # fmt: skip
    rows.to_csv(tmp_path / "doubts.csv", index=False)
    bench = make_bench(doubts=tmp_path / "doubts.csv")
    tasks = doubted_links(bench)
    assert [task.report_id for task in tasks] == reports["report_id"].tolist()
    store = ReviewFolder(bench.settings.reviews, bench.archive, bench.settings.evidence)
    store.judge_link("Ann", tasks[0].link, True)
    store.judge_link("Ann", tasks[1].link, True)
    file = store.judge_link("Ann", tasks[1].link, False)
    studies = reports["study_id"].tolist()
    assert store.link_verdicts("Ann") == {studies[0]: "wrong", studies[1]: "right"}
    pairing = pd.DataFrame({"study_id": studies, "state": "paired"})
    assert without_wrong(pairing, file)["state"].tolist() == ["unlinked", "paired", "paired"]
