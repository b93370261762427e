import dataclasses
import hashlib
import json
import subprocess

import pandas as pd
import pytest

from lgdea.evaluation.results.identity import ids_sha256, item_ids, model_identity
from lgdea.evaluation.results.result import read_result, write_result
from lgdea.evaluation.tasks import grounding, retrieval, zero_shot
from lgdea.manifests import FILES, SEAL
from tests.helpers.mini_archive import Oracle


def test_order_and_repeats_do_not_change_the_hash_and_anything_else_does():
    ids = ["b:2", "a:10", "a:9", "ä:1"]
    expected = hashlib.sha256("a:10\na:9\nb:2\nä:1\n".encode()).hexdigest()
    assert ids_sha256(ids) == ids_sha256([*reversed(ids), "a:9"]) == ids_sha256(iter(ids)) == expected
    others = (["b:2", "a:10", "a:9"], ["b:2", "a:10", "a:9", "ä:2"], ["b:2a:10", "a:9", "ä:1"], [])
    assert len({ids_sha256(other) for other in others} | {expected}) == 5


def test_the_hash_is_that_of_ordinary_tools(tmp_path):
    ids = [f"x:{i * 7919 % 101}" for i in range(60)] + ["X:1", "x:1_a", "x:1-a"]
    (tmp_path / "ids.txt").write_text("\n".join(ids * 2) + "\n")
    command = f"LC_ALL=C sort -u {tmp_path}/ids.txt | sha256sum"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == ids_sha256(ids)


@pytest.mark.parametrize("task", [zero_shot, retrieval, grounding])
def test_every_result_names_its_items(mini, tmp_path, task):
    result = task(Oracle(), mini, bootstrap_replicates=0)
    test_studies = mini.studies.loc[mini.studies["split"] == "test", "study_id"]
    images = mini.images.loc[mini.images["study_id"].isin(test_studies), "image_id"]
    if task is grounding:
        images = images[images.isin(mini.boxes["image_id"])]
    reports = mini.reports.loc[mini.reports["study_id"].isin(test_studies), "report_id"] if task is retrieval else []
    assert result.ids_sha256 == ids_sha256([*images, *reports])
    assert result.n_ids == len(images) + len(reports)
    assert (result.suite, result.model_hash) == (None, "")
    signed = dataclasses.replace(result, suite="mine@1", model_hash="sha256:1")
    read = read_result(write_result(signed, tmp_path))
    assert (read.suite, read.model_hash, read.ids_sha256, read.n_ids) == (
        "mine@1", "sha256:1", result.ids_sha256, result.n_ids,
    )  # fmt: skip


def test_an_old_result_still_reads_and_is_known_by_its_items(mini, tmp_path):
    result = grounding(Oracle(), mini, bootstrap_replicates=0)
    file = write_result(result, tmp_path)
    content = json.loads(file.read_text())
    for key in ("suite", "ids_sha256", "n_ids", "model_hash", FILES, SEAL):
        del content[key]
    file.write_text(json.dumps(content))
    assert read_result(file).table_key == result.table_key
    file.with_suffix(".parquet").unlink()
    bare = read_result(file)
    assert (bare.suite, bare.ids_sha256, bare.n_ids) == (None, "", 0)


def test_items_without_images_have_no_ids():
    assert item_ids(pd.DataFrame({"fold": [1, 2]})) == []
    assert item_ids(pd.DataFrame({"image_id": ["b", "a", "b", None]})) == ["a", "b"]
    assert item_ids(pd.DataFrame({"query_id": ["q"], "image_id": ["a"]})) == ["q"]


def test_a_model_is_its_weights_and_configuration_not_its_card_or_place(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "README.md").write_text(f"card of {name}")
    one = model_identity(tmp_path / "one")
    assert one.startswith("sha256:")
    assert one == model_identity(str(tmp_path / "two"))
    (tmp_path / "two" / "model.safetensors").write_bytes(b"weightz")
    assert model_identity(tmp_path / "two") != one
    (tmp_path / "one" / "config.json").write_text("{ }")
    assert model_identity(tmp_path / "one") != one
    assert model_identity("open_clip:ViT-B-32/openai") == "open_clip:ViT-B-32/openai"
