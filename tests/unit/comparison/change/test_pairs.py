"""The prior is an earlier study by date and time; ids, and the order of rows, say nothing."""

import pytest

from lgdea.comparison.change.pairs import choose_priors, listed_pairs, prior_of, view_class
from lgdea.errors import DataError, UsageError
from lgdea.records.archive import write_archive


@pytest.fixture
def make(tmp_path):
    """A function of (study, patient, day, views[, seconds]) rows that writes an archive."""

    def write(*rows, **extra):
        studies = [
            {"study_id": s, "patient_id": p, "dataset": "d", "day": day, "split": "test"} for s, p, day, *_ in rows
        ]
        images = [
            {"image_id": f"{s}:{k}", "study_id": s, "path": "x.png", "width": 8, "height": 8, "view": view or None}
            for s, _, _, views, *_ in rows
            for k, view in enumerate(views)
        ]
        return write_archive(tmp_path, "d", {"studies": studies, "images": images}, tmp_path, {}, extra)

    return write


def pairs_of(archive, **settings):
    table = choose_priors(archive, "all", **settings).table
    return {row.study_current: (row.study_prior, row.rule, row.days, row.nth) for row in table.itertuples()}


def reasons(archive, **settings):
    return {item["id"]: item["reason"] for item in choose_priors(archive, "all", **settings).skipped}


def test_the_prior_is_chosen_by_date_whatever_the_ids_and_the_order_of_rows(make):
    archive = make(("s1", "p", 30, ["PA"]), ("s9", "p", 2, ["PA"]), ("s5", "p", 11, ["PA"]))
    assert pairs_of(archive) == {"s5": ("s9", "same view", 9, 1), "s1": ("s5", "same view", 19, 1)}
    assert reasons(archive) == {"s9": "it is the patient's first study"}


def test_the_same_view_comes_first_and_latest_can_be_asked_for(make):
    archive = make(("a", "p", 0, ["AP"]), ("b", "p", 5, ["PA"]), ("c", "p", 9, ["LATERAL", "AP Supine"]))
    assert pairs_of(archive)["c"] == ("a", "same view", 9, 2)
    assert pairs_of(archive, prefer="latest")["c"] == ("b", "same projection", 4, 1)
    chosen = choose_priors(archive, "all").table.set_index("study_current")
    assert chosen.loc["c", "image_current"] == "c:1"  # not the lateral one, though it is listed first


def test_a_frontal_image_is_never_compared_with_a_lateral_one(make):
    archive = make(("a", "p", 0, ["lateral"]), ("b", "p", 5, ["PA"]), ("c", "p", 6, ["LL"]))
    assert pairs_of(archive) == {"c": ("a", "both lateral", 6, 2)}
    assert reasons(archive)["b"] == "no earlier image of the same projection"


def test_an_unknown_view_matches_and_the_rule_says_so(make):
    assert pairs_of(make(("a", "p", 0, [""]), ("b", "p", 5, ["PA"])))["b"] == ("a", "view unknown", 5, 1)


def test_equal_dates_are_refused_unless_the_time_of_day_tells(make):
    import pandas as pd

    rows = [("a", "p", 3, ["PA"]), ("b", "p", 3, ["PA"]), ("c", "p", 9, ["PA"])]
    told = reasons(make(*rows))
    assert told["a"] == "which came first, it or b, is not known: the same date and no different time"
    assert told["c"] == "which of a and b is the later is not known: the same date"
    times = pd.DataFrame({"study_id": ["a", "b"], "seconds": [43_200.0, 3_600.0]})
    found = pairs_of(make(*rows, study_time=times))
    assert found["a"] == ("b", "same view", 0.45833, 1)
    assert found["c"][0] == "a"


def test_equal_times_are_refused_too(make):
    import pandas as pd

    times = pd.DataFrame({"study_id": ["a", "b"], "seconds": [60.0, 60.0]})
    assert "the same date" in reasons(make(("a", "p", 3, ["PA"]), ("b", "p", 3, ["PA"]), study_time=times))["b"]


def test_missing_dates_are_refused_and_listed(make):
    archive = make(("a", "p", None, ["PA"]), ("b", "p", 4, ["PA"]), ("c", "p", 8, ["PA"]), ("x", "q", 1, ["PA"]))
    assert pairs_of(archive) == {"c": ("b", "same view", 4, 1)}
    told = choose_priors(archive, "all")
    assert {item["id"]: item["reason"] for item in told.refused} == {"a": "its date is not known"}
    assert reasons(archive)["x"] == "the patient has no other study with an image"


def test_a_limit_of_days(make):
    archive = make(("a", "p", 0, ["PA"]), ("b", "p", 500, ["PA"]))
    assert reasons(archive, max_days=365)["b"] == "no study in the 365 days before it"


@pytest.mark.parametrize(
    ("study", "line"),
    [
        ("b", "study b has no prior: the patient has no other study with an image; give two images"),
        ("c", "study c has no prior: its date is not known"),
        ("a", "study a has no prior: it is the patient's first study"),
    ],
)
def test_a_study_without_a_prior_is_one_clear_line(make, study, line):
    archive = make(("a", "p", 0, ["PA"]), ("b", "q", 5, ["PA"]), ("c", "r", None, ["PA"]), ("d", "r", 1, ["PA"]),
                   ("e", "p", 4, ["PA"]))  # fmt: skip
    assert prior_of(archive, "e").study_prior == "a"
    with pytest.raises(DataError, match=line):
        prior_of(archive, study)
    with pytest.raises(UsageError, match="has no study 'zz'"):
        prior_of(archive, "zz")


def test_listed_pairs_whose_order_the_dates_contradict_are_refused(make):
    import pandas as pd

    def listed(prior, current):
        return {
            "study_prior": prior,
            "study_current": current,
            "image_prior": f"{prior}:0",
            "image_current": f"{current}:0",
        }

    table = pd.DataFrame([listed("a", "b"), listed("b", "a"), listed("a", "a")])
    archive = make(("a", "p", 0, ["PA"]), ("b", "p", 5, ["PA"]), pairs=table)
    found = listed_pairs(archive)
    assert found.table[["study_prior", "study_current", "days"]].to_numpy().tolist() == [["a", "b", 5.0]]
    assert [item["reason"] for item in found.refused] == [
        "the listed prior b is not earlier by date",
        "the listed prior a is the same study",
    ]
    with pytest.raises(UsageError, match="lists no pairs; choose them by date"):
        listed_pairs(make(("a", "p", 0, ["PA"])))


@pytest.mark.parametrize(
    ("view", "expected"),
    [("PA", "PA"), ("AP Erect", "AP"), ("ap", "AP"), ("antero-posterior", "AP"), ("POSTEROANTERIOR", "PA"),
     ("L", "lateral"), ("LL", "lateral"), ("Frontal", "frontal"), ("chest", None), ("", None), (float("nan"), None),
     ("lateral PA", "lateral")],
)  # fmt: skip
def test_words_for_views(view, expected):
    assert view_class(view) == expected
