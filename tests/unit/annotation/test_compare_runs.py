import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from lgdea.annotation.compare_runs import TIERS, compare_runs, describe, is_actionable
from lgdea.annotation.unit_matching import match, similarity, units_by_report
from lgdea.evidence.schema import Unit, unit_id

REPORTS = ["r:1", "r:2", "r:3", "r:4"]


def unit(report="r:1", finding="nodule", start=0, end=10, **more):
    content = {"report_id": report, "section": "findings", "quote": "x" * (end - start), "start": start, "end": end}
    content |= {"alignment": "exact", "finding": finding, "finding_text": "x", "assertion": "present", "run_id": "t"}
    content |= {"anatomy": None, "laterality": "unspecified", **more}
    key = unit_id(report, start, end, finding, content["anatomy"], content["laterality"])
    return Unit(unit_id=key, **content).model_dump()


def frame(*rows):
    return pd.DataFrame(list(rows), columns=list(Unit.model_fields))


def count_against_gold(a, b, reports=REPORTS):
    return compare_runs(frame(*a), frame(*b), reports)


def only(a, b):
    (pair,) = count_against_gold(a, b).pairs
    return pair


def test_a_run_agrees_with_itself():
    rows = [unit("r:1"), unit("r:2", assertion="absent"), unit("r:3", "edema", anatomy="lung")]
    found = count_against_gold(rows, rows)
    assert found.kinds() == {"same": 3, "assertion": 0, "attribute": 0, "finding": 0, "only_a": 0, "only_b": 0}
    assert found.overall.f1 == found.overall.kappa == 1.0
    assert found.differing == ()
    assert found.attributes["assertion"] == (1.0, 3)
    assert found.attributes["anatomy"] == (1.0, 1)


@pytest.mark.parametrize(
    ("a", "b", "kind", "differs", "tier"),
    [
        (unit(), unit(assertion="absent"), "assertion", ("assertion",), "opposite"),
        (unit(), unit(assertion="uncertain"), "assertion", ("assertion",), "certainty"),
        (unit(laterality="left"), unit(laterality="right"), "attribute", ("laterality",), "side"),
        (unit(), unit(severity="mild"), "attribute", ("severity",), "detail"),
        (unit(assertion="absent"), unit(assertion="absent", anatomy="lung"), "attribute", ("anatomy",), "negative"),
        (unit(finding="opacity"), unit(finding="consolidation", end=25), "finding", ("finding",), "detail"),
    ],
)
def test_matched_units_that_differ(a, b, kind, differs, tier):
    pair = only([a], [b])
    assert (pair.kind, pair.differs, pair.tier) == (kind, differs, tier)


def test_units_of_one_run():
    assert only([unit()], []).kind == "only_a"
    assert only([], [unit()]).kind == "only_b"
    assert only([], [unit()]).tier == "presence"
    assert only([unit(assertion="absent")], []).tier == "negative"
    assert only([unit(finding="no_finding")], []).tier == "negative"
    kinds = {p.kind for p in count_against_gold([unit()], [unit(start=20, end=30)]).pairs}
    assert kinds == {"only_a", "only_b"}  # the same finding elsewhere in the report is another mention
    assert {p.tier for p in count_against_gold([unit()], [unit(start=20, end=30)]).pairs} == {"repeat"}
    unrelated = count_against_gold([unit(finding="nodule")], [unit(finding="edema")])
    assert {p.kind for p in unrelated.pairs} == {"only_a", "only_b"}


def test_matching_is_one_to_one_and_leaves_out_as_few_as_possible():
    # The first of A fits both of B, the second only the first: taking the best pair at once would lose one.
    a = [unit(start=0, end=10), unit(start=12, end=20)]
    b = [unit(start=5, end=15), unit(start=0, end=4)]
    found = count_against_gold(a, b)
    assert found.kinds()["same"] == 2
    rows = units_by_report(frame(*a))["r:1"]
    assert match(rows, rows, similarity) == [(0, 0), (1, 1)]
    assert match(rows, [], similarity) == []


def test_two_units_in_one_sentence_find_their_own_side():
    left, right = unit(laterality="left", end=40), unit(laterality="right", end=40)
    assert count_against_gold([left, right], [right, left]).kinds()["same"] == 2


def test_reading_order_puts_contradictions_urgent_and_rare_findings_first():
    a = [
        unit("r:1", "cardiomegaly"),
        unit("r:2", "cardiomegaly"),
        unit("r:3", "pneumothorax"),
        unit("r:4", "scoliosis"),
    ]
    b = [{**row, "assertion": "absent"} for row in a]
    a.append(unit("r:1", "tuberculosis", 50, 60))
    found = count_against_gold(a, b)
    assert [p.finding for p in found.differing] == [
        "pneumothorax", "scoliosis", "cardiomegaly", "cardiomegaly", "tuberculosis",
    ]  # fmt: skip
    assert [p.report_id for p in found.differing[:2]] == ["r:3", "r:4"]
    assert list(dict.fromkeys(p.tier for p in found.differing)) == ["opposite", "presence"]
    assert set(TIERS) >= {p.tier for p in found.differing}


def test_actionable_findings():
    assert is_actionable("rib_fracture")
    assert is_actionable("nodule")
    assert not is_actionable("calcified_nodule")
    assert not is_actionable("no_finding")


def test_agreement_per_finding_is_that_of_the_definitions():
    rng = np.random.default_rng(0)
    reports = [f"r:{n}" for n in range(80)]
    said = rng.random((2, 80)) < [[0.4], [0.5]]
    runs = [[unit(r) for r, yes in zip(reports, row, strict=True) if yes] for row in said]
    found = count_against_gold(*runs, reports=reports)
    (row,) = found.findings
    both = int((said[0] & said[1]).sum())
    assert (row.matched, row.agreed) == (both, both)
    assert row.f1 == pytest.approx(2 * both / said.sum())
    assert row.kappa == pytest.approx(cohen_kappa_score(said[0], said[1]))


def test_units_of_reports_that_were_not_asked_for_are_left_out():
    assert count_against_gold([unit("r:9")], []).pairs == ()
    assert count_against_gold([], []).overall.kappa is None


def test_json_and_one_line():
    found = count_against_gold([unit(laterality="left", anatomy="left_lung")], [])
    plain = found.to_dict(5)
    assert plain["kinds"]["only_a"] == plain["tiers"]["presence"] == 1
    assert plain["top"][0]["a"] == "present left lung: xxxxxxxxxx"
    assert plain["top"][0]["b"] == describe(None) == ""


def test_a_phrase_that_recurs_is_told_once():
    a = [unit(f"r:{n}") for n in (1, 2, 3)] + [unit("r:4", quote="another x", end=9)]
    b = [{**row, "assertion": "absent"} for row in a]
    told = count_against_gold(a, b).distinct()
    assert [(pair.report_id, alike) for pair, alike in told] == [("r:1", 3), ("r:4", 1)]
