import dataclasses
import io

import pytest
from rich.console import Console

from lgdea.errors import UsageError
from lgdea.evaluation.results import compare
from lgdea.evaluation.results.result import write_result
from lgdea.evaluation.tasks import grounding, retrieval, zero_shot
from tests.helpers.mini_archive import Oracle, Shuffled


@pytest.fixture(scope="module")
def folders(mini, tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    for name, model in (("chance", Shuffled(seed=1)), ("other", Shuffled(seed=2)), ("oracle", Oracle())):
        for task in (zero_shot, retrieval, grounding):
            write_result(task(model, mini, bootstrap_replicates=30), root / name)
    return {name: root / name for name in ("chance", "other", "oracle")}


def test_results_stand_side_by_side_with_their_tests(folders):
    tables = {table.task: table for table in compare.compare_results(folders, replicates=300)}
    assert set(tables) == {"zero-shot", "retrieval", "grounding"}
    for task, metric in (
        ("zero-shot", "auroc_macro"),
        ("retrieval", "image_to_report/recall@1"),
        ("grounding", "pointing_micro"),
    ):
        table = tables[task]
        assert table.labels == ["chance", "other", "oracle"]
        assert table.metrics[metric]["oracle"].value == pytest.approx(1)
        assert table.tests[metric]["oracle"].p_value < 0.01
        assert table.tests[metric]["other"].p_value > 0.02
        assert "chance" not in table.tests[metric]
        base = table.metrics[metric]["chance"].value
        assert table.tests[metric]["oracle"].difference == pytest.approx(1 - base)
    assert not [m for m in tables["retrieval"].tests if "chance" in m]


def test_results_of_different_splits_do_not_share_a_table(folders, mini, tmp_path):
    write_result(zero_shot(Oracle(), mini, split="val", bootstrap_replicates=0), tmp_path)
    tables = compare.compare_results({"a": folders["oracle"], "b": tmp_path}, task="zero-shot", replicates=0)
    assert [(table.split, table.labels) for table in tables] == [("test", ["a"]), ("val", ["b"])]


def test_no_test_where_other_items_were_scored(folders, mini, tmp_path):
    result = grounding(Oracle(), mini, bootstrap_replicates=0)
    fewer = type(result)(**{**vars(result), "items": result.items.iloc[1:]})
    write_result(fewer, tmp_path)
    table = compare.compare_results({"a": folders["chance"], "b": tmp_path}, task="grounding")[0]
    assert table.tests == {}


def test_results_of_other_items_or_suites_do_not_share_a_table(folders, mini, tmp_path):
    whole = grounding(Oracle(), mini, bootstrap_replicates=0)
    write_result(whole, tmp_path / "whole")
    for name, parts in {
        "fewer": {"items": whole.items.iloc[2:], "ids_sha256": "", "n_ids": 0},
        "suite": {"suite": "mine@1"},
        "newer": {"suite": "mine@2"},
        "same": {"suite": "mine@2", "model_hash": "sha256:0"},
    }.items():
        write_result(dataclasses.replace(whole, **parts), tmp_path / name)
    labels = {name: tmp_path / name for name in ("whole", "fewer", "suite", "newer", "same")}
    tables = compare.compare_results({"a": folders["oracle"], **labels}, task="grounding", replicates=0)
    assert sorted(table.labels for table in tables) == [["a", "whole"], ["fewer"], ["newer", "same"], ["suite"]]
    assert len({table.title for table in tables}) == 4
    assert next(t.title for t in tables if "mine@2" in t.title).endswith(f"mine@2, ids {whole.ids_sha256[:8]}")


def test_markdown_and_terminal_show_value_and_bounds(folders):
    table = compare.compare_results(folders, task="zero-shot", replicates=300)[0]
    text = compare.to_markdown(table)
    assert text.startswith(f"**zero-shot on mini (test), zero-shot-v1, ids {table.ids_sha256[:8]}**")
    assert "| metric | chance | other | oracle |" in text
    assert "1.000 [1.000, 1.000] p=0.003" in text
    lines = text.strip().splitlines()[2:]
    assert {line.count("|") for line in lines} == {5}
    console = Console(file=io.StringIO(), width=160)
    console.print(compare.to_rich(table))
    assert "auroc_macro" in console.file.getvalue()


def test_missing_results_are_one_clear_error(tmp_path):
    with pytest.raises(UsageError, match="no such results folder"):
        compare.compare_results({"a": tmp_path / "none"})
    with pytest.raises(UsageError, match="no results of zero-shot"):
        compare.compare_results({"a": tmp_path}, task="zero-shot")
