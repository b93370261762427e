import json
import random

import numpy as np
import pandas as pd
import pytest

from lgdea.annotation.scoring import score
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
