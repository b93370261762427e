import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lgdea import runs
from lgdea.config import dump_yaml
from lgdea.errors import DataError, StoppedError, TrainingError, UsageError
from lgdea.manifests import read_manifest, seal
from lgdea.models.serialization import load_model
from lgdea.pretraining.build import stated_findings
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.fit import fit
from lgdea.pretraining.inputs import read_inputs
from lgdea.pretraining.module import Pretraining
from lgdea.pretraining.objective_config import OBJECTIVES as SPECS
from lgdea.training.callbacks import list_checkpoints, newest_checkpoint


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder).state_dict()


def values(run: Path, name: str) -> pd.DataFrame:
    table = pd.read_csv(run / "metrics.csv")
    return table[table["name"] == name]


OBJECTIVES = sorted(SPECS)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_run_leaves_a_model_that_loads_and_all_its_records(config, tmp_path, name):
    run = tmp_path / "run"
    model = load_model(fit(config(name), run))
    assert model.scoring == SPECS[name].scoring
    image = np.random.default_rng(0).integers(0, 255, (40, 32)).astype(np.uint8)
    assert model.encode_image(image).shape == (1, model.embedding_dim)
    assert model.heat_map(image, "left pleural effusion").shape == (40, 32)
    assert {p.name for p in run.iterdir()} >= {
        "config.yaml",
        "env.json",
        "run.json",
        "metrics.csv",
        "model",
        "_SUCCESS",
    }
    assert values(run, "loss")["step"].tolist() == [1, 3, 5, 7, 9, 11]
    assert values(run, "val/auroc")["value"].between(0, 1).all()
    assert (run / "graph").exists() == (name == "lgdea")


def test_lgdea_learns_the_toy_and_its_links(config, tmp_path):
    run = tmp_path / "run"
    fit(config(steps=100, optimizer={"lr": 3e-3}, validation={"every_steps": 100}), run)
    assert values(run, "val/auroc")["value"].iloc[-1] > 0.85
    precision = values(run, "graph/evidence_precision")["value"]
    assert precision.iloc[-1] > 0.6


PARTS = {
    "clip": ["clip"],
    "gloria": ["clip", "gloria_local"],
    "medclip": ["medclip"],
    "sclip": ["clip", "sclip_caption", "sclip_keyword"],
}


@pytest.mark.parametrize("name", PARTS)
def test_every_loss_of_a_baseline_falls(config, tmp_path, name):
    run = tmp_path / "run"
    fit(config(name, steps=60, optimizer={"lr": 3e-3}, validation={"max_images": 0}), run)
    table = pd.read_csv(run / "metrics.csv")
    assert {n for n in table["name"] if n.startswith("loss/")} == {f"loss/{part}" for part in PARTS[name]}
    total = values(run, "loss")["value"]
    assert total.iloc[-5:].mean() < 0.9 * total.iloc[:5].mean()


def test_a_finished_run_is_not_trained_again(config, tmp_path):
    run = tmp_path / "run"
    fit(config(), run)
    before = (run / "metrics.csv").read_text()
    assert fit(config(), run) == run / "model"
    assert (run / "metrics.csv").read_text() == before


def test_another_configuration_does_not_resume(config, tmp_path):
    fit(config(), tmp_path / "run")
    with pytest.raises(UsageError, match="another config"):
        fit(config(seed=5), tmp_path / "run")


class _StopError(RuntimeError):
    pass


def test_a_run_that_an_earlier_version_began_lacks_settings_that_are_new_since(config, tmp_path):
    run = tmp_path / "run"
    fit(config("clip"), run)
    manifest = read_manifest(run / runs.MANIFEST)
    del manifest["config"]["validation"]["keep"], manifest["config"]["transport"]
    runs.write_json(run / runs.MANIFEST, seal(manifest))
    before = (run / "model" / "model.safetensors").stat().st_mtime_ns
    fit(config("clip"), run)
    assert (run / "model" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match=r"another config .*validation\.keep"):
        fit(config("clip", validation={"keep": "best"}), run)


