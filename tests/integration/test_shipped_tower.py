"""The image tower that the demo starts from: where it comes from, that it loads, and that it knows something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from lgdea.config import load_config
from lgdea.demo import MAX_SEED, OBJECTIVES, run_demo, starting_tower
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.tasks.common import label_matrix, scored_classes
from lgdea.imaging.cache import build_cache
from lgdea.imaging.transforms import Preprocess
from lgdea.manifests import read_manifest
from lgdea.models.image_tower import build_image_tower
from lgdea.models.serialization import load_image_tower
from lgdea.phantom import generate
from lgdea.pretraining.config import PretrainConfig
from lgdea.records.archive import Archive
from lgdea.shipped import config_files
from lgdea.statistics.roc import auroc
from pipelines import phantom_tower


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    folder = tmp_path_factory.mktemp("phantom")
    return generate(folder, studies=360, seed=7, difficulty="easy", masks=False, workers=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few steps of the script."""
    return phantom_tower.make_tower(tmp_path_factory.mktemp("tower"), studies=60, steps=3)


def _tower() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_image_tower(phantom_tower.TOWER, False, phantom_tower.IMAGE_SIZE, phantom_tower.STRIDE).eval()


def test_the_weights_are_small_and_say_where_they_come_from() -> None:
    file, note = starting_tower()
    told = read_manifest(file.with_suffix(".json"))
    assert file.stat().st_size <= 3_000_000
    assert told["licence"] == "Apache-2.0"
    assert told["archive"]["seed"] == phantom_tower.SEED > MAX_SEED  # no archive of the demo has it
    assert (told["archive"]["studies"], told["steps"]) == (phantom_tower.STUDIES, phantom_tower.STEPS)
    assert f"{phantom_tower.STUDIES:,} other phantom studies" in note


def test_other_weights_than_those_that_were_shipped_are_refused(tmp_path: Path, monkeypatch) -> None:
    file, _ = starting_tower()
    for suffix in (".json", ".safetensors"):
        (tmp_path / file.with_suffix(suffix).name).write_bytes(file.with_suffix(suffix).read_bytes())
    (tmp_path / file.name).write_bytes(file.read_bytes()[:-1] + b"\0")
    monkeypatch.setattr("lgdea.demo.shipped", lambda _: tmp_path)
    with pytest.raises(DataError, match="sha256"):
        starting_tower()


def test_the_demo_takes_no_seed_of_the_towers_archive(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seed"):
        run_demo(tmp_path / "demo", studies=60, fraction=0.2, seed=phantom_tower.SEED, max_steps=1)
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_configuration_is_of_this_tower(objective: str) -> None:
    image = load_config(PretrainConfig, config_files("pretrain", [f"demo-{objective}", "demo-tower"])).image
    script = (phantom_tower.TOWER, phantom_tower.IMAGE_SIZE, phantom_tower.STRIDE)
    assert (image.tower, image.size, image.stride) == script


def test_the_script_makes_the_same_kind_of_file(made: Path) -> None:
    shipped = load_file(starting_tower()[0])
    mine = load_file(made)
    assert {n: (t.shape, t.dtype) for n, t in mine.items()} == {n: (t.shape, t.dtype) for n, t in shipped.items()}
    load_image_tower(_tower(), made)
    told = read_manifest(made.with_suffix(".json"))
    assert set(told) == set(read_manifest(starting_tower()[0].with_suffix(".json")))


def test_the_shipped_features_tell_more_than_random_ones(archive: Archive) -> None:
    """A linear probe on pooled features of patients whom the tower has not seen."""
    random, trained = _tower(), _tower()
    load_image_tower(trained, starting_tower()[0])
    assert _probe(trained, archive) > _probe(random, archive) + 0.1


def _probe(tower: torch.nn.Module, archive: Archive) -> float:
    """Macro AUROC of a linear probe, over the findings that enough patients of either half have."""
    images = archive.images.merge(archive.studies[["study_id", "split"]], on="study_id")
    folder = archive.folder / "cache"
    cache = build_cache([(i, archive.image_path(i)) for i in images["image_id"]], folder, phantom_tower.IMAGE_SIZE)
    frames = torch.from_numpy(np.asarray(cache[cache.index(images["image_id"])]))[:, None]
    values = frames.float() / 255
    with torch.no_grad():
        prepared = Preprocess(phantom_tower.IMAGE_SIZE, float(values.mean()), float(values.std())).normalise(frames)
        features = StandardScaler().fit_transform(tower(prepared)["pooled"].numpy())
    labels = label_matrix(archive.labels, images, scored_classes("labels", archive.labels))
    train = images["split"].to_numpy() == "train"
    known = [c for c in labels.T if min(c[train].sum(), c[~train].sum()) >= 6]
    assert len(known) >= 4
    probes = [LogisticRegression(C=0.1, max_iter=500).fit(features[train], column[train]) for column in known]
    told = [probe.decision_function(features[~train]) for probe in probes]
    return float(np.mean([auroc(s, column[~train]) for s, column in zip(told, known, strict=True)]))


def test_a_stated_place_is_learned_there_and_nowhere_else() -> None:
    upright = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    zones = phantom_tower.patch_zones(upright, (12, 12))
    stated = torch.zeros(1, 1, 2, 3, dtype=torch.bool)
    stated[0, 0, phantom_tower.SIDES.index("left"), 0] = True  # upper left: on the right of the picture
    losses = {}
    for name, (row, column) in {"there": (2, 9), "other side": (2, 2), "lower": (10, 9)}.items():
        logits = torch.full((1, 12, 12, 1), -8.0)
        logits[0, row, column] = 6.0
        losses[name] = phantom_tower.place_loss(logits.flatten(1, 2), stated, zones).item()
    assert losses["there"] < 0.1
    assert min(losses["other side"], losses["lower"]) > 5
    nothing = torch.zeros_like(stated)
    assert phantom_tower.place_loss(torch.randn(1, 144, 1), nothing, zones).item() == 0


def test_zones_turn_with_the_picture() -> None:
    half_turn = torch.tensor([[[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]])
    upright = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    turned, usual = (phantom_tower.patch_zones(a, (12, 12))[0] for a in (half_turn, upright))
    assert torch.equal(turned, usual.flip(0))
