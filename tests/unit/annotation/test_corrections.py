from __future__ import annotations

import csv
import json

import pandas as pd
import pytest

from lgdea.annotation.corrections import InvalidReviewError, import_corrections, is_corrections
from lgdea.annotation.export_review import COLUMNS, reports_read, write_review
from lgdea.annotation.scoring import score
from lgdea.cli import main
from lgdea.errors import DataError, UsageError
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.backends.replay import text_hash
from lgdea.evidence.io import read_evidence
from lgdea.evidence.runner import extract

TEXTS = {
    "a": "FINDINGS: Small left pleural effusion. No pneumothorax.\nIMPRESSION: Small left pleural effusion.",
    "b": "FINDINGS: Heart size is normal. There is a nodule in the right upper lobe.\nIMPRESSION: Nodule.",
    "c": "COMPARISON: None.\nThe patient could not be examined.",
    "d": "FINDINGS: - No pneumonia.\n- Possible atelectasis.\n\nIMPRESSION: \"Mild\" cardiomegaly; übrig 🫁.",
    "e": "",
    "f": "FINDINGS: The lungs are clear. No pleural effusion.",
}  # fmt: skip


@pytest.fixture
def world(tmp_path, make_archive):
    archive = make_archive(tmp_path / "archive", TEXTS)
    extract(archive, get_backend("rules"), tmp_path / "rules", max_rejected=1)
    return archive, tmp_path / "rules"


def read(file) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def save(file, rows, *, delimiter=",", end="\r\n", encoding="utf-8-sig") -> None:
    with file.open("w", encoding=encoding, newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter, lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)


def reviewed(world, tmp_path, verdict="others_correct", **more):
    """A review file of all reports, in which every report has the verdict."""
    archive, rules = world
    write_review(rules, archive, tmp_path / "blank.csv", count=100, **more)
    rows = read(tmp_path / "blank.csv")
    for row in rows:
        if row["row"] == "report":
            row["verdict"] = verdict
    return rows


def find(rows, report, finding, kind="unit"):
    return next(r for r in rows if (r["report_id"], r["row"]) == (report, kind) and r["finding"] == finding)


