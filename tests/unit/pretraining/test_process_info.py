"""Two processes of half the batch must do what one process does with the whole, from the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only

from lgdea import runs
from lgdea.config import dump_yaml
from lgdea.errors import UsageError
from lgdea.models.serialization import load_model
from lgdea.pretraining.fit import PretrainRun, fit
from lgdea.pretraining.module import CHECKPOINT_FORMAT_VERSION, FORMAT, SHARDED, Pretraining
from lgdea.pretraining.objective_config import PROPAGATED_LOSSES
from lgdea.training.process_info import SINGLE_PROCESS, ProcessInfo

STEPS = 12


@pytest.fixture
def settings(config):
    """Nothing random per process: no augmentation, no dropout, no batch statistics."""

    def make(name: str, *, processes: int = 1, steps: int = STEPS, strategy: str = "ddp"):
        augment = {"rotate_degrees": 0, "scale": 0, "translate": 0, "brightness": 0, "contrast": 0, "noise": 0}
        made = config(
            name,
            image={"tower": "test_vit", "size": 32, "stride": 8, "augment": augment},
            text={"hidden": 32, "layers": 1, "vocab_size": 300, "dropout": 0.0},
            validation={"max_images": 0},
        )
        data = made.data.model_dump(mode="json")
        for key in ("batch_size_per_device", "unpaired_reports_per_device"):
            data[key] //= processes
        data["image_cache"] = None
        trainer = {"max_steps": steps, "accelerator": "cpu", "devices": processes, "log_every_n_steps": 1}
        trainer |= {"gradient_clip_val": 0.5, "logger": "tensorboard"}
        if processes > 1:
            trainer["strategy"] = strategy
        return type(made).model_validate({**made.model_dump(mode="json"), "data": data, "trainer": trainer})

    return make


def pretrain(config, folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    (folder / "config.yaml").write_text(dump_yaml(config))
    command = [sys.executable, "-m", "lgdea", "pretrain", "--config", str(folder / "config.yaml"), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def losses(run: Path) -> pd.Series:
    table = pd.read_csv(run / "metrics.csv")
    return table[table["name"].str.startswith("loss")].set_index(["name", "step"])["value"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "strategy"), [("gloria", "ddp"), ("lgdea", "ddp"), ("sclip", "ddp"), ("lgdea", "fsdp"), ("clip", "fsdp")]
)
def test_two_processes_are_one(settings, tmp_path: Path, name: str, strategy: str):
    done = pretrain(settings(name, processes=2, strategy=strategy), tmp_path, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    fit(settings(name), tmp_path / "one")
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(one.index) == list(two.index)
    for run in ("one", "two"):  # only the first process logs
        assert len(list((tmp_path / run / "tensorboard").glob("events.*"))) == 1
    # The last digit of an embedding may decide which of two links is among an image's best ten.
    chosen = one.index.get_level_values("name").isin([f"loss/{name}" for name in PROPAGATED_LOSSES])
    pd.testing.assert_series_equal(two[~chosen], one[~chosen], rtol=2e-3, atol=2e-4)
    pd.testing.assert_series_equal(two[chosen], one[chosen], rtol=2e-2)
    first, second = (load_model(tmp_path / run / "model").state_dict() for run in ("one", "two"))
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=0, atol=5e-3, msg=key)
    if name == "lgdea":
        graphs = [sorted(p.name for p in (tmp_path / run / "graph").iterdir()) for run in ("one", "two")]
        assert graphs[0] == graphs[1] != []


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_run_of_two_processes_is_finished_by_one(settings, tmp_path: Path, strategy: str):
    half = settings("lgdea", processes=2, strategy=strategy)
    stopper = {**half.model_dump(mode="json"), "checkpoint": {"every_steps": 5}}
    config = type(half).model_validate(stopper)
    run = tmp_path / "run"
    assert pretrain(config, tmp_path, run).returncode == 0
    for file in ("_SUCCESS", "model", f"checkpoints/step-{STEPS:07d}.ckpt"):
        path = run / file
        (subprocess.run(["rm", "-r", str(path)], check=True) if path.is_dir() else path.unlink())
    alone = config.model_dump(mode="json")
    alone["trainer"].update(devices=1, strategy="auto")
    assert fit(type(half).model_validate(alone), run) == run / "model"
    assert runs.is_finished(run)
    assert losses(run).loc["loss"].index.tolist() == list(range(STEPS))
    alone["seed"] = 9
    with pytest.raises(UsageError, match="another config"):
        fit(type(half).model_validate(alone), run)


LAUNCHERS = {
    "torchrun": {
        "TORCHELASTIC_RUN_ID": "1",
        "RANK": "1",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29511",
    },
    "slurm": {
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "1",
        "SLURM_NODEID": "0",
        "SLURM_NNODES": "1",
        "SLURM_JOB_NAME": "pretrain",
        "SLURM_JOB_ID": "7",
        "SLURM_NODELIST": "node1",
    },
    "lightning": {"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"},
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_process_knows_its_rank_before_it_trains(settings, tmp_path: Path, monkeypatch, launcher: str):
    monkeypatch.setattr(rank_zero_only, "rank", 0, raising=False)  # Lightning keeps the rank of its last strategy here
    for name, value in LAUNCHERS[launcher].items():
        monkeypatch.setenv(name, value)
    run = PretrainRun(settings("lgdea", processes=2), tmp_path / "run")
    assert run.process == ProcessInfo(rank=1, processes=2)
    assert not run.trainer.is_global_zero
    for name in LAUNCHERS[launcher]:
        monkeypatch.delenv(name)
    assert PretrainRun(settings("lgdea"), tmp_path / "run").process == SINGLE_PROCESS


def test_a_run_begun_whole_is_not_finished_sharded():
    """Its optimiser state has other numbers, which would go to other weights."""
    module = Pretraining.__new__(Pretraining)
    torch.nn.Module.__init__(module)
    module._device_mesh = object()
    with pytest.raises(UsageError, match=r"begun without trainer.strategy=fsdp .*go on with the strategy"):
        module.on_load_checkpoint({FORMAT: CHECKPOINT_FORMAT_VERSION})
    module.on_load_checkpoint({FORMAT: CHECKPOINT_FORMAT_VERSION, SHARDED: True})
    module._device_mesh = None
    module.on_load_checkpoint({FORMAT: CHECKPOINT_FORMAT_VERSION, SHARDED: True})
