from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lgdea.evaluation.results.result import Result, Value, write_result
from lgdea.reporting.measures import TaskTables, task_tables
from lgdea.reporting.worst import PER_CLASS, PER_GROUP, PER_PAIR, worst_cases


def tables(folder: Path, task: str, items: dict[str, pd.DataFrame], **more: dict) -> TaskTables:
    for label, frame in items.items():
        metrics = {"m_macro": Value(0.5)}
        result = Result(task, "v1", label, "a", "test", metrics, more.get("per_class", {}), {}, frame)
        write_result(result, folder / label)
    (table,) = task_tables({label: folder / label for label in items}, baseline=next(iter(items)), replicates=0)
    return table


def zero_shot(scores: list[float], labels: list[float], patients: list[str] | None = None) -> pd.DataFrame:
    ids = [f"i{i}" for i in range(len(scores))]
    frame = {"image_id": ids, "study_id": ids, "patient_id": patients or ids, "class": "mass"}
    return pd.DataFrame({**frame, "score": scores, "label": labels})


THRESHOLD = {"mass": {"threshold": Value(0.5), "auroc": Value(0.5)}}


def test_the_most_confidently_wrong_come_first_whatever_the_scale(tmp_path: Path) -> None:
    labels = [1, 1, 1, 0, 0, 0, np.nan]
    a = zero_shot([0.1, 0.8, 0.9, 0.2, 0.6, 0.3, 0.0], labels)
    b = zero_shot([90, 80, 10, 70, 20, 30, 99], labels)
    table = tables(tmp_path, "zero-shot", {"a": a, "b": b}, per_class=THRESHOLD)
    *_, worst = worst_cases(table, "a")
    found = {(c.item, c.truth, c.worst_of) for c in worst.cases}
    # a: i0 is present and lowest; i4 is absent and fourth. b: i2 is present and lowest; i3 is absent and fourth.
    assert found == {
        ("i0", "present", ("a",)),
        ("i4", "absent", ("a",)),
        ("i2", "present", ("b",)),
        ("i3", "absent", ("b",)),
    }
    first = next(c for c in worst.cases if c.item == "i0")
    assert [(j.label, j.right) for j in first.judged] == [("a", False), ("b", True)]
    assert first.judged[0].text == "0.100, above 8% of images"


def test_what_tells_two_models_apart_is_counted_and_sorted_by_the_gap(tmp_path: Path) -> None:
    labels = [1.0] * 20
    good, bad = [0.9] * 20, [0.9] * 10 + [0.4 - i / 100 for i in range(10)]
    table = tables(
        tmp_path, "zero-shot", {"bad": zero_shot(bad, labels), "good": zero_shot(good, labels)}, per_class=THRESHOLD
    )
    better, worse, _ = worst_cases(table, "bad")
    assert (better.title, better.pair) == ("good right, bad wrong: 10 of 20", True)
    assert [c.item for c in better.cases] == [f"i{i}" for i in range(19, 19 - PER_PAIR, -1)]
    assert worse.title == "bad right, good wrong: 0 of 20"
    assert worse.cases == ()


def test_a_model_without_threshold_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    frame = zero_shot([0.1, 0.2], [1, 0])
    table = tables(tmp_path, "zero-shot", {"a": frame}, per_class={"mass": {"auroc": Value(0.5)}})
    (worst,) = worst_cases(table, None)
    assert [j.right for c in worst.cases for j in c.judged] == [None, None]