@pytest.mark.parametrize("name", ["clip", "lgdea"])
def test_an_interrupted_run_ends_bit_for_bit_like_an_uninterrupted_one(config, tmp_path, monkeypatch, name):
    whole = weights(fit(config(name), tmp_path / "whole"))
    original = Pretraining.training_step

    def failing(self, batch, index):
        if self.global_step == 8:
            raise _StopError
        return original(self, batch, index)

    monkeypatch.setattr(Pretraining, "training_step", failing)
    with pytest.raises(_StopError):
        fit(config(name), tmp_path / "run")
    assert [p.name for p in list_checkpoints(tmp_path / "run" / "checkpoints")] == ["step-0000005.ckpt"]
    monkeypatch.setattr(Pretraining, "training_step", original)
    resumed = weights(fit(config(name), tmp_path / "run"))
    for key, value in whole.items():
        assert torch.equal(resumed[key], value), key
    for run in ("whole", "run"):
        assert values(tmp_path / run, "loss")["step"].tolist() == [1, 3, 5, 7, 9, 11]
    tables = [pd.read_csv(tmp_path / run / "metrics.csv").sort_values(["step", "name"]) for run in ("whole", "run")]
    pd.testing.assert_frame_equal(*(table.reset_index(drop=True) for table in tables))


@pytest.mark.parametrize("batch", [0, 1])
def test_a_signal_within_a_step_takes_effect_at_its_end_and_no_number_is_lost(config, tmp_path, monkeypatch, batch):
    changes = {"trainer": {**config("clip").trainer, "accumulate_grad_batches": 2}}
    whole = weights(fit(config("clip", **changes), tmp_path / "whole"))
    original = Pretraining.training_step

    def signalled(self, content, index):
        if index == 2 * 5 + batch:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, content, index)

    monkeypatch.setattr(Pretraining, "training_step", signalled)
    with pytest.raises(StoppedError, match="SIGTERM at step 6 of 12"):
        fit(config("clip", **changes), tmp_path / "run")
    monkeypatch.setattr(Pretraining, "training_step", original)
    resumed = weights(fit(config("clip", **changes), tmp_path / "run"))
    for key, value in whole.items():
        assert torch.equal(resumed[key], value), key
    tables = [pd.read_csv(tmp_path / run / "metrics.csv").sort_values(["step", "name"]) for run in ("whole", "run")]
    pd.testing.assert_frame_equal(*(table.reset_index(drop=True) for table in tables))


def test_a_kill_after_the_first_batch_of_a_step_changes_nothing(config, tmp_path, monkeypatch):
    changes = {"trainer": {**config("clip").trainer, "accumulate_grad_batches": 2}}
    whole = weights(fit(config("clip", **changes), tmp_path / "whole"))
    original = Pretraining.training_step

    def failing(self, content, index):
        if index == 1:
            raise _StopError
        return original(self, content, index)

    monkeypatch.setattr(Pretraining, "training_step", failing)
    with pytest.raises(_StopError):
        fit(config("clip", **changes), tmp_path / "run")
    monkeypatch.setattr(Pretraining, "training_step", original)
    for key, value in weights(fit(config("clip", **changes), tmp_path / "run")).items():
        assert torch.equal(whole[key], value), key


def test_kill_nine_and_the_same_command_again(config, tmp_path):
    run, file = tmp_path / "run", tmp_path / "config.yaml"
    file.write_text(dump_yaml(config(steps=60)))
    code = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from lgdea.config import load_config\n"
        "from lgdea.pretraining.config import PretrainConfig\n"
        "from lgdea.pretraining.fit import fit\n"
        "fit(load_config(PretrainConfig, [sys.argv[1]]), Path(sys.argv[2]))\n"
    )
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", code, str(file), str(run)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(command, cwd=root, env=environment)
    while not list_checkpoints(run / "checkpoints"):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = max(int(p.stem.removeprefix("step-")) for p in list_checkpoints(run / "checkpoints"))
    assert 0 < reached < 60
    assert not runs.is_finished(run)
    again = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert again.stderr == ""
    assert runs.is_finished(run)
    assert list_checkpoints(run / "checkpoints")[0].name == "step-0000060.ckpt"
    steps = values(run, "loss")["step"].tolist()
    assert steps == list(range(1, 60, 2))
    assert load_model(run / "model").dim == 16


