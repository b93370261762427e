"""``lgdea find`` and ``lgdea compare train``: what they print and draw, and one clear line for each wrong input."""

from __future__ import annotations

import json
import shutil
from copy import copy

import numpy as np
import pytest
from PIL import Image

import lgdea
from lgdea.cli import main
from lgdea.comparison.entity.train import load_entity_model
from lgdea.errors import DataError


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return caught.value.code, out, err


@pytest.fixture
def query(bench):
    return bench.archive.images["image_id"].iloc[0]


def test_find_prints_and_draws_cases_of_other_patients(bench, trained, query, capsys, tmp_path):
    picture = tmp_path / "cases.png"
    arguments = (trained, bench.archive.folder, "--image", query, "--entity", "left pleural effusion", "--top", 3)
    code, out, err = run(capsys, "find", *arguments, "--out", picture, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)["result"]
    assert found["entity"]["finding"] == "pleural_effusion"
    assert len(found["cases"]) == 3
    assert all(case["patient_id"] != found["query"]["patient_id"] for case in found["cases"])
    scores = [case["score"] for case in found["cases"]]
    assert scores == sorted(scores, reverse=True)
    with Image.open(picture) as drawn:
        assert drawn.width > 4 * 150
    code, out, _ = run(capsys, "find", *arguments)
    assert code == 0
    assert found["cases"][0]["image_id"].rsplit(":", 1)[0] in out.replace("\n", "")


@pytest.mark.parametrize(
    ("place", "told"), [("file/x.png", "the output lies in a file"), ("/proc/x.png", "nothing can be written here")]
)
def test_find_says_that_it_cannot_write_before_it_reads_a_model(capsys, tmp_path, place, told):
    (tmp_path / "file").touch()
    arguments = (tmp_path / "no-model", tmp_path / "no-archive", "--image", "i", "--entity", "effusion")
    code, out, err = run(capsys, "find", *arguments, "--out", tmp_path / place)
    assert (code, out) == (2, "")
    assert told in err
    assert "choose another --out" in err


def test_find_keeps_to_the_querys_modality(bench, trained):
    archive = copy(bench.archive)
    archive.images = archive.images.assign(modality=np.where(np.arange(len(archive.images)) % 2, "CR", "CT"))
    modality = archive.images.set_index("image_id")["modality"]
    model, query = load_entity_model(trained), archive.images["image_id"].iloc[0]
    apart = lgdea.find_cases(model, archive, query, "cardiomegaly", top=20)
    together = lgdea.find_cases(model, archive, query, "cardiomegaly", top=20, same_modality=False)
    assert set(modality[[case.image_id for case in apart.cases]]) == {modality[query]}
    assert len(set(modality[[case.image_id for case in together.cases]])) == 2
    more = lgdea.find_cases(model, archive, query, "cardiomegaly", top=30).cases
    told = [case.told_score for case in more]
    assert "-" not in told[:20]  # the reranked candidates, by their score
    assert told[:20] == sorted(told[:20], reverse=True)
    assert set(told[20:]) == {"-"}  # behind them the similarity orders
    assert [case.similarity for case in more[20:]] == sorted((c.similarity for c in more[20:]), reverse=True)


