"""What is checked before a model is loaded, and results that are not replaced in silence."""

import json

import pandas as pd
import pytest

import lgdea
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import TASK_CONFIGS, list_settings
from lgdea.evaluation.tasks.checks import check_task
from lgdea.records.archive import Archive
from tests.helpers.command_line import run_lgdea

NOWHERE = "python:no.such.module:FACTORY"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two labellers, no boxes."""
    folder = tmp_path_factory.mktemp("phantom")
    lgdea.build_archive("phantom", "default", folder / "one", studies=60, size=64)
    made = Archive.open(folder / "one")
    reports = made.reports[["study_id", "text"]].assign(patient_id=made.reports["study_id"])
    images = made.images[["study_id"]].assign(path=[str(made.image_path(i)) for i in made.images["image_id"]])
    labels = made.labels[["study_id", "finding", "value"]]
    both = pd.concat([labels.assign(labeller="nlp"), labels.assign(labeller="reader")])
    both = both.drop_duplicates(["study_id", "finding", "labeller"])
    return lgdea.build_archive(
        "two", reports=reports, images=images, labels=both, image_root="/", out=folder / "two"
    ).folder


@pytest.mark.parametrize("task", ["zero-shot", "probe", "features"])
def test_several_labellers_are_told_before_the_model_is_looked_for(archive, task, tmp_path, capsys):
    code, _, err = run_lgdea(capsys, "eval", task, NOWHERE, archive, "--out", tmp_path)
    assert code == 2
    assert "has labels by nlp, reader; choose one: --labeller nlp" in err


def test_retrieval_also_names_evidence(archive, tmp_path, capsys):
    code, _, err = run_lgdea(capsys, "eval", "retrieval", NOWHERE, archive, "--out", tmp_path)
    assert code == 2
    assert "--labeller nlp" in err
    assert "--evidence" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("zero-shot", "--labeller", "covid"), "has no labels by 'covid'; known: nlp, reader"),
        (("zero-shot", "--labeller", "nlp", "--classes", "nih41"), "'nih41'"),
        (("zero-shot", "--labeller", "nlp", "--classes", "none.txt"), "none.txt: no such file of classes"),
        (("grounding",), "has no boxes of findings"),
        (("probe", "--labeller", "nlp", "-s", "drawz=1"), "did you mean draws?"),
        (("grounding", "-s", "image_cache=nowhere"), "nowhere"),
    ],
)
def test_what_is_wrong_is_told_before_the_model_is_looked_for(archive, options, message, tmp_path, capsys):
    task, *more = options
    code, _, err = run_lgdea(capsys, "eval", task, tmp_path, archive, "--out", tmp_path / "out", *more)
    assert code in (1, 2)
    assert message in err
    assert err.count("\n") == 1


def test_findings_of_a_model_of_ones_own_are_not_looked_up(archive):
    config = TASK_CONFIGS["zero-shot"](classes="of_my_own,others", labeller="nlp")
    check_task("zero-shot", Archive.open(archive), config, classes=False)
    with pytest.raises(UsageError, match="of_my_own"):
        check_task("zero-shot", Archive.open(archive), config)


def test_an_empty_split_is_told(archive):
    opened = Archive.open(archive)
    opened.studies = opened.studies.assign(split="train")
    with pytest.raises(DataError, match="the test split has no images"):
        check_task("zero-shot", opened, TASK_CONFIGS["zero-shot"](labeller="nlp"))


def test_every_setting_of_every_task_is_listed_with_a_description():
    rows = list_settings()
    assert {task for task, *_ in rows} == {"all", *TASK_CONFIGS}
    assert all(description for *_, description in rows)
    assert ("zero-shot", "min_positive") in {(task, name) for task, name, *_ in rows}


class _Constant:
    """Gives every image the same embedding, every phrase the same score."""

    scoring = "global"

    def __init__(self, name="constant"):
        self.name = name

    def encode_images(self, images):
        return self.encode_texts([""] * len(images))

    def encode_texts(self, texts):
        import numpy as np

        return np.full((len(texts), 4), 0.5, np.float32)

    def score_phrases(self, images, phrases):
        import numpy as np

        return np.zeros((len(images), len(phrases)), np.float32)

    def heat_maps(self, image, phrases):
        return [image for _ in phrases]


@pytest.mark.parametrize("task", ["zero-shot", "probe"])
def test_labels_that_call_nothing_absent_are_told_as_the_reason(archive, task):
    opened = Archive.open(archive)
    positive = opened.with_tables(labels=opened.labels[opened.labels["value"] == 1])
    with pytest.raises(DataError, match=r"no class has .* call nothing absent.*labels\.unlisted_is_absent"):
        lgdea.evaluate(_Constant(), positive, [task], settings={task: {"labeller": "nlp"}})


def test_a_long_result_is_shown_by_its_main_metrics_unless_all_are_asked_for(archive, tmp_path, capsys):
    model = lgdea.create_model("test_resnet", texts=["a b"], image_size=32, hidden=16, layers=1, dim=8)
    lgdea.save_model(model, tmp_path / "model")
    command = ["eval", "retrieval", tmp_path / "model", archive, "--out", tmp_path / "r", "--labeller", "nlp"]
    code, out, err = run_lgdea(capsys, *command, "--split", "all")
    assert code == 0, err
    assert "image_to_report/recall@10" in out
    assert "image_to_report/recall_chance@10" in out
    assert "recall@1 " not in out
    assert "more metrics: --all shows them" in out
    code, out, err = run_lgdea(capsys, *command, "--split", "all", "--all")
    assert code == 0, err
    assert "recall@1 " in out
    assert "more metrics" not in out


def test_a_result_of_something_else_is_kept(archive, tmp_path):
    common = {"out": tmp_path, "split": "all", "bootstrap_replicates": 0}
    settings = {"zero-shot": {"labeller": "nlp", "min_positive": 1}}

    def evaluate(model=None, **more):
        return lgdea.evaluate(
            model or _Constant(), archive, ["zero-shot"], settings=more.pop("settings", settings), **{**common, **more}
        )

    evaluate()
    evaluate(batch_size=3)  # the same again: nothing is lost
    before = (tmp_path / "zero-shot.json").read_bytes()
    for more, told in [
        ({"split": "val"}, r"split: all -> val"),
        ({"model": _Constant("other")}, r"model: constant -> other"),
        ({"settings": {"zero-shot": {"labeller": "reader", "min_positive": 1}}}, r"labeller: nlp -> reader"),
        ({"settings": {"zero-shot": {"labeller": "nlp", "min_positive": 2}}}, r"min_positive: 1 -> 2"),
    ]:
        with pytest.raises(UsageError, match=rf"something else \(.*{told}.*--overwrite"):
            evaluate(**more)
    assert (tmp_path / "zero-shot.json").read_bytes() == before
    evaluate(model=_Constant("other"), overwrite=True)
    assert json.loads((tmp_path / "zero-shot.json").read_text())["model"] == "other"


def test_a_result_that_other_evidence_graded_is_kept(archive, tmp_path):
    units = lgdea.extract(archive).to_frame()
    common = {"out": tmp_path, "split": "all", "bootstrap_replicates": 0}

    def evaluate(evidence, **more):
        return lgdea.evaluate(_Constant(), archive, ["retrieval"], evidence=evidence, **common, **more)

    first = evaluate(units)["retrieval"]
    again = evaluate(units.sample(frac=1, random_state=0).assign(run_id="x"))["retrieval"]  # says the same
    assert again.evidence_sha256 == first.evidence_sha256 != ""
    for other in (units.iloc[1:], units.assign(laterality="left")):
        with pytest.raises(UsageError, match=r"something else \(evidence: .* -> .*--overwrite"):
            evaluate(other)
    evaluate(units.iloc[1:], overwrite=True)
