import json
import random

import numpy as np
import pandas as pd
import pytest

from lgdea.annotation.scoring import f1, score
from lgdea.errors import UsageError
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.io import read_evidence
from lgdea.evidence.runner import extract
from lgdea.evidence.schema import Unit
from lgdea.records.archive import Archive

COLUMNS = list(Unit.model_fields)
FINDINGS = ["nodule", "edema", "pleural_effusion", "cardiomegaly", "pneumothorax", "no_finding"]


def _unit(report, finding, start=0, **more):
    base = {
        "unit_id": f"{report}{finding}{start}", "report_id": report, "section": "findings", "quote": "x" * 5,
        "start": start, "end": start + 5, "alignment": "exact", "finding": finding, "finding_text": "x",
        "assertion": "present", "anatomy": None, "laterality": "left", "severity": "mild", "change": "unspecified",
        "refers_to_prior": False, "run_id": "t",
    }  # fmt: skip
    return base | more


@pytest.fixture
def truth():
    rng = random.Random(0)
    rows = []
    for n in range(60):
        for k, finding in enumerate(rng.sample(FINDINGS, 2)):
            assertion = rng.choice(["present", "absent"])
            rows.append(_unit(f"r:{n}", finding, 10 * k, assertion=assertion, laterality=rng.choice(["left", "right"])))
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture
def phantom(tmp_path, truth, make_archive):
    return make_archive(tmp_path / "a", {str(n): "x" * 40 for n in range(60)}, evidence_truth=truth)


def test_an_oracle_scores_one(phantom, truth):
    result = score(truth, "phantom", phantom)
    assert result.micro.f1 == result.macro_f1 == 1.0
    assert (result.micro.low, result.micro.high) == (1.0, 1.0)
    assert result.attributes["laterality_accuracy"] == 1.0
    assert result.micro.positives == 120
    assert result.worst == []


def test_shuffled_evidence_scores_chance(phantom, truth):
    shuffled = truth.assign(report_id=np.random.default_rng(1).permutation(truth["report_id"]))
    shuffled["start"] = 0
    shuffled["end"] = 40  # every quote overlaps: only finding and assertion decide
    result = score(shuffled, "phantom", phantom)
    assert result.micro.f1 < 0.35
    assert len(result.worst) > 0


def test_hand_computed_counts(phantom, truth):
    """One of 120 units is lost and one is invented: precision = recall = 119/120."""
    one = truth.iloc[1:]
    invented = pd.DataFrame([_unit("r:5", "mass"), _unit("r:5", truth.iloc[0]["finding"], 30)], columns=COLUMNS)
    result = score(pd.concat([one, invented]), "phantom", phantom)
    assert result.micro.recall == pytest.approx(119 / 120)
    assert result.micro.precision == pytest.approx(119 / 120)  # `mass` is never in the truth and so is not scored
    assert result.micro.low < result.micro.f1 < result.micro.high
    assert {d.kind for d in result.worst} == {"false", "missed"}


def test_attributes_are_scored_among_matched_units(phantom, truth):
    wrong = truth.copy()
    wrong.loc[wrong.index[:30], "laterality"] = "midline"
    result = score(wrong, "phantom", phantom)
    assert result.micro.f1 == 1.0
    assert result.attributes["laterality_accuracy"] == pytest.approx(0.75)


def test_openi14_counts_present_units_per_report(tmp_path, make_archive):
    values = {
        "a": {"pleural_effusion": 1, "no_finding": 0},
        "b": {"no_finding": 1, "edema": 0},
        "d": {"nodule": 1, "edema": 1},
    }
    labels = [
        {"study_id": f"s:{k}", "finding": finding, "value": value, "labeller": "openi-14"}
        for k, row in values.items()
        for finding, value in row.items()
    ]
    archive = make_archive(tmp_path / "a", labels=labels)
    extract(archive, get_backend("rules"), tmp_path / "e", max_rejected=0.5)
    result = score(tmp_path / "e", "openi-14", archive)
    rows = {r.name: r for r in result.rows}
    assert result.reports == 3
    assert rows["Effusion"].f1 == rows["Nodule"].f1 == rows["normal"].f1 == 1.0
    assert rows["Edema"].recall == 0.0
    assert rows["Cardiomegaly"].precision == 0.0  # "Mild cardiomegaly" that the labels do not have
    assert "Hernia" not in rows
    assert json.loads(json.dumps(result.to_dict()))["gold"] == "openi-14"


