"""`validation.keep=best`: the model is the averaged one at its best check, also after an interruption."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lgdea.errors import ConfigError, TrainingError, UsageError
from lgdea.manifests import read_manifest
from lgdea.models.serialization import load_model
from lgdea.pretraining import callbacks
from lgdea.pretraining.callbacks import BEST, read_best
from lgdea.pretraining.fit import fit
from lgdea.pretraining.module import Pretraining

AUROC = {3: 0.5, 6: 0.9, 9: 0.9, 12: 0.6}
"""Of each check; of equals the first is kept."""


@pytest.fixture
def checked(monkeypatch):
    """Weights of the averaged model at each check, whose AUROC is that of the table above."""
    seen: dict[int, dict[str, torch.Tensor]] = {}

    def score(model, images, data):
        step = 3 * (len(seen) + 1)
        seen[step] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return AUROC[step]

    monkeypatch.setattr(callbacks, "zero_shot_auroc", score)
    return seen


def settings(config, **changes):
    return config("clip", validation={"every_steps": 3, "keep": "best", **changes})


def test_the_model_is_that_of_the_best_check(config, tmp_path: Path, checked):
    model = load_model(fit(settings(config), tmp_path / "run")).state_dict()
    assert read_manifest(tmp_path / "run" / "run.json")["kept_step"] == 6
    kept = [name for name in checked[6] if name.startswith("image_tower.")]
    assert kept
    assert all(torch.equal(model[name], checked[6][name]) for name in kept)
    assert not all(torch.equal(model[name], checked[12][name]) for name in kept)


def test_the_last_step_is_kept_unless_asked_for_the_best(config, tmp_path: Path, checked):
    model = load_model(fit(settings(config, keep="last"), tmp_path / "run")).state_dict()
    assert read_manifest(tmp_path / "run" / "run.json")["kept_step"] == 12
    assert all(torch.equal(model[name], checked[12][name]) for name in checked[12] if name.startswith("image_tower."))
    assert not (tmp_path / "run" / "checkpoints" / BEST).exists()


def test_a_resumed_run_knows_its_best_check(config, tmp_path: Path, checked, monkeypatch):
    original = Pretraining.training_step

    def failing(self, batch, index):
        if self.global_step == 11:
            raise RuntimeError("stop")
        return original(self, batch, index)

    monkeypatch.setattr(Pretraining, "training_step", failing)
    with pytest.raises(RuntimeError, match="stop"):
        fit(settings(config), tmp_path / "run")
    assert read_best(tmp_path / "run" / "checkpoints" / BEST)["step"] == 6
    assert len(checked) == 3
    monkeypatch.setattr(Pretraining, "training_step", original)
    model = load_model(fit(settings(config), tmp_path / "run")).state_dict()
    assert read_manifest(tmp_path / "run" / "run.json")["kept_step"] == 6
    assert all(torch.equal(model[name], checked[6][name]) for name in checked[6] if name.startswith("image_tower."))


def test_damaged_weights_are_not_taken_for_the_best(config, tmp_path: Path, checked):
    fit(settings(config), tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / BEST
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(TrainingError, match="cannot be read"):
        read_best(file)


def test_what_cannot_be_kept_is_one_line(config, tmp_path: Path, monkeypatch):
    with pytest.raises((ConfigError, ValueError), match="keep best needs validation"):
        settings(config, max_images=0)
    monkeypatch.setattr("lgdea.pretraining.inputs.validation_set", lambda *_, **__: None)
    with pytest.raises(UsageError, match=r"no validation images .* validation\.keep=last"):
        fit(settings(config), tmp_path / "run")