def test_a_patient_has_one_item_in_a_list_and_lists_are_short(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores, patients = rng.random(60).tolist(), [f"p{i // 3}" for i in range(60)]
    table = tables(tmp_path, "zero-shot", {"a": zero_shot(scores, [1.0] * 60, patients)}, per_class=THRESHOLD)
    (worst,) = worst_cases(table, None)
    assert len(worst.cases) == PER_CLASS
    owners = [patients[int(c.item[1:])] for c in worst.cases]
    assert len(set(owners)) == len(owners)
    assert worst.cases[0].item == f"i{int(np.argmin(scores))}"


def test_queries_of_the_worst_rank_by_direction(tmp_path: Path) -> None:
    ids = [f"q{i}" for i in range(12)]
    frames = {}
    for label, ranks in (("a", range(1, 13)), ("b", [12.5, *range(1, 12)])):
        frame = {"direction": ["image_to_report"] * 6 + ["report_to_image"] * 6, "query_id": ids}
        frames[label] = pd.DataFrame({**frame, "study_id": ids, "patient_id": ids, "first_positive_rank": list(ranks)})
    groups = worst_cases(tables(tmp_path, "retrieval", frames), "a")
    assert [g.title for g in groups] == [
        "b right, a wrong: 1 of 12",
        "a right, b wrong: 1 of 12",
        "image to report",
        "report to image",
    ]
    assert [c.item for c in groups[1].cases] == ["q0"]
    assert groups[1].cases[0].judged[1].text == "rank 12.5"
    assert [c.item for c in groups[3].cases if "a" in c.worst_of] == [f"q{i}" for i in range(11, 11 - PER_GROUP, -1)]


def test_grounding_misses_come_first_lowest_contrast_first(tmp_path: Path) -> None:
    ids = [f"i{i}" for i in range(4)]
    frame = {"image_id": ids, "phrase": "left <mass>", "study_id": ids, "patient_id": ids, "class": "mass"}
    scores = {"pointing": [0.0, 0.0, 1.0, 1.0], "cnr": [2.0, 0.1, 0.0, 3.0], "miou": [0.0, 0.0, 0.1, 0.2]}
    (worst,) = worst_cases(tables(tmp_path, "grounding", {"a": pd.DataFrame({**frame, **scores})}), None)
    assert [c.item for c in worst.cases] == ["i1", "i0", "i2", "i3"]
    assert worst.cases[0].judged[0].text == "CNR 0.10, mIoU 0.00"
    assert worst.cases[0].phrase == "left <mass>"


def test_an_item_that_one_model_did_not_score_is_called_that(tmp_path: Path) -> None:
    # The same images, but b was not asked for this class in one of them.
    other = zero_shot([0.5, 0.5], [np.nan, np.nan]).assign(**{"class": "nodule"})
    a, b = (pd.concat([own, other]) for own in (zero_shot([0.1, 0.9], [1, 1]), zero_shot([0.9], [1])))
    table = tables(tmp_path, "zero-shot", {"a": a, "b": b}, per_class=THRESHOLD)
    *_, worst = worst_cases(table, "a")
    case = next(c for c in worst.cases if c.item == "i1")
    assert [(j.text, j.right) for j in case.judged][1] == ("not scored", None)


@pytest.mark.parametrize("task", ["zero-shot", "features"])
def test_without_items_or_for_another_task_there_are_none(tmp_path: Path, task: str) -> None:
    assert worst_cases(tables(tmp_path, task, {"a": pd.DataFrame()}), None) == []


STATES = ("new", "worse", "stable", "better", "resolved")


def changes(answers: dict[str, tuple[str, float]], states: list[str], *, coarse: bool = False) -> pd.DataFrame:
    """An item per state; ``answers`` gives for some of them another answer and the true state's probability."""
    rows = []
    for n, state in enumerate(states):
        answer, true = answers.get(f"i{n}", (state, 0.9))
        p = {f"p_{s}": 0.0 for s in STATES} | {f"p_{answer}": 1 - true}
        p[f"p_{state}"] = p[f"p_{state}"] + true if answer != state else true
        item = {"pair_id": f"i{n}p>i{n}", "image_id": f"i{n}", "image_prior": f"i{n}p", "patient_id": f"p{n}"}
        item |= {"study_id": f"s{n}", "class": "pleural_effusion", "state": state, "answer": answer}
        rows.append({**item, **p, "correct": float(answer == state), "days": 3.0, "rule": "same view"})
    return pd.DataFrame(rows)


def test_pairs_are_worst_by_the_true_states_probability_and_best_by_it_too(tmp_path: Path) -> None:
    states = ["worse"] * 4 + ["new", "stable"]
    a = changes({"i0": ("stable", 0.2), "i1": ("better", 0.05), "i2": ("stable", 0.4), "i3": ("worse", 0.95)}, states)
    b = changes({}, states)
    table = tables(tmp_path, "change", {"a": a, "b": b})
    groups = {group.title: group for group in worst_cases(table, "a")}
    assert groups["b right, a wrong: 3 of 6"].pair
    worst = [case for case in groups["worse"].cases if "a" in case.worst_of]
    assert [case.item for case in worst] == ["i1", "i0"]
    case = worst[0]
    assert (case.prior, case.truth, case.what, case.about) == (
        "i1p", "worse", "pleural effusion", "3 days apart, same view",
    )  # fmt: skip
    assert [(j.text, j.right) for j in case.judged] == [("better 0.95, worse 0.05", False), ("worse 0.90", True)]
    best = groups["best of a"]
    assert best.best
    assert [(c.truth, c.item) for c in best.cases] == [("new", "i4"), ("worse", "i3"), ("stable", "i5")]


def test_a_search_is_worst_by_what_it_found_and_right_by_its_first_case(tmp_path: Path) -> None:
    ids = [f"i{n}" for n in range(4)]
    frame = {"image_id": ids, "study_id": ids, "patient_id": ids, "entity": ["mass", "mass", "mass", "left mass"]}
    scores = {"positives": [2, 1, 0, 3], "reranked/recall@1": [1.0, 0.0, np.nan, 1.0]}
    scores |= {"reranked/recall@3": 1.0, "reranked/ndcg@5": [0.9, 0.2, 0.0, 0.5], "conditioned/ndcg@5": 0.0}
    table = tables(tmp_path, "entity-retrieval", {"a": pd.DataFrame({**frame, **scores})})
    groups = {group.title: group for group in worst_cases(table, None)}
    worst = groups["mass"].cases
    assert [(c.item, c.phrase, c.truth, c.judged[0].right) for c in worst] == [
        ("i1", "mass", "1 case agrees", False), ("i0", "mass", "2 cases agree", True),
    ]  # fmt: skip
    assert worst[0].judged[0].text == "nDCG@5 0.20"
    assert groups["best of a"].best
    assert [c.item for c in groups["best of a"].cases] == ["i0", "i3"]  # one of each entity


def test_references_are_judged_by_the_reading_beside_the_most_of_them(tmp_path: Path) -> None:
    ids = [f"i{n}" for n in range(4)]
    frame = {"image_id": ids, "study_id": ids, "patient_id": ids, "class": "pleural_effusion", "label": [1, 1, 0, 0]}
    frame |= {"single": 0.0, "single/call": [1.0, 0.0, 0.0, 1.0]}
    for method, scores in (("z/random@9", 0.0), ("z/demographic@1", 0.0), ("z/demographic@5", [2.0, -1.0, 1.5, -2.0])):
        frame |= {method: scores, f"{method}/call": (np.array(scores) > 0).astype(float)}
    table = tables(tmp_path, "references", {"a": pd.DataFrame(frame)})
    groups = {group.title: group for group in worst_cases(table, None)}
    worst = groups["pleural effusion"].cases
    assert [(c.item, c.phrase, c.truth) for c in worst] == [
        ("i1", "pleural_effusion", "present"), ("i2", "pleural_effusion", "absent"),
    ]  # fmt: skip
    judged = worst[0].judged[0]
    assert (judged.text, judged.right) == (
        "beside 5 references (demographic): z -1.00, absent; alone: absent", False,
    )  # fmt: skip
    assert [c.item for c in groups["best of a"].cases] == ["i0"]
