"""``lgdea.pretrain`` and ``lgdea.create_model``: paths or objects in, a model out, nothing through strings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import lgdea
from lgdea.api.evidence import Evidence
from lgdea.api.extraction import load_evidence
from lgdea.errors import ConfigError, UsageError
from lgdea.pretraining.config import PretrainConfig
from lgdea.records.archive import Archive
from lgdea.records.pairing import make_pairing, write_pairing

SETTINGS: dict[str, Any] = {
    "image": {"tower": "test_resnet", "size": 64},
    "text": {"hidden": 32, "layers": 1, "vocab_size": 300},
    "model": {"dim": 16, "lesion_queries": 2, "prototypes": 6},
    "data": {"batch_size_per_device": 8, "cache_workers": 1},
    "trainer": {"max_steps": 3, "accelerator": "cpu", "precision": "32-true", "log_every_n_steps": 1},
}


@pytest.fixture
def pairing(archive: Archive) -> pd.DataFrame:
    return make_pairing(archive, 0.5)


def in_memory(folder: Path) -> Evidence:
    """The evidence of a folder, as if it had never been there."""
    saved = load_evidence(folder)
    manifest = json.loads((folder / "run.json").read_text())
    return Evidence(saved.to_frame(), saved.rejects, manifest=manifest)


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_objects_give_the_model_that_paths_give_also_with_a_hash_in_the_path(
    archive: Archive, evidence_folder: Path, pairing: pd.DataFrame, tmp_path: Path
) -> None:
    place = tmp_path / "my #1: runs"
    write_pairing(pairing, place / "pairing.parquet")
    first = lgdea.pretrain(archive.folder, evidence_folder, place / "pairing.parquet", place / "paths", **SETTINGS)
    second = lgdea.pretrain(archive, in_memory(evidence_folder), pairing, place / "objects", **SETTINGS)
    for name, value in weights_of(first).items():
        assert torch.equal(second.state_dict()[name], value), name
    assert second.name == "objects"
    assert load_evidence(place / "objects" / "inputs" / "evidence") == load_evidence(evidence_folder)
    written = yaml.safe_load((place / "objects" / "config.yaml").read_text())
    assert written["data"]["pairing"] == str(place / "objects" / "inputs" / "pairing.parquet")


def test_the_same_call_with_objects_resumes_and_other_objects_are_refused(
    archive: Archive, evidence_folder: Path, pairing: pd.DataFrame, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    model = lgdea.pretrain(archive, in_memory(evidence_folder), pairing, run, **SETTINGS)
    (run / "_SUCCESS").unlink()
    again = lgdea.pretrain(archive, in_memory(evidence_folder), pairing, run, **SETTINGS)
    for name, value in weights_of(model).items():
        assert torch.equal(again.state_dict()[name], value), name
    before = (run / "inputs" / "pairing.parquet").read_bytes()
    with pytest.raises(UsageError, match="another pairing"):
        lgdea.pretrain(archive, in_memory(evidence_folder), make_pairing(archive, 0.4), run, **SETTINGS)
    assert (run / "inputs" / "pairing.parquet").read_bytes() == before
    with pytest.raises(UsageError, match="holds something else"):
        part = load_evidence(evidence_folder).to_frame().iloc[:-1]
        manifest = json.loads((evidence_folder / "run.json").read_text())
        lgdea.pretrain(archive, Evidence(part, (), manifest=manifest), pairing, run, **SETTINGS)


def test_an_objective_without_evidence_needs_none(archive: Archive, pairing: pd.DataFrame, tmp_path: Path) -> None:
    clip = lgdea.pretrain(archive, None, pairing, tmp_path / "clip", objective={"name": "clip"}, **SETTINGS)
    assert clip.scoring == "global"
    assert clip.encode_text("Small left pleural effusion.").shape == (1, 16)
    with pytest.raises(UsageError, match=r"objective lgdea needs evidence; set data\.evidence"):
        lgdea.pretrain(archive, None, pairing, tmp_path / "lgdea", **SETTINGS)


def test_configurations_come_by_name_file_mapping_or_object_and_settings_win(
    archive: Archive, evidence_folder: Path, pairing: pd.DataFrame, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**SETTINGS, "seed": 3}))
    resolved = PretrainConfig.model_validate(
        {**SETTINGS, "seed": 3, "data": {**SETTINGS["data"], "archive": "x", "pairing": "y"}}
    )
    for name, config in {"file": file, "mapping": {**SETTINGS, "seed": 3}, "object": resolved}.items():
        lgdea.pretrain(archive, evidence_folder, pairing, tmp_path / name, config, trainer={"max_steps": 2})
        written = yaml.safe_load((tmp_path / name / "config.yaml").read_text())
        assert written["trainer"] == {**SETTINGS["trainer"], "max_steps": 2}
        assert (written["seed"], written["image"]["tower"]) == (3, "test_resnet")
        assert written["data"]["archive"] == str(archive.folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimiser": {"lr": 1e-3}}, "optimiser: no such key; did you mean optimizer?"),
        ({"objective": {"name": "convirt"}}, "objective.name"),
        ({"trainer": {"max_step": 3}}, "no argument max_step; did you mean max_steps?"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_written(
    archive: Archive, pairing: pd.DataFrame, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        lgdea.pretrain(archive, None, pairing, tmp_path / "run", **settings)
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_folder_with_other_things_and_a_part_of_an_archive_are_refused(
    archive: Archive, pairing: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="is not empty and holds no lgdea run"):
        lgdea.pretrain(archive, None, pairing, tmp_path, objective={"name": "clip"}, **SETTINGS)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    part = archive.with_tables(images=archive.images.iloc[:10])
    with pytest.raises(UsageError, match="replaced in memory"):
        lgdea.pretrain(part, None, pairing, tmp_path / "run", objective={"name": "clip"}, **SETTINGS)


def test_a_created_model_is_saved_and_loaded_bit_for_bit(tmp_path: Path) -> None:
    torch.manual_seed(1)
    texts = ["Small left pleural effusion.", "The lungs are clear."]
    model = lgdea.create_model("test_vit", texts=texts, image_size=32, stride=8, hidden=32, layers=1, dim=8)
    lgdea.save_model(model, tmp_path / "model")
    loaded = lgdea.load_model(tmp_path / "model")
    image = np.random.default_rng(0).random((40, 50))
    np.testing.assert_array_equal(loaded.encode_image(image), model.encode_image(image))
    np.testing.assert_array_equal(loaded.encode_text(texts), model.encode_text(texts))
    np.testing.assert_array_equal(loaded.heat_map(image, "nodule"), model.heat_map(image, "nodule"))
    torch.manual_seed(1)
    same = lgdea.create_model("test_vit", texts=texts, image_size=32, stride=8, hidden=32, layers=1, dim=8)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(model).values(), weights_of(same).values(), strict=True))


def test_a_tokenizer_may_be_another_models(tmp_path: Path) -> None:
    first = lgdea.create_model("test_resnet", texts=["one two", "three"], image_size=64, hidden=32, layers=1)
    lgdea.save_model(first, tmp_path / "model")
    for tokenizer in (first.tokenizer, tmp_path / "model"):
        second = lgdea.create_model("test_resnet", tokenizer=tokenizer, image_size=64, hidden=32, layers=1)
        assert second.tokenizer.get_vocab() == first.tokenizer.get_vocab()
    with pytest.raises(ConfigError, match="needs a tokenizer; give texts="):
        lgdea.create_model("test_resnet", image_size=64)
    with pytest.raises(ConfigError, match="has no pretrained weights"):
        lgdea.create_model("test_resnet", texts=["a"], image_size=64, text_pretrained=True)


def test_names_that_can_be_chosen_are_listed() -> None:
    assert lgdea.list_objectives()[0] == "lgdea"
    assert {"demo-clip", "limited-pairing", "vitb16-bert"} <= set(lgdea.list_configs())
