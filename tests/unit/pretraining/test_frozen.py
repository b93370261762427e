"""Pretraining with frozen towers: on a cache of their features, to a model that is whole."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lgdea.api.integrity import verify_folder
from lgdea.config import dump_yaml
from lgdea.errors import ConfigError, DataError, UsageError
from lgdea.models.cached_rows import pack, unpack
from lgdea.models.image_tower import build_image_tower
from lgdea.models.serialization import load_model
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.fit import fit
from lgdea.pretraining.transport import load
from lgdea.training.feature_cache import FeatureCache
from tests.helpers.vision_encoders import vision_encoder

STILL = dict.fromkeys(("rotate_degrees", "scale", "translate", "brightness", "contrast", "noise"), 0)


@pytest.fixture
def frozen(config, tmp_path):
    """A configuration with frozen towers, its cache in the test's own folder."""

    def make(name: str = "lgdea", steps: int = 12, *, tower: str = "test_resnet", **image) -> PretrainConfig:
        made = config(name, steps).model_dump(mode="json")
        made["image"] |= {"tower": tower, "freeze": "all", "cached_views": 2, **image}
        made["text"]["freeze"] = "all"
        made["data"]["feature_cache"] = str(tmp_path / "features")
        return PretrainConfig.model_validate(made)

    return make


def values(run: Path, name: str = "loss") -> pd.Series:
    table = pd.read_csv(run / "metrics.csv")
    return table[table["name"].str.startswith(name)].set_index(["name", "step"])["value"]


def caches(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def test_transport_finds_evidence_by_cached_views(frozen, tmp_path) -> None:
    made = frozen().model_dump(mode="json")
    made["objective"]["weights"]["transport"] = 3.0
    fit(PretrainConfig.model_validate(made), tmp_path / "run")
    found = load(tmp_path / "run" / "transport")
    assert np.isfinite(found).all(axis=1).sum() == 30
    assert found[np.isfinite(found)].std() > 0.01  # images differ
    assert values(tmp_path / "run", "loss/transport").notna().all()


@pytest.mark.parametrize("name", ["lgdea", "clip", "gloria", "medclip", "sclip"])
def test_the_model_is_whole_and_its_towers_are_as_they_were(frozen, tmp_path, name: str) -> None:
    vision_encoder("dinov2", tmp_path / "encoder")
    made = frozen(name, tower=f"hf:{tmp_path / 'encoder'}")
    model = load_model(fit(made, tmp_path / "run"))
    published = build_image_tower(f"hf:{tmp_path / 'encoder'}", None, 32).backbone.state_dict()
    for key, value in model.image_tower.backbone.state_dict().items():
        assert torch.equal(value, published[key]), key
    image = np.random.default_rng(0).integers(0, 255, (40, 32)).astype(np.uint8)
    assert model.heat_map(image, "left pleural effusion").shape == (40, 32)
    kinds = [json.loads((folder / "recipe.json").read_text()) for folder in caches(tmp_path / "features")]
    assert len(kinds) == (2 if name == "gloria" else 3)  # gloria reads every token
    assert values(tmp_path / "run", "val/auroc").between(0, 1).all()


@pytest.mark.parametrize("tower", ["test_resnet", "test_vit"])
def test_training_on_the_cache_is_training_on_pixels(frozen, tmp_path, tower: str) -> None:
    """Without augmentation the losses are those of running the frozen tower in every step, within float16."""
    for run, views in (("cached", 1), ("pixels", 0)):
        fit(
            frozen(tower=tower, stride=4 if tower == "test_resnet" else 16, augment=STILL, cached_views=views),
            tmp_path / run,
        )
    one, two = values(tmp_path / "cached"), values(tmp_path / "pixels")
    assert list(one.index) == list(two.index)
    np.testing.assert_allclose(one, two, rtol=0.02, atol=5e-3)


def test_features_of_mixed_precision_are_cached_and_transported(frozen, tmp_path) -> None:
    settings = frozen(steps=4).model_dump(mode="json")
    settings["trainer"]["precision"] = "bf16-mixed"
    settings["objective"]["weights"] |= {"transport": 1, "unpaired_presence": 0}
    run = tmp_path / "run"
    fit(PretrainConfig.model_validate(settings), run)
    assert values(run, "loss/transport").notna().all()
    assert all((folder / "_SUCCESS").exists() for folder in caches(tmp_path / "features"))


def test_views_differ_from_each_other_and_from_the_image(frozen, tmp_path) -> None:
    fit(frozen("clip"), tmp_path / "run")
    largest = max(caches(tmp_path / "features"), key=lambda folder: (folder / "features.npy").stat().st_size)
    rows = np.load(largest / "features.npy").reshape(60, 3, -1).astype(np.float32)
    distance = np.linalg.norm(rows[:, :, None] - rows[:, None], axis=-1)
    assert (distance[:, *np.triu_indices(3, 1)] > 0.1).all()


def test_runs_share_a_cache_and_another_tower_image_or_augmentation_has_its_own(frozen, tmp_path, world) -> None:
    fit(frozen("clip", 2), tmp_path / "a")
    first = caches(tmp_path / "features")
    stamps = [(folder / "features.npy").stat().st_mtime_ns for folder in first]
    fit(frozen("clip", 3), tmp_path / "b")
    assert caches(tmp_path / "features") == first
    assert [(folder / "features.npy").stat().st_mtime_ns for folder in first] == stamps
    fit(frozen("clip", 2, augment={"noise": 0.2}), tmp_path / "c")  # other views; validation and texts are the same
    assert len(caches(tmp_path / "features")) == len(first) + 1
    fit(frozen("clip", 2, stride=8), tmp_path / "d")
    # Images, validation, and texts: after another image tower the random text tower is another one too.
    assert len(caches(tmp_path / "features")) == len(first) + 4


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(frozen, tmp_path) -> None:
    whole = load_model(fit(frozen(), tmp_path / "whole")).state_dict()
    run = tmp_path / "run"
    fit(frozen(), run)
    for file in ("_SUCCESS", "model"):
        shutil.rmtree(run / file) if (run / file).is_dir() else (run / file).unlink()
    newest = sorted((run / "checkpoints").iterdir())[-1]
    newest.unlink()
    again = load_model(fit(frozen(), run)).state_dict()
    for key, value in whole.items():
        torch.testing.assert_close(again[key], value, rtol=0, atol=0, msg=key)


def test_a_checkpoint_holds_frozen_weights_once_and_no_optimiser_state_of_them(frozen, tmp_path) -> None:
    fit(frozen("clip", 6), tmp_path / "frozen")
    made = frozen("clip", 6).model_dump(mode="json")
    made["image"]["freeze"] = made["text"]["freeze"] = "none"
    fit(PretrainConfig.model_validate(made), tmp_path / "trained")
    sizes = [max(f.stat().st_size for f in (tmp_path / run / "checkpoints").iterdir()) for run in ("frozen", "trained")]
    assert sizes[0] < 0.6 * sizes[1]


def test_a_cache_that_does_not_fit_is_refused_before_anything_is_computed(frozen, tmp_path, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**6, 10**6, 10**4))
    expected = (
        r"features: the features of 60 images in 3 views need [\d.,]+ MB, the disk has 0\.0 MB free; set data\.feature"
    )
    with pytest.raises(UsageError, match=expected):
        fit(frozen(), tmp_path / "run")
    assert not (tmp_path / "features").exists()