def test_openi_mesh_reads_place_side_and_severity(tmp_path, make_archive):
    texts = {
        "a": "FINDINGS: Mild right basilar atelectasis.",
        "b": "FINDINGS: Left lower lobe opacity.",
        "c": "FINDINGS: Nodule.",
    }
    mesh = pd.DataFrame(
        [
            ("r:a", "Pulmonary Atelectasis/base/right/mild"),
            ("r:b", "Opacity/lung/lower lobe/right"),
            ("r:c", "No Indexing"),
        ],
        columns=["report_id", "major"],
    )
    archive = make_archive(tmp_path / "a", texts, mesh=mesh)
    extract(archive, get_backend("rules"), tmp_path / "e")
    result = score(tmp_path / "e", "openi-mesh", archive)
    assert result.reports == 2
    assert result.micro.f1 == 1.0
    assert result.attributes["laterality_accuracy"] == 0.5
    assert result.attributes["anatomy_accuracy"] == 1.0
    assert result.attributes["severity_accuracy"] == 1.0


@pytest.mark.parametrize(
    ("sentence", "major", "anatomy", "laterality"),
    [
        ("Right lower lobe opacity.", "Opacity/lung/right", 1.0, 1.0),  # a part of the coded structure
        ("Right lung opacity.", "Opacity/lung/lower lobe/right", 0.0, 1.0),  # the coded one is a part of it
        ("Left hilar opacity.", "Opacity/lung/hilum/left", 1.0, 1.0),  # "lung/hilum" is the hilum ...
        ("Left lung opacity.", "Opacity/lung/hilum/left", 0.0, 1.0),  # ... and not the lung
        ("Opacity in the right mid lung.", "Opacity/lung/middle lobe/right", 1.0, 1.0),  # zones are coded as lobes
        ("Opacity in the right upper lung zone.", "Opacity/lung/middle lobe/right", 0.0, 1.0),
        ("Right mid lung opacity.", "Opacity/lung/lingula", 1.0, 0.0),  # "lingula" says left
        ("Opacity.", "Opacity/lung/interstitial", None, None),  # a pattern: another finding
        ("Opacity in the left base and right apex.", "Opacity/lung/base/left", 1.0, 0.0),
    ],
)
def test_what_openi_mesh_takes_for_the_same_place(tmp_path, make_archive, sentence, major, anatomy, laterality):
    mesh = pd.DataFrame([("r:a", major)], columns=["report_id", "major"])
    archive = make_archive(tmp_path / "a", {"a": f"FINDINGS: {sentence}"}, mesh=mesh)
    extract(archive, get_backend("rules"), tmp_path / "e")
    attributes = score(tmp_path / "e", "openi-mesh", archive).attributes
    assert attributes.get("anatomy_accuracy") == anatomy
    assert attributes.get("laterality_accuracy") == laterality


def test_openi14_takes_any_thickening_for_its_pleural_thickening(tmp_path, make_archive):
    texts = {"a": "FINDINGS: Bronchial wall thickening.", "b": "FINDINGS: Pleural thickening."}
    labels = [
        {"study_id": f"s:{k}", "finding": "pleural_thickening", "value": 1, "labeller": "openi-14"} for k in texts
    ]
    archive = make_archive(tmp_path / "a", texts, labels=labels)
    extract(archive, get_backend("rules"), tmp_path / "e")
    rows = {r.name: r for r in score(tmp_path / "e", "openi-14", archive).rows}
    assert (rows["Pleural_Thickening"].f1, rows["Pleural_Thickening"].positives) == (1.0, 2)


def test_macro_is_over_classes_with_ten_positives(phantom, truth):
    wrong = truth[truth["finding"] != "nodule"]
    result = score(wrong, "phantom", phantom)
    counted = [r for r in result.rows if r.positives >= 10]
    assert result.macro_classes == len(counted) == len(FINDINGS)
    assert result.macro_f1 == pytest.approx(5 / 6)
    few = truth.drop(truth.index[truth["finding"] == "nodule"][9:])
    archive_few = score(few, "phantom", phantom)
    assert archive_few.macro_low <= archive_few.macro_f1 <= archive_few.macro_high