def test_a_review_file_holds_every_unit_and_every_report(world, tmp_path):
    archive, rules = world
    made = write_review(rules, archive, tmp_path / "r.csv", count=100)
    rows = read(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert list(rows[0]) == list(COLUMNS)
    assert made.reports == 5  # a report without text is not to be reviewed, one without units is
    assert made.without_units == 1
    units = read_evidence(rules)
    assert made.units == len(units) == sum(r["row"] == "unit" for r in rows)
    for kind in ("report", "missed"):
        assert sorted(r["report_id"] for r in rows if r["row"] == kind) == ["r:a", "r:b", "r:c", "r:d", "r:f"]
    assert {r["context"] for r in rows if r["row"] == "report"} == set(TEXTS.values()) - {""}
    nodule = find(rows, "r:b", "nodule")
    assert nodule["context"] == "There is a nodule in the right upper lobe."
    assert nodule["verdict"] == nodule["correct_finding"] == ""


def test_the_draw_is_seeded_and_a_shorter_one_is_its_beginning(world, tmp_path):
    archive, rules = world
    orders = {}
    for name, count, seed in (("a", 5, 0), ("b", 3, 0), ("c", 5, 1)):
        write_review(rules, archive, tmp_path / f"{name}.csv", count=count, seed=seed)
        orders[name] = [r["report_id"] for r in read(tmp_path / f"{name}.csv") if r["row"] == "report"]
    assert orders["b"] == orders["a"][:3]
    assert orders["c"] != orders["a"]


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8-sig"), (";", "utf-8"), ("\t", "utf-16")])
def test_corrections_score_the_run_as_the_reviewer_judged_it(world, tmp_path, delimiter, encoding):
    archive, rules = world
    rows = reviewed(world, tmp_path)
    total = sum(r["row"] == "unit" for r in rows)
    find(rows, "r:a", "pneumothorax")["verdict"] = "wrong"
    find(rows, "r:b", "nodule").update(verdict="fixed", correct_assertion="Uncertain")
    find(rows, "r:d", "cardiomegaly").update(
        verdict="Fixed", correct_severity="severe", correct_quote='"Mild" cardiomegaly'
    )
    missed = find(rows, "r:c", "", "missed")
    missed.update(
        correct_quote="could not be examined", correct_finding="Pulmonary nodule", correct_assertion="present"
    )
    save(tmp_path / "done.csv", rows, delimiter=delimiter, encoding=encoding)
    made = import_corrections([tmp_path / "done.csv"], archive, tmp_path / "gold")
    assert (made.reports, made.units, made.unfinished, made.conflicts) == (5, total, (), ())
    assert is_corrections(tmp_path / "gold")

    result = score(rules, str(tmp_path / "gold"), archive)
    right, false, lost = total - 2, 2, 2  # wrong and another assertion; another assertion and missed
    assert result.reports == 5
    assert result.micro.precision == pytest.approx(right / (right + false))
    assert result.micro.recall == pytest.approx(right / (right + lost))
    assert result.micro.f1 == pytest.approx(2 * right / (2 * right + false + lost))
    assert result.attributes["severity_accuracy"] == pytest.approx((right - 1) / right)
    assert result.attributes["anatomy_accuracy"] == 1.0
    by_name = {row.name: row for row in result.rows}
    assert (by_name["pneumothorax"].precision, by_name["pneumothorax"].positives) == (0.0, 0)

    perfect = score(tmp_path / "gold", str(tmp_path / "gold"), archive)
    assert perfect.micro.f1 == perfect.macro_f1 == 1.0
    assert {v for k, v in perfect.attributes.items() if k.endswith("accuracy")} == {1.0}
    for unit in read_evidence(tmp_path / "gold").itertuples():
        assert TEXTS[unit.report_id[-1]][unit.start : unit.end] == unit.quote
    corrected = read_evidence(tmp_path / "gold").set_index("report_id")
    assert corrected.loc["r:c", "finding"] == "nodule"


def test_only_completely_reviewed_reports_are_scored(world, tmp_path):
    archive, rules = world
    rows = reviewed(world, tmp_path, verdict="")
    find(rows, "r:a", "", "report")["verdict"] = "others_correct"
    find(rows, "r:b", "nodule")["verdict"] = "wrong"  # begun, not finished
    save(tmp_path / "done.csv", rows)
    made = import_corrections([tmp_path / "done.csv"], archive, tmp_path / "gold")
    assert (made.reports, made.unfinished) == (1, ("r:b",))
    result = score(rules, str(tmp_path / "gold"), archive)
    assert (result.reports, result.micro.f1) == (1, 1.0)
    assert reports_read([tmp_path / "gold", rules], archive) == ["r:a"]
    with pytest.raises(DataError, match="no report has a verdict"):
        save(tmp_path / "blank.csv", reviewed(world, tmp_path, verdict=""))
        import_corrections([tmp_path / "blank.csv"], archive, tmp_path / "other")


def test_complete_demands_a_verdict_on_every_unit(world, tmp_path):
    archive, _ = world
    rows = [r for r in reviewed(world, tmp_path, verdict="complete") if r["report_id"] == "r:a"]
    save(tmp_path / "done.csv", rows)
    with pytest.raises(InvalidReviewError, match="has no verdict although its report is complete"):
        import_corrections([tmp_path / "done.csv"], archive, tmp_path / "gold")
    assert not (tmp_path / "gold").exists()
    for row in rows:
        row["verdict"] = row["verdict"] or ("correct" if row["row"] == "unit" else "")
    save(tmp_path / "done.csv", rows)
    assert import_corrections([tmp_path / "done.csv"], archive, tmp_path / "gold").reports == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"verdict": "corect"}, "verdict is 'corect', did you mean correct?"),
        ({"correct_finding": "nodul"}, "did you mean nodule"),
        ({"correct_finding": "qqqq"}, "see lgdea/vocabulary/findings.yaml"),
        ({"correct_anatomy": "right uper lobe"}, "did you mean right_upper_lobe"),
        ({"correct_assertion": "maybe"}, "must be one of present, absent, uncertain"),
        ({"correct_laterality": "rigth"}, "did you mean right?"),
        ({"correct_refers_to_prior": "perhaps"}, "must be yes or no"),
        ({"correct_quote": "an elephant in the room"}, "copy them from the report's own text"),
        ({"verdict": "correct", "correct_severity": "mild"}, "write fixed, or empty that cell"),
        ({"verdict": "wrong", "correct_severity": "mild"}, "write fixed, or empty that cell"),
        ({"verdict": "fixed"}, "no correct_ column is filled"),
        ({"row": "unti"}, "must be report, unit or missed"),
        ({"report_id": "r:zz"}, "the archive has no report 'r:zz'"),
        ({"quote": "gone", "start": "", "end": ""}, "does not hold the words 'gone'"),
    ],
)  # fmt: skip
def test_an_invalid_row_is_named_with_its_remedy(world, tmp_path, changes, said):
    archive, _ = world
    rows = reviewed(world, tmp_path)
    number = rows.index(find(rows, "r:b", "nodule")) + 2
    rows[number - 2].update(changes)
    save(tmp_path / "done.csv", rows)
    with pytest.raises(InvalidReviewError) as error:
        import_corrections([tmp_path / "done.csv"], archive, tmp_path / "gold")
    assert len(error.value.problems) == 1
    assert said in str(error.value)
    assert f"done.csv row {number}: " in str(error.value)
    assert not (tmp_path / "gold").exists()