def test_sharding_a_frozen_tower_is_refused(frozen) -> None:
    made = frozen().model_dump(mode="json")
    with pytest.raises(ValueError, match="a frozen tower needs no trainer"):
        PretrainConfig.model_validate({**made, "trainer": {**made["trainer"], "strategy": "fsdp"}})


def test_random_frozen_weights_are_warned_of(frozen, tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING, "lgdea"):
        fit(frozen("clip", 2), tmp_path / "run")
    assert "image tower 'test_resnet' is frozen at random weights" in caplog.text


# The file


def make_cache(folder: Path, **changes) -> FeatureCache:
    return FeatureCache(folder, {"of": "test", **changes}, rows=10, width=3, chunk=4)


def fill(cache: FeatureCache, most: int = 99, **share) -> int:
    cache.open()
    todo = list(cache.waiting(**share))[:most]
    for number, rows in todo:
        cache.write(number, np.arange(rows.start * 3, rows.stop * 3).reshape(-1, 3).astype(np.float16))
    return len(todo)


def test_a_killed_computation_goes_on_with_what_is_missing(tmp_path) -> None:
    assert fill(make_cache(tmp_path), most=2) == 2
    with pytest.raises(DataError, match="1 of 3 parts are missing"):
        make_cache(tmp_path).finish()
    cache = make_cache(tmp_path)
    assert fill(cache) == 1
    cache.finish()
    assert cache.finished
    np.testing.assert_array_equal(cache[:], np.arange(30).reshape(10, 3))
    assert fill(make_cache(tmp_path)) == 0
    np.testing.assert_array_equal(np.load(cache.folder / "features.npy"), cache[:])


@pytest.mark.parametrize("name", ["features.npy", "checksums.bin"])
def test_one_that_lost_a_file_is_made_anew(tmp_path, name: str) -> None:
    cache = make_cache(tmp_path)
    fill(cache, most=2)
    (cache.folder / name).write_bytes(b"x")
    assert fill(make_cache(tmp_path)) == 3