def test_what_cannot_be_scored_is_said(archive, tmp_path):
    units = pd.DataFrame([], columns=COLUMNS)
    for gold, word in (("openi-14", "no openi-14 labels"), ("openi-mesh", "mesh"), ("phantom", "evidence_truth")):
        with pytest.raises(UsageError, match=word):
            score(units, gold, archive)
    with pytest.raises(UsageError, match="openi-mesh"):
        score(units, "radgraph", archive)


@pytest.mark.data
def test_the_rules_on_real_reports(real_data, tmp_path):
    """The bar of the rules backend on Open-I; both halves, so that neither was fitted at the other's cost."""
    from lgdea.records.adapters.openi import ADAPTER

    archive: Archive = ADAPTER.build(real_data / "openi", tmp_path / "a")
    summary = extract(archive, get_backend("rules"), tmp_path / "e")
    units = read_evidence(tmp_path / "e")
    assert summary["share_aligned"] == 1.0
    assert summary["rejected_by_reason"].keys() <= {"empty_report"}
    openi14 = score(units, "openi-14", archive)
    assert openi14.reports == 1925
    assert openi14.micro.f1 >= 0.93
    assert openi14.attributes["micro_f1_with_normal"] >= 0.92
    assert openi14.macro_f1 >= 0.90
    assert openi14.macro_classes == 12
    mesh = score(units, "openi-mesh", archive)
    assert mesh.micro.f1 >= 0.89
    assert mesh.attributes["laterality_accuracy"] >= 0.93
    assert mesh.attributes["anatomy_accuracy"] >= 0.90


def test_f1_by_hand_and_undefined_where_nothing_is_there():
    assert f1(np.array([3.0, 1.0, 2.0])) == pytest.approx(6 / 9)
    assert f1(np.array([0.0, 1.0, 0.0])) == 0.0
    assert np.isnan(f1(np.zeros(3)))


def test_reports_of_one_patient_are_drawn_together(tmp_path, make_archive):
    """Ten patients whose ten reports are all right or all wrong: as uncertain as ten reports, not as a hundred."""
    truth = pd.DataFrame([_unit(f"r:{n}", "edema") for n in range(100)], columns=COLUMNS)
    right = truth[[n // 10 < 7 for n in range(100)]]
    texts = {str(n): "x" * 40 for n in range(100)}
    alone = make_archive(tmp_path / "a", texts, evidence_truth=truth)
    together = alone.with_tables(studies=alone.studies.assign(patient_id=[f"p{n // 10}" for n in range(100)]))
    wide, narrow = (score(right, "phantom", archive).micro for archive in (together, alone))
    assert wide.f1 == narrow.f1 == pytest.approx(2 * 70 / 170)
    assert wide.high - wide.low > 2.5 * (narrow.high - narrow.low)


def test_one_patient_gives_no_interval_and_valid_json(tmp_path, make_archive):
    truth = pd.DataFrame([_unit("r:0", "edema"), _unit("r:1", "nodule")], columns=COLUMNS)
    archive = make_archive(tmp_path / "a", {"0": "x" * 40, "1": "x" * 40}, evidence_truth=truth)
    archive = archive.with_tables(studies=archive.studies.assign(patient_id="p"))
    result = score(truth, "phantom", archive)
    assert np.isnan(result.micro.low)
    assert result.micro.f1_text() == "1.000"
    assert result.to_dict()["micro"]["low"] is None


def test_intervals_hold_the_truth_about_as_often_as_they_say(tmp_path, make_archive):
    """A reader with sensitivity 0.8 and as many false as missed units has F1 0.8 in the long run."""
    rng = np.random.default_rng(0)
    archive = make_archive(tmp_path / "a", {str(n): "x" * 40 for n in range(150)})
    head = {"image_id": None, "finding": "edema", "labeller": "openi-14"}
    held = 0
    for trial in range(40):
        true = rng.random(150) < 0.5
        called = rng.random(150) < np.where(true, 0.8, 0.2)
        labels = pd.DataFrame([head | {"study_id": f"s:{n}", "value": float(v)} for n, v in enumerate(true)])
        found = pd.DataFrame([_unit(f"r:{n}", "edema") for n in np.flatnonzero(called)], columns=COLUMNS)
        micro = score(found, "openi-14", archive.with_tables(labels=labels), seed=trial).micro
        held += micro.low <= 0.8 <= micro.high
    assert held >= 34
    assert micro.high - micro.low < 0.2