def test_an_added_unit_needs_quote_finding_and_assertion(world, tmp_path):
    archive, _ = world
    rows = reviewed(world, tmp_path)
    find(rows, "r:c", "", "missed")["correct_finding"] = "nodule"
    save(tmp_path / "done.csv", rows)
    with pytest.raises(InvalidReviewError, match="without correct_quote"):
        import_corrections([tmp_path / "done.csv"], archive, tmp_path / "gold")


def test_a_spreadsheet_that_lost_the_offsets_is_understood(world, tmp_path):
    archive, rules = world
    rows = reviewed(world, tmp_path)
    for row in rows:
        row.update(start=row["start"] and f"{row['start']}.0", end="", comment="a;b\nc", quote=row["quote"].upper())
    save(tmp_path / "done.csv", rows, delimiter=";")
    import_corrections([tmp_path / "done.csv"], archive, tmp_path / "gold")
    same = ["report_id", "finding", "assertion", "laterality", "anatomy"]
    found, true = (read_evidence(f)[same].fillna("").sort_values(same) for f in (tmp_path / "gold", rules))
    pd.testing.assert_frame_equal(found.reset_index(drop=True), true.reset_index(drop=True))


def test_two_readings_of_one_piece_of_evidence_cannot_both_be_right(world, tmp_path):
    archive, rules = world
    other = read_evidence(rules)
    other.loc[other["finding"] == "nodule", "assertion"] = "absent"
    answers = tmp_path / "other"
    write_other(archive, other, answers)
    made = write_review(rules, archive, tmp_path / "r.csv", select="disagreements", against=answers)
    rows = read(tmp_path / "r.csv")
    assert made.reports == 1
    readings = [r for r in rows if r["finding"] == "nodule" and r["differs"]]
    assert {(r["run"], r["assertion"]) for r in readings} == {("rules", "present"), ("other", "absent")}
    assert len({r["pair"] for r in readings}) == len(readings) / 2
    assert all(r["run"] == "both" for r in rows if r["row"] == "unit" and not r["differs"])
    rows[0]["verdict"] = "others_correct"
    save(tmp_path / "done.csv", rows)
    with pytest.raises(InvalidReviewError, match="two readings of one piece of evidence"):
        import_corrections([tmp_path / "done.csv"], archive, tmp_path / "gold")
    for row in readings:
        row["verdict"] = "correct" if row["run"] == "rules" else "wrong"
    save(tmp_path / "done.csv", rows)
    import_corrections([tmp_path / "done.csv"], archive, tmp_path / "gold")
    assert score(rules, str(tmp_path / "gold"), archive).micro.f1 == 1.0
    assert score(answers, str(tmp_path / "gold"), archive).micro.f1 < 1.0
    with pytest.raises(UsageError, match="--against"):
        write_review(rules, archive, tmp_path / "r.csv", select="disagreements")


def write_other(archive, units, folder) -> None:
    """An evidence folder with these units, through the replay backend."""
    names = ["quote", "start", "finding", "finding_text", "assertion", "laterality", "severity", "change", "anatomy"]
    names += ["refers_to_prior"]
    units = units.fillna({"anatomy": "unspecified"})
    lines = []
    for report, text in zip(archive.reports["report_id"], archive.reports["text"], strict=True):
        mine = json.loads(units[units["report_id"] == report][names].to_json(orient="records"))
        lines.append(json.dumps({"text_sha256": text_hash(text), "text": json.dumps({"units": mine})}))
    (folder.parent / "answers.jsonl").write_text("\n".join(lines) + "\n")
    extract(archive, get_backend("replay", responses=folder.parent / "answers.jsonl"), folder, max_rejected=1)


def test_reviewers_who_differ_are_listed_and_left_out(world, tmp_path):
    archive, _ = world
    first, second = reviewed(world, tmp_path), reviewed(world, tmp_path)
    find(second, "r:b", "nodule").update(verdict="fixed", correct_laterality="left")
    find(second, "r:b", "", "report")["reviewer"] = "Dr. Two"
    save(tmp_path / "one.csv", first)
    save(tmp_path / "two.csv", second)
    made = import_corrections([tmp_path / "one.csv", tmp_path / "two.csv"], archive, tmp_path / "gold")
    assert made.reports == 4
    (conflict,) = made.conflicts
    assert (conflict.report_id, conflict.finding, conflict.differs) == ("r:b", "nodule", "laterality")
    assert (conflict.first, conflict.second) == ("one", "Dr. Two")
    assert "left" in conflict.second_reading
    assert [r["report_id"] for r in read(tmp_path / "gold" / "conflicts.csv")] == ["r:b"]
    names = pd.read_parquet(tmp_path / "gold" / "reviewed.parquet").set_index("report_id")["reviewers"]
    assert names["r:a"] == "one+two"
    assert "r:b" not in names.index