@pytest.mark.parametrize("finished", [False, True])
def test_a_flipped_bit_is_refused_or_computed_anew(tmp_path, finished: bool) -> None:
    cache = make_cache(tmp_path)
    fill(cache)
    if finished:
        cache.finish()
    for name in ("features.npy", "checksums.bin"):
        file = cache.folder / name
        whole = file.read_bytes()
        for bit in range(8 * len(whole)):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            file.write_bytes(flipped)
            again = make_cache(tmp_path)
            try:
                if not finished:
                    assert fill(again) <= (1 if name == "checksums.bin" or bit >= 8 * 128 else 3)
                np.testing.assert_array_equal(again[:], np.arange(30).reshape(10, 3))
            except DataError:
                assert finished
        file.write_bytes(whole)


def test_verify_names_changed_features(tmp_path) -> None:
    cache = make_cache(tmp_path)
    fill(cache)
    cache.finish()
    assert not verify_folder(tmp_path).problems
    file = cache.folder / "features.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert verify_folder(tmp_path).problems == [(f"{cache.folder.name}/features.npy", "is not as it was written")]


def test_processes_share_the_chunks(tmp_path) -> None:
    cache = make_cache(tmp_path)
    assert (fill(cache, rank=0, processes=2), fill(cache, rank=1, processes=2)) == (2, 1)
    cache.finish()
    np.testing.assert_array_equal(cache[np.array([9, 0])], [[27, 28, 29], [0, 1, 2]])


def test_the_fingerprint_is_of_the_recipe(tmp_path) -> None:
    assert make_cache(tmp_path).folder == make_cache(tmp_path).folder
    assert make_cache(tmp_path).folder != make_cache(tmp_path, of="other").folder


@pytest.mark.parametrize(("name", "stride"), [("test_resnet", 8), ("test_vit", 16), ("mobilenetv3_small_050", 16)])
def test_packed_rows_give_what_the_tower_gives(name: str, stride: int) -> None:
    tower = build_image_tower(name, False, 64, stride).eval()
    images = torch.rand(3, 1, 64, 64)
    with torch.no_grad():
        wanted = tower(images)
        rows = pack(tower.encode(images))
        assert rows.dtype == torch.float16
        found = tower(rows)
        assert [tuple(part.shape[1:]) for part in unpack(rows, tower)] == tower.feature_shapes
    for key in ("pooled", "patches"):
        torch.testing.assert_close(found[key], wanted[key], rtol=5e-3, atol=5e-3)


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_computes_features_goes_on(frozen, tmp_path) -> None:
    made = frozen("clip", 2, tower="mobilenetv3_small_050", cached_views=40)
    (tmp_path / "config.yaml").write_text(dump_yaml(made))
    command = [sys.executable, "-m", "lgdea", "pretrain", "--config", str(tmp_path / "config.yaml")]
    command += ["--out", str(tmp_path / "run")]
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            marks = list((tmp_path / "features").glob("*/checksums.bin"))
            if any(any(mark.read_bytes()) for mark in marks) and process.poll() is None:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    model = load_model(fit(made, tmp_path / "run"))
    whole = load_model(fit(frozen("clip", 2, tower="mobilenetv3_small_050", cached_views=40), tmp_path / "other"))
    for key, value in whole.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


@pytest.mark.slow
def test_two_processes_fill_and_use_one_cache(frozen, tmp_path) -> None:
    made = frozen("lgdea", 6).model_dump(mode="json")
    made["trainer"] |= {"devices": 2, "strategy": "ddp", "accelerator": "cpu"}
    for key in ("batch_size_per_device", "unpaired_reports_per_device"):
        made["data"][key] //= 2
    (tmp_path / "config.yaml").write_text(dump_yaml(PretrainConfig.model_validate(made)))
    command = [sys.executable, "-m", "lgdea", "pretrain", "--config", str(tmp_path / "config.yaml")]
    command += ["--out", str(tmp_path / "two")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    folders = caches(tmp_path / "features")
    rows = [np.load(folder / "features.npy") for folder in folders]
    shutil.rmtree(tmp_path / "features")
    fit(frozen("lgdea", 6), tmp_path / "one")
    assert caches(tmp_path / "features") == folders
    for folder, found in zip(folders, rows, strict=True):
        np.testing.assert_allclose(np.load(folder / "features.npy"), found, rtol=2e-3, atol=2e-3)


def test_words_that_are_no_setting(config) -> None:
    with pytest.raises((ConfigError, ValueError), match="freeze"):
        config(image={"tower": "test_resnet", "freeze": "some"})


def test_a_cache_in_the_place_of_a_file_is_one_line(frozen, tmp_path: Path) -> None:
    made = frozen()
    Path(made.data.feature_cache).write_text("a file")
    with pytest.raises(UsageError, match=r"features: the cache of features cannot stand in a file; set data\.feature_"):
        fit(made, tmp_path / "run")