def test_a_damaged_checkpoint_gives_way_to_the_one_before(config, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    torch.save({"state_dict": {}}, folder / "step-0000005.ckpt")
    (folder / "step-0000010.ckpt").write_bytes((folder / "step-0000005.ckpt").read_bytes()[:100])
    assert newest_checkpoint(folder) == folder / "step-0000005.ckpt"
    (folder / "step-0000005.ckpt").write_bytes(b"")
    with pytest.raises(TrainingError, match="no checkpoint can be read"):
        newest_checkpoint(folder)


def test_a_loss_that_is_no_number_stops_the_run(config, tmp_path, monkeypatch):
    original = Pretraining.training_step
    monkeypatch.setattr(
        Pretraining,
        "training_step",
        lambda self, batch, index: original(self, batch, index) * (float("nan") if self.global_step == 3 else 1.0),
    )
    with pytest.raises(TrainingError, match=r"the loss became nan at step 4.*smaller optimizer\.lr"):
        fit(config(), tmp_path / "run")


def test_a_collapse_is_named(config, tmp_path, monkeypatch):
    monkeypatch.setattr("lgdea.pretraining.module.histogram_information", lambda h: h.sum() * 0)
    monkeypatch.setattr("lgdea.pretraining.callbacks.PATIENCE", 3)
    with pytest.raises(TrainingError, match=r"collapsed by step 16: all images have the same histogram"):
        fit(config(steps=20), tmp_path / "run")


def test_missing_inputs_are_named(config, tmp_path, world):
    data = {"archive": world / "archive", "evidence": world / "nothing", "pairing": world / "pairing.parquet"}
    with pytest.raises(UsageError, match=r"nothing: no such evidence; set data\.evidence"):
        fit(config(data=data), tmp_path / "run")


def test_a_run_starts_from_the_image_tower_it_is_given(config, tmp_path):
    first = fit(config("clip"), tmp_path / "first")
    image = {**config().image.model_dump(), "weights": first / "model.safetensors"}
    settings = config("clip", image=image, optimizer={"lr": 1e-12}, model={"ema_decay": 0.0})
    again = weights(fit(settings, tmp_path / "again"))
    for name, value in weights(first).items():
        if name.startswith("image_tower.") and "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(again[name], value, rtol=0, atol=1e-6)
    assert "image_weights" in json.loads((tmp_path / "again" / "run.json").read_text())["input_hashes"]
    with pytest.raises(UsageError, match="no such file of weights"):
        fit(config(image={**image, "weights": tmp_path / "none"}), tmp_path / "other")


def test_too_few_links_are_named(config, tmp_path, world):
    from lgdea.records.archive import Archive
    from lgdea.records.pairing import make_pairing, write_pairing

    write_pairing(make_pairing(Archive.open(world / "archive"), 0.0), tmp_path / "none.parquet")
    data = {**config().data.model_dump(), "pairing": tmp_path / "none.parquet"}
    with pytest.raises(DataError, match="0 linked training pairs"):
        fit(config(data=data), tmp_path / "run")


def test_an_unreadable_image_does_not_stop_training(config, tmp_path, world):
    from lgdea.records.archive import Archive, write_archive

    old = Archive.open(world / "archive")
    images = old.images.copy()
    images.loc[0, "path"] = "missing.png"
    tables = {"studies": old.studies, "images": images, "reports": old.reports, "labels": old.labels}
    write_archive(tmp_path / "archive", "toy", tables, old.image_root)
    settings = config()
    data = {**settings.data.model_dump(), "archive": tmp_path / "archive", "image_cache": None}
    settings = config(data=data)
    inputs = read_inputs(settings, tmp_path / "run")
    assert len(inputs.corpus.image_ids) == 59
    assert len(inputs.pixels) == 59


def test_the_model_is_asked_only_for_what_reports_state(config, evidence, tmp_path):
    settings = config("lgdea")
    corpus = read_inputs(settings, tmp_path).corpus
    said = set(evidence.loc[evidence["assertion"] == "present", "finding"])
    assert set(stated_findings(corpus, least=1)) == said
    assert stated_findings(corpus, least=10**6) == []
    assert set(load_model(fit(settings, tmp_path / "run")).findings) == set(stated_findings(corpus))


@pytest.mark.parametrize("name", ["clip", "lgdea"])
def test_mixed_precision_trains_and_leaves_full_precision_weights(config, tmp_path, name):
    trainer = {"max_steps": 12, "accelerator": "cpu", "precision": "bf16-mixed", "log_every_n_steps": 2}
    saved = weights(fit(config(name, trainer=trainer), tmp_path / "run"))
    assert {w.dtype for w in saved.values() if w.is_floating_point()} == {torch.float32}
    assert np.isfinite(values(tmp_path / "run", "loss")["value"]).all()


def test_gradients_are_clipped_for_a_fused_optimiser_too(config, tmp_path):
    trainer = {"max_steps": 2, "accelerator": "cpu", "precision": "bf16-mixed", "log_every_n_steps": 1}
    settings = {"optimizer": {"lr": 1e-3, "weight_decay": 0}, "validation": {"max_images": 0}}
    saved = {}
    for name, speed in {"fused": {"fused_optimizer": True}, "plain": {"fused_optimizer": False}}.items():
        for clip in (1e-9, 1.0):  # against an epsilon of 1e-8 a tiny gradient is no step at all
            made = config("clip", **settings, trainer={**trainer, "gradient_clip_val": clip}, speed=speed)
            saved[name, clip] = torch.cat(
                [w.flatten() for w in weights(fit(made, tmp_path / f"{name}{clip}")).values()]
            )
    assert not torch.allclose(saved["fused", 1e-9], saved["fused", 1.0], atol=1e-4)
    torch.testing.assert_close(saved["fused", 1.0], saved["plain", 1.0], rtol=1e-3, atol=1e-5)


def test_a_run_shorter_than_its_logging_interval_ends_well(config, tmp_path):
    trainer = {"max_steps": 2, "accelerator": "cpu", "log_every_n_steps": 50}
    fit(config("clip", trainer=trainer, validation={"max_images": 0}), tmp_path / "run")
    assert runs.is_finished(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_a_compiled_run_learns_what_an_eager_one_learns(config, tmp_path):
    runs_of = {}
    text = {"hidden": 32, "layers": 4, "vocab_size": 300, "dropout": 0.0}  # compiled code draws its own dropout
    for name, speed in {"eager": {"channels_last": False}, "fast": {"compile": True, "fused_optimizer": True}}.items():
        fit(config(steps=6, speed=speed, text=text, validation={"max_images": 0}), tmp_path / name)
        runs_of[name] = values(tmp_path / name, "loss")["value"].to_numpy()
        assert not any("_orig_mod" in key for key in weights(tmp_path / name / "model"))
    np.testing.assert_allclose(runs_of["fast"], runs_of["eager"], rtol=2e-3)


def test_weights_that_the_objective_does_not_use_are_named(config, tmp_path, caplog):
    made = config("clip", 2).model_dump(mode="json")
    made["objective"]["weights"]["transport"] = 3
    with caplog.at_level(logging.WARNING, "lgdea"):
        fit(PretrainConfig.model_validate(made), tmp_path / "run")
    assert "objective.weights are of lgdea: clip does not use them" in caplog.messages