def test_candidates_that_cannot_be_read_and_fewer_than_asked_for_are_told(bench, trained, query, tmp_path, capsys):
    folder = tmp_path / "archive"
    shutil.copytree(bench.archive.folder, folder)
    archive = lgdea.open_archive(folder)
    others = archive.images[archive.images["study_id"].isin(archive.studies["study_id"][60:])]["image_id"]
    archive.image_path(others.iloc[0]).write_bytes(b"no picture")
    code, out, err = run(
        capsys, "find", trained, folder, "--image", query, "--entity", "cardiomegaly", "--top", 100_000, "--json"
    )
    assert code == 0, err
    found = json.loads(out)["result"]
    assert [item["id"] for item in found["unreadable"]] == [others.iloc[0]]
    assert len(found["cases"]) == found["candidates"] < len(archive.images) - 1
    code, out, _ = run(
        capsys, "find", trained, folder, "--image", query, "--entity", "cardiomegaly", "--top", found["candidates"] + 1
    )
    told = "".join(out.split())
    assert f"1 image cannot be read and is left out, first {others.iloc[0]}".replace(" ", "") in told
    assert f"only {found['candidates']} cases".replace(" ", "") in told


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--entity": "xqzzv blorp"}, "no word that the vocabulary or the model knows"),
        ({"--entity": " "}, "the entity is empty"),
        ({"--entity": "no effusion"}, "denies a finding"),
        ({"--image": "phantom:p99999s1:frontal"}, "did you mean phantom:p0"),
        ({"--split": "nowhere"}, "no split 'nowhere'; choose one of train, val, test, all"),
        ({"model": "base"}, "no entity head"),
    ],
)
def test_a_wrong_input_is_one_clear_line(bench, trained, query, capsys, changed, message):
    options = {"--image": query, "--entity": "cardiomegaly"} | {k: v for k, v in changed.items() if k != "model"}
    model = bench.base if changed.get("model") == "base" else trained
    code, out, err = run(capsys, "find", model, bench.archive.folder, *(x for pair in options.items() for x in pair))
    assert code not in (0, None)
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_an_archive_of_one_patient_and_an_unreadable_query_are_refused(bench, trained, query, tmp_path):
    studies = bench.archive.studies.assign(patient_id="p")
    with pytest.raises(DataError, match="only one patient"):
        lgdea.find_cases(trained, bench.archive.with_tables(studies=studies), query, "cardiomegaly")
    images = bench.archive.images.copy()
    images.loc[images["image_id"] == query, "path"] = str(tmp_path / "gone.png")
    with pytest.raises(DataError, match="query image cannot be read"):
        lgdea.find_cases(trained, bench.archive.with_tables(images=images), query, "cardiomegaly")


def test_any_words_are_searched_for_and_the_map_is_in_source_pixels(bench, trained, query):
    model = load_entity_model(trained)
    found = lgdea.find_cases(model, bench.archive, query, "mitral configuration", top=2)
    assert found.entity.kind == "open"
    row = bench.archive.images.set_index("image_id").loc[query]
    heat = found.maps[query]
    assert heat.shape == (row["height"], row["width"])
    assert np.nanmin(heat) >= 0
    assert set(found.maps) == {query, *(case.image_id for case in found.cases)}


def test_evaluation_and_training_from_the_command_line(bench, trained, capsys, tmp_path):
    code, _, err = run(
        capsys, "eval", "entity-retrieval", trained, bench.archive.folder, "--evidence", bench.evidence,
        "--out", tmp_path, "--set", "bootstrap_replicates=20", "--set", "split=all",
    )  # fmt: skip
    assert code in (0, None), err
    result = json.loads((tmp_path / "entity-retrieval.json").read_text())
    assert result["metrics"]["conditioned/recall@1"]["definition"] == "entity-retrieval/recall-v1"
    assert "entities: unseen" in result["per_class"]
    code, _, err = run(capsys, "eval", "entity-retrieval", trained, bench.archive.folder, "--out", tmp_path / "x")
    assert code not in (0, None)
    assert "needs evidence" in err
    code, _, err = run(
        capsys, "eval", "entity-retrieval", bench.base, bench.archive.folder, "--evidence", bench.evidence,
        "--out", tmp_path / "y",
    )  # fmt: skip
    assert "no entity head" in err
    code, _, err = run(
        capsys, "compare", "train", bench.base, bench.archive.folder, "--evidence", bench.evidence,
        "--out", tmp_path / "run", "--set", "trainer.max_steps=1", "--set", "head.widht=3",
    )  # fmt: skip
    assert code not in (0, None)
    assert "widht" in err
