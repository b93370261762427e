"""Truth about change: the phantom's pictures agree with its reports, and contradictions are left out."""

import pandas as pd
import pytest

from lgdea.comparison.change.pairs import choose_priors
from lgdea.comparison.change.states import MIRROR, STATES, change_truth, drawn_change, mirror, stated_changes
from lgdea.errors import UsageError
from lgdea.phantom import generate
from lgdea.records.archive import write_archive

PLACE, OTHER = ("left", "lower"), ("right", "upper")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return generate(
        tmp_path_factory.mktemp("phantom"), studies=80, size=64, seed=3, revisits=0.7, report_errors=0.0, masks=False,
        workers=1,
    )  # fmt: skip


def test_every_state_has_its_mirror():
    assert [STATES[i] for i in mirror(range(5))] == [MIRROR[s] for s in STATES]
    assert all(MIRROR[MIRROR[s]] == s for s in STATES)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({}, {"mass": (PLACE, 0.4)}, {"mass": "new"}),
        ({"mass": (PLACE, 0.4)}, {}, {"mass": "resolved"}),
        ({"mass": (PLACE, 0.4)}, {"mass": (PLACE, 0.7)}, {"mass": "worse"}),
        ({"mass": (PLACE, 0.7)}, {"mass": (PLACE, 0.4)}, {"mass": "better"}),
        ({"mass": (PLACE, 0.7)}, {"mass": (PLACE, 0.7)}, {"mass": "stable"}),
        ({"mass": (PLACE, 0.7)}, {"mass": (PLACE, 0.6)}, {}),  # neither the same nor clearly another
        ({"mass": (PLACE, 0.7)}, {"mass": (OTHER, 0.7)}, {}),  # one has gone and another has come
    ],
)
def test_change_of_two_drawn_pictures(before, now, expected):
    assert drawn_change(before, now) == expected
    assert drawn_change(now, before) == {finding: MIRROR[state] for finding, state in expected.items()}


def test_pictures_and_reports_of_the_phantom_agree(phantom):
    pairs = choose_priors(phantom, "all", prefer="latest").table
    drawn, _ = change_truth(phantom, pairs)
    stated, notes = change_truth(phantom, pairs, "evidence", phantom.extra("evidence_truth"))
    both = drawn.merge(stated, on=["pair", "finding"])
    assert len(both) > 50
    assert (both["state_x"] == both["state_y"]).all()
    assert set(drawn["state"]) == set(STATES)
    assert notes[0] == "truth: the change that the current study's reports state"


def test_a_report_says_nothing_of_a_prior_before_the_last_study(phantom):
    pairs = choose_priors(phantom, "all", prefer="latest").table.assign(nth=2.0)
    stated, notes = change_truth(phantom, pairs, "evidence", phantom.extra("evidence_truth"))
    assert stated.empty
    assert "compares with a study in between" in notes[1]


def test_several_changes_of_one_finding_and_suspected_ones_are_left_out():
    units = pd.DataFrame(
        [("r", "edema", "present", "worse"), ("r", "edema", "present", "better"), ("r", "mass", "uncertain", "new"),
         ("r", "nodule", "present", "stable"), ("r", "nodule", "present", "stable"),
         ("r", "cyst", "present", "unspecified")],
        columns=["report_id", "finding", "assertion", "change"],
    )  # fmt: skip
    states, torn = stated_changes(units, pd.DataFrame({"report_id": ["r"], "study_id": ["s"]}))
    assert states.to_numpy().tolist() == [["s", "nodule", "stable"]]
    assert torn == 1


def test_an_archive_without_truth_asks_for_evidence(tmp_path):
    with pytest.raises(UsageError, match="has no truth about change of its own; give --evidence of its reports"):
        change_truth(write_archive(tmp_path, "d", {}, tmp_path), pd.DataFrame(columns=["study_prior", "study_current"]))
