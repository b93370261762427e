import json
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from lgdea.cli import main
from lgdea.evaluation.results.identity import ids_sha256, model_identity
from lgdea.evaluation.results.result import read_result
from lgdea.evaluation.suites.suite import load_suite, shipped_suites
from lgdea.imaging.transforms import Preprocess
from lgdea.models.image_tower import build_image_tower
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.serialization import save_model
from lgdea.models.text_tower import build_text_tower, train_tokenizer
from tests.helpers.command_line import run_lgdea
from tests.helpers.suite_archives import ms_cxr, openi

PHANTOM = load_suite("phantom")
QUICK = ("--set", "bootstrap_replicates=10")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["Moderate left pleural effusion.", "No pneumothorax. The heart is enlarged."], 300)
    image, text = (
        build_image_tower("mobilenetv3_small_050", False, 32, 16),
        build_text_tower("small-bert", False, tokenizer, hidden=32),
    )
    whole = LgdeaModel(image, text, tokenizer, preprocess=Preprocess(32), dim=16, lesion_queries=2, prototypes=4)
    return save_model(whole.eval(), tmp_path_factory.mktemp("model") / "model")


def test_the_list_names_every_task_of_every_suite(capsys):
    code, out, _ = run_lgdea(capsys, "eval", "suites", "--json")
    facts = json.loads(out)["result"]["suites"]
    assert code == 0
    assert [(f["suite"], f["task"]) for f in facts] == [(s.label, task) for s in shipped_suites() for task in s.tasks]
    boxes = next(f for f in facts if f["suite"] == "nih-boxes@1")
    assert boxes["dataset"] == "nih-cxr14"
    assert boxes["expected"] == {"images": 880, "boxes": 984}
    assert boxes["ids_sha256"] is None
    code, out, _ = run_lgdea(capsys, "eval", "suites")
    assert code == 0
    assert "nih-boxes@1" in out


def test_freeze_then_evaluate(capsys, tmp_path, model):
    archive = ms_cxr(tmp_path / "ms-cxr").folder
    file, results = tmp_path / "mine.yaml", tmp_path / "results"
    code, out, _ = run_lgdea(capsys, "eval", "freeze", "ms-cxr", archive, "--out", file)
    expected = ids_sha256(f"ms-cxr:i{i}" for i in range(6))
    assert code == 0
    assert f"grounding: 6 ids, sha256 {expected}" in out
    assert "not the whole of ms-cxr@1: 1,162 phrases expected, 6 here" in " ".join(out.split())

    code, out, _ = run_lgdea(capsys, "eval", "grounding", model, archive, "--suite", file, *QUICK, "--out", results)
    assert code == 0
    assert f"6 ids, sha256 {expected}" in out
    result = read_result(results)
    assert (result.suite, result.ids_sha256, result.n_ids) == ("ms-cxr@1", expected, 6)
    assert result.model_hash == model_identity(model)

    free = tmp_path / "free"
    assert run_lgdea(capsys, "eval", "grounding", model, archive, "--set", "split=all", *QUICK, "--out", free)[0] == 0
    assert (read_result(free).suite, read_result(free).ids_sha256) == (None, expected)
    assert read_result(free).model_hash == result.model_hash


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["zero-shot", "--suite", "ms-cxr"], "the suite ms-cxr@1 has no zero-shot"),
        (["grounding", "--suite", "ms-cxr", "--set", "split=test"], "the suite ms-cxr@1 fixes split=all, not test"),
        (["grounding", "--suite", "ms-cxt"], "no suite 'ms-cxt'"),
        (["grounding", "--suite", "nih-boxes"], "is an archive of ms-cxr, the suite nih-boxes@1 is for nih-cxr14"),
        (
            ["retrieval", "--suite", "openi-retrieval", "--evidence", "."],
            "leave out evidence (--evidence) or suite (--suite)",
        ),
    ],
)
def test_a_request_that_does_not_fit_the_suite_is_one_line(capsys, tmp_path, arguments, says):
    archive = ms_cxr(tmp_path / "ms-cxr").folder
    task, *options = arguments
    code, _, err = run_lgdea(capsys, "eval", task, "nomodel", archive, *options, "--out", tmp_path / "results")
    assert code == 2
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_freeze_takes_one_task_and_refuses_what_is_none(capsys, tmp_path):
    archive = openi(tmp_path / "openi", count=40).folder
    code, out, _ = run_lgdea(
        capsys,
        "eval",
        "freeze",
        "openi-retrieval",
        archive,
        "--task",
        "retrieval",
        "--json",
        "--out",
        tmp_path / "a.yaml",
    )
    facts = json.loads(out)["result"]["tasks"]
    assert code == 0
    assert list(facts) == ["retrieval"]
    assert facts["retrieval"]["n"] == len(load_suite(tmp_path / "a.yaml").tasks["retrieval"].ids)
    code, _, err = run_lgdea(
        capsys, "eval", "freeze", "openi-retrieval", archive, "--task", "probe", "--out", tmp_path / "b.yaml"
    )
    assert (code, "no task 'probe'" in err) == (2, True)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """The archive that the suite's own command makes."""
    out = tmp_path_factory.mktemp("phantom") / "archive"
    words = PHANTOM.build.replace("ARCHIVE", str(out)).split()
    assert words[0] == "lgdea"
    with pytest.raises(SystemExit) as left:
        main(words[1:])
    assert left.value.code == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("task", list(PHANTOM.tasks))
def test_the_phantom_suite_is_the_shipped_one_to_the_last_id(capsys, tmp_path, phantom, model, task):
    benchmark = PHANTOM.tasks[task]
    command = ("eval", task, model, phantom, "--suite", "phantom", *QUICK)
    code, out, err = run_lgdea(capsys, *command, "--out", tmp_path, "--json")
    assert code == 0, err
    content = json.loads(out)["result"]
    assert (content["suite"], content["ids_sha256"]) == ("phantom@1", benchmark.ids_sha256)
    assert not any("not the whole" in note or "not in this result" in note for note in content["notes"])
    items = pd.read_parquet(tmp_path / f"{task}.parquet")
    ids = items["query_id" if task == "retrieval" else "image_id"]
    assert ids_sha256(ids) == benchmark.ids_sha256
    expected = benchmark.expected
    assert ids.nunique() == content["n_ids"] == expected.images + (expected.reports or 0)
    if task == "grounding":
        assert (len(items), items["n_boxes"].sum()) == (expected.phrases, expected.boxes)


@pytest.mark.slow
def test_another_phantom_is_not_the_suite_s(capsys, tmp_path, model, phantom):
    other = tmp_path / "other"
    assert run_lgdea(capsys, "data", "build", "phantom", "default", "--out", other, "--option", "studies=20")[0] == 0
    code, _, err = run_lgdea(capsys, "eval", "grounding", model, other, "--suite", "phantom", "--out", tmp_path / "r")
    assert code == 1
    assert "settings.studies is 20, not 600" in err
    assert "--option studies=600 --option seed=2027" in err
    assert yaml.safe_load((phantom / "archive.json").read_text())["info"]["settings"]["studies"] == 600
