"""``lgdea.evaluate`` and ``Results``: the same numbers as the command line, escaped, comparable, read back."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import lgdea
from lgdea.cli import main
from lgdea.errors import ConfigError, UsageError
from lgdea.models.image_tower import build_image_tower
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.serialization import save_model
from lgdea.models.text_tower import build_text_tower, train_tokenizer
from lgdea.phantom import generate
from lgdea.records.archive import Archive, write_archive
from lgdea.records.schema import Box, Label, Report, Study
from lgdea.records.schema import Image as ImageRow
from lgdea.vocabulary.phrases import canonical_phrase
from tests.helpers.mini_archive import FINDINGS, Oracle, Shuffled, box_of

FAST = {"bootstrap_replicates": 50}


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """30 studies that :class:`Oracle` knows, all in the test split."""
    from tests.helpers.mini_archive import HEIGHT, WIDTH, text_of, truth_of

    folder = tmp_path_factory.mktemp("mini")
    tables: dict[str, list] = {name: [] for name in ("studies", "images", "reports", "boxes", "labels")}
    for i in range(30):
        study = f"m:{i}"
        tables["studies"].append(Study(study_id=study, patient_id=f"m:p{i}", dataset="m", split="test"))
        pixels = np.full((HEIGHT, WIDTH), 100, np.uint8)
        pixels[0, :2] = divmod(i, 256)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        tables["images"].append(
            ImageRow(image_id=f"{study}-a", study_id=study, path=f"{i}.png", width=WIDTH, height=HEIGHT)
        )
        tables["reports"].append(Report(report_id=f"{study}-r", study_id=study, text=text_of(i)))
        for finding in FINDINGS:
            value = float(finding in truth_of(i))
            tables["labels"].append(Label(study_id=study, finding=finding, value=value, labeller="truth"))
        for finding in truth_of(i):
            x0, y0, x1, y1 = box_of(i, finding)
            edges = {"x_min": x0, "y_min": y0, "x_max": x1, "y_max": y1}
            tables["boxes"].append(
                Box(box_id=f"{study}-{finding}", image_id=f"{study}-a", finding=finding, label=finding, **edges)
            )
    return write_archive(folder / "archive", "m", tables, folder, {})


@pytest.fixture(scope="module")
def oracle(mini: Archive) -> lgdea.Results:
    return lgdea.evaluate(Oracle(), mini, **FAST)


@pytest.fixture(scope="module")
def shuffled(mini: Archive) -> lgdea.Results:
    return lgdea.evaluate(Shuffled(), mini, **FAST)


def test_an_oracle_scores_one_and_a_shuffled_model_chance(oracle: lgdea.Results, shuffled: lgdea.Results) -> None:
    for task, metric in [
        ("zero-shot", "auroc_macro"),
        ("retrieval", "image_to_report/recall@1"),
        ("grounding", "pointing_macro"),
    ]:
        assert oracle[task].metrics[metric].value == 1.0
        row = shuffled.to_frame().query("task == @task and metric == @metric").iloc[0]
        chance = shuffled[task].metrics["pointing_chance_macro"].value if task == "grounding" else row["chance"]
        assert row["low"] <= chance <= row["high"]


def test_the_frame_has_every_value_of_every_task(oracle: lgdea.Results) -> None:
    frame = oracle.to_frame()
    count = sum(len(r.metrics) + sum(map(len, r.per_class.values())) for r in oracle.values())
    assert len(frame) == count
    row = frame.query("metric == 'auroc' and `class` == 'cardiomegaly'").iloc[0]
    value = oracle["zero-shot"].per_class["cardiomegaly"]["auroc"]
    assert (row["value"], row["low"], row["n"], row["chance"]) == (value.value, value.low, value.n, 0.5)
    assert frame["chance"].dtype == float


def test_the_difference_of_two_models_has_an_interval_and_a_p_value(
    oracle: lgdea.Results, shuffled: lgdea.Results, tmp_path: Path
) -> None:
    table = oracle.compare(shuffled, replicates=200)
    row = table.query("metric == 'auroc_macro'").iloc[0]
    expected = oracle["zero-shot"].metrics["auroc_macro"].value - shuffled["zero-shot"].metrics["auroc_macro"].value
    assert row["difference"] == pytest.approx(expected)
    assert 0 < row["low"] <= row["difference"] <= row["high"]
    assert row["p_value"] < 0.05
    same = oracle.compare(oracle, replicates=50)
    assert (same["difference"].dropna() == 0).all()
    shuffled.save(tmp_path)
    pd.testing.assert_frame_equal(oracle.compare(tmp_path, replicates=200), table)


def test_models_on_other_items_are_not_compared(oracle: lgdea.Results) -> None:
    others = {task: dataclasses.replace(result, ids_sha256="0" * 64) for task, result in oracle.items()}
    with pytest.raises(UsageError, match="same items"):
        oracle.compare(lgdea.Results(others))


def test_saved_results_are_those_that_were_saved(oracle: lgdea.Results, tmp_path: Path) -> None:
    loaded = lgdea.load_results(oracle.save(tmp_path / "results"))
    pd.testing.assert_frame_equal(
        loaded.to_frame().sort_values(["task", "class", "metric"], ignore_index=True),
        oracle.to_frame().sort_values(["task", "class", "metric"], ignore_index=True),
    )
    with pytest.raises(UsageError, match="holds no results"):
        lgdea.load_results(tmp_path)
    with pytest.raises(UsageError, match="no such results folder"):
        lgdea.load_results(tmp_path / "none")


def test_a_notebook_escapes_what_it_shows(oracle: lgdea.Results) -> None:
    result = oracle["zero-shot"]
    bad = dataclasses.replace(
        result,
        model="<script>alert(1)</script>",
        archive="a & b",
        notes=["<img src=x onerror=alert(1)>"],
        skipped=[{"id": "<b>", "reason": "<i>"}],
        per_class={"<u>": next(iter(result.per_class.values()))},
    )
    page = lgdea.Results({"zero-shot": bad})._repr_html_()
    for tag in ("<script", "<img", "<b>", "<i>", "<u>"):
        assert tag not in page
    assert "&lt;script&gt;" in page
    assert "a &amp; b" in page


def test_both_forms_show_chance_items_and_the_kind_of_interval(oracle: lgdea.Results) -> None:
    for shown in (repr(oracle), oracle._repr_html_()):
        assert "macro AUROC" in shown
        assert "0.500" in shown
        assert "95% percentile bootstrap over patients, 50 replicates" in shown
    assert "<td>30</td>" in oracle._repr_html_()


def test_settings_of_one_task_and_of_all_are_checked_before_anything_runs(mini: Archive) -> None:
    results = lgdea.evaluate(
        Oracle(), mini.folder, "zero-shot", settings={"zero-shot": {"classes": ("cardiomegaly",)}}, **FAST
    )
    assert list(results["zero-shot"].per_class) == ["cardiomegaly"]
    with pytest.raises(ConfigError, match=r"grounding: .*no_such"):
        lgdea.evaluate(Oracle(), mini, ["zero-shot", "grounding"], settings={"grounding": {"no_such": 1}})
    with pytest.raises(UsageError, match="choose from zero-shot, retrieval"):
        lgdea.evaluate(Oracle(), mini, ["zeroshot"])
    with pytest.raises(UsageError, match="settings for grounding, which is not evaluated"):
        lgdea.evaluate(Oracle(), mini, ["zero-shot"], settings={"grounding": {}})
    with pytest.raises(UsageError, match="a suite grades by the archive's labels"):
        lgdea.evaluate(Oracle(), mini, suite="phantom", evidence="somewhere")


def test_evidence_may_be_a_frame(mini: Archive) -> None:
    rows = [(f"m:{i}-r", FINDINGS[0], "present", "left") for i in range(30)]
    units = pd.DataFrame(rows, columns=["report_id", "finding", "assertion", "laterality"])
    results = lgdea.evaluate(Shuffled(), mini, "retrieval", evidence=units, **FAST)
    # Every study has the same evidence, so whatever is found agrees with it.
    assert results["retrieval"].metrics["image_to_report/evidence_precision@10"].value == 1.0


def test_evidence_of_other_reports_is_refused_in_memory_too(mini: Archive, tmp_path: Path) -> None:
    own = lgdea.extract(mini)
    graded = lgdea.evaluate(Shuffled(), mini, "retrieval", evidence=own, **FAST)["retrieval"]
    saved = lgdea.evaluate(Shuffled(), mini, "retrieval", evidence=own.save(tmp_path / "e"), **FAST)["retrieval"]
    assert "graded by evidence" in graded.notes
    assert graded.n_ids == saved.n_ids
    other = mini.reports.assign(text="FINDINGS: Small left effusion.")
    for evidence in (lgdea.extract(other), lgdea.extract(other).save(tmp_path / "other")):
        with pytest.raises(UsageError, match="other reports than this archive's"):
            lgdea.evaluate(Shuffled(), mini, "retrieval", evidence=evidence, **FAST)


def test_the_command_line_writes_the_same_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = generate(tmp_path / "archive", studies=60, size=64).folder
    tokenizer = train_tokenizer(["The heart is enlarged.", "No pneumothorax."])
    from lgdea.imaging.transforms import Preprocess

    text = build_text_tower("small-bert", False, tokenizer, hidden=32)
    tower = build_image_tower("test_resnet", False, 64, 16)
    model = LgdeaModel(tower, text, tokenizer, preprocess=Preprocess(64), dim=16, prototypes=4, lesion_queries=2)
    folder = save_model(model, tmp_path / "run" / "model")
    results = lgdea.evaluate(folder, archive, ["zero-shot", "grounding"], out=tmp_path / "python", split="all", **FAST)
    for task in results:
        with pytest.raises(SystemExit) as left:
            words = [
                "eval",
                task,
                folder,
                archive,
                "--out",
                tmp_path / "shell",
                "-s",
                "bootstrap_replicates=50",
                "-s",
                "split=all",
            ]
            main([str(word) for word in words])
        assert left.value.code == 0
        ours, theirs = (json.loads((tmp_path / place / f"{task}.json").read_text()) for place in ("python", "shell"))
        assert ours == theirs
        assert ours["model_hash"].startswith("sha256:")
    assert "intervals: 95% percentile bootstrap over patients, 50 replicates" in capsys.readouterr().out
    shell, python = (lgdea.load_results(tmp_path / place) for place in ("shell", "python"))
    pd.testing.assert_frame_equal(shell.to_frame(), python.to_frame())


def test_several_labellers_are_named_with_a_flag_that_exists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = generate(tmp_path / "archive", studies=60, size=64)
    twice = pd.concat([archive.labels, archive.labels.assign(labeller="second")])
    other = archive.with_tables(labels=twice)
    with pytest.raises(UsageError) as error:
        lgdea.evaluate(Shuffled(), other, ["zero-shot"])
    first = min(twice["labeller"])
    assert f"--labeller {first}" in str(error.value)
    settings = {"zero-shot": {"labeller": first, "min_positive": 1}}
    assert lgdea.evaluate(Shuffled(), other, ["zero-shot"], settings=settings, **FAST)["zero-shot"].metrics


def test_a_heat_map_is_a_picture_in_one_call(mini: Archive, tmp_path: Path) -> None:
    file = mini.image_path("m:0-a")
    phrase = canonical_phrase(FINDINGS[0])
    bare = lgdea.show_heat_map(Oracle(), file, phrase, legend=False)
    assert bare.size == (24, 20)
    full = lgdea.show_heat_map(Oracle(), file, phrase, boxes=[box_of(0, FINDINGS[0])], max_side=240)
    assert full.width > 240
    full.save(tmp_path / "map.png")
    entries = lgdea.write_heat_maps(Oracle(), file, [phrase], out=tmp_path / "maps")
    assert entries[0]["boxes"][0]["box"] == list(box_of(0, FINDINGS[0]))
    written = np.asarray(Image.open(tmp_path / "maps" / "overlays" / f"{entries[0]['key']}.png"))
    np.testing.assert_array_equal(written, np.asarray(lgdea.show_heat_map(Oracle(), file, phrase)))
    with pytest.raises(UsageError, match="phrase is empty"):
        lgdea.show_heat_map(Oracle(), file, " ")
    with pytest.raises(UsageError, match="nothing to draw"):
        lgdea.write_heat_maps(Oracle(), file, out=tmp_path / "none")


def test_metrics_are_all_there_and_their_examples_run() -> None:
    import doctest

    from lgdea import metrics

    assert all(callable(getattr(metrics, name)) for name in metrics.__all__)
    assert doctest.testmod(metrics).failed == 0
    assert math.isnan(metrics.auroc([0.1], [1]))