def test_report_text_is_no_markup_of_the_terminal(tmp_path, make_archive, capsys):
    archive = make_archive(tmp_path / "archive", {"[/x]": "FINDINGS: Nodule [/bold] [red]here[/x]. No edema."})
    extract(archive, get_backend("rules"), tmp_path / "rules")
    write_review(tmp_path / "rules", archive, tmp_path / "one.csv")
    rows = read(tmp_path / "one.csv")
    rows[0]["verdict"] = "others_correct"
    save(tmp_path / "one.csv", rows)
    rows[-1].update(correct_quote="[/bold] [red]here[/x]", correct_finding="mass", correct_assertion="present")
    save(tmp_path / "two.csv", rows)
    import_corrections([tmp_path / "two.csv"], archive, tmp_path / "gold")
    where = ["--archive", str(archive.folder)]
    for arguments in (
        ["corrections", str(tmp_path / "one.csv"), str(tmp_path / "two.csv"), "--out", str(tmp_path / "both")],
        ["diff", str(tmp_path / "rules"), str(tmp_path / "gold")],
    ):
        with pytest.raises(SystemExit) as left:
            main(["extract", *arguments, *where])
        assert not left.value.code
        assert "[red]" in capsys.readouterr().out


def test_corrections_of_another_text_are_no_gold(world, tmp_path, make_archive):
    archive, rules = world
    save(tmp_path / "done.csv", reviewed(world, tmp_path))
    import_corrections([tmp_path / "done.csv"], archive, tmp_path / "gold")
    changed = make_archive(tmp_path / "changed", {**TEXTS, "a": TEXTS["a"].upper()})
    units = read_evidence(rules)
    with pytest.raises(DataError, match="has another text for the reviewed report 'r:a'"):
        score(units, str(tmp_path / "gold"), changed)
    with pytest.raises(DataError, match="lacks the reviewed report"):
        score(units, str(tmp_path / "gold"), make_archive(tmp_path / "less", {"a": TEXTS["a"]}))


def test_the_commands(world, tmp_path, capsys):
    archive, rules = world
    where = ["--archive", str(archive.folder)]

    def run(*arguments) -> int:
        with pytest.raises(SystemExit) as left:
            main(["extract", *map(str, arguments), *where])
        return left.value.code or 0

    file = tmp_path / "review.csv"
    assert run("review", rules, "--out", file, "--n", 3) == 0
    assert run("review", rules, "--out", file) == 2  # it may hold a reviewer's work
    assert run("corrections", file, "--out", tmp_path / "gold") == 1
    rows = read(file)
    for row in rows:
        row["verdict"] = "others_correct" if row["row"] == "report" else ""
    save(file, rows)
    assert run("corrections", file, "--out", tmp_path / "gold") == 0
    assert run("score", rules, "--gold", tmp_path / "gold") == 0
    assert run("score", rules, "--gold", tmp_path / "nothing") == 2
    capsys.readouterr()
    assert run("diff", rules, tmp_path / "gold", "--json") == 0
    out = capsys.readouterr().out
    assert '"reports": 3' in out
    assert '"f1": 1.0' in out
    assert run("diff", rules, tmp_path / "gold") == 0
    rows[0]["verdict"] = "finished"
    save(file, rows)
    assert run("corrections", file, "--out", tmp_path / "gold2") == 1
    assert "row 2: verdict is 'finished'" in capsys.readouterr().err


def test_reports_that_a_run_has_read(world, tmp_path, make_archive):
    archive, rules = world
    assert reports_read([rules], archive) == ["r:a", "r:b", "r:c", "r:d", "r:f"]
    extract(archive, get_backend("rules"), tmp_path / "two", limit=2)
    assert reports_read([rules, tmp_path / "two"], archive) == ["r:a", "r:b"]
    assert write_review(tmp_path / "two", archive, tmp_path / "r.csv").reports == 2
    with pytest.raises(UsageError, match="other reports than this archive's"):
        reports_read([rules], make_archive(tmp_path / "less", {"a": TEXTS["a"]}))


def test_the_other_selections(world, tmp_path):
    archive, rules = world
    write_review(rules, archive, tmp_path / "r.csv", select="uncertain")
    assert {r["report_id"] for r in read(tmp_path / "r.csv")} == {"r:d"}
    with pytest.raises(UsageError, match="no selection 'best'"):
        write_review(rules, archive, tmp_path / "r.csv", select="best")
