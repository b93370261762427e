"""Loggers and callbacks beside our own: what they are given, what they write, what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lgdea.errors import ConfigError, UsageError
from lgdea.pretraining.fit import fit
from lgdea.pretraining.module import Pretraining
from lgdea.training.tracking import make_callbacks, make_loggers

TRAINER = {"max_steps": 12, "accelerator": "cpu", "log_every_n_steps": 2}


def scalars(folder: Path) -> pd.DataFrame:
    """All scalars of the event files in ``folder``, as ``metrics.csv`` has them."""
    events = EventAccumulator(str(folder))
    events.Reload()
    rows = [(e.step, tag, e.value) for tag in events.Tags()["scalars"] for e in events.Scalars(tag) if tag != "epoch"]
    return pd.DataFrame(rows, columns=["step", "name", "value"])


def assert_same_numbers(events: pd.DataFrame, csv: Path) -> None:
    ours, theirs = (table.sort_values(["name", "step"]).reset_index(drop=True) for table in (pd.read_csv(csv), events))
    pd.testing.assert_frame_equal(theirs, ours, rtol=1e-5)


def test_tensorboard_has_the_numbers_of_our_csv(config, tmp_path):
    run = tmp_path / "run"
    fit(config(trainer={**TRAINER, "logger": "tensorboard"}), run)
    events = scalars(run / "tensorboard")
    assert {"loss", "loss/presence", "val/auroc", "graph/reached", "prototype_usage"} <= set(events["name"])
    assert_same_numbers(events, run / "metrics.csv")


def test_a_resumed_run_goes_on_in_tensorboard_without_a_step_twice(config, tmp_path, monkeypatch):
    settings, run = config("clip", trainer={**TRAINER, "logger": "tensorboard"}), tmp_path / "run"
    original = Pretraining.training_step

    def failing(self: Pretraining, batch: Any, index: int) -> Any:
        if self.global_step == 8:  # the newest checkpoint is of step 5; steps 5 and 7 are logged already
            raise RuntimeError("stop")
        return original(self, batch, index)

    monkeypatch.setattr(Pretraining, "training_step", failing)
    with pytest.raises(RuntimeError, match="stop"):
        fit(settings, run)
    assert scalars(run / "tensorboard")["step"].max() == 7
    monkeypatch.setattr(Pretraining, "training_step", original)
    fit(settings, run)
    assert_same_numbers(scalars(run / "tensorboard"), run / "metrics.csv")


def test_class_paths_and_a_list_of_loggers_come_from_the_configuration(config, tmp_path):
    paths = {
        "logger": [
            {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"name": "csv", "version": "a"}},
            {
                "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
                "init_args": {"save_dir": str(tmp_path / "tb")},
            },
        ],
        "callbacks": [{"class_path": "lightning.pytorch.callbacks.LearningRateMonitor"}],
    }
    run = tmp_path / "run"
    fit(config("clip", trainer={**TRAINER, **paths}), run)
    table = pd.read_csv(run / "metrics.csv")
    rate = table[table["name"] == "lr-AdamW/pg1"]
    assert len(rate) == 6
    assert rate["value"].iloc[-1] < rate["value"].max()
    assert len(pd.read_csv(run / "csv" / "a" / "metrics.csv")) > 0
    assert "lr-AdamW/pg1" in set(scalars(tmp_path / "tb" / "lightning_logs" / "version_0")["name"])


def test_objects_are_taken_as_they_are_and_the_run_names_the_callbacks(config, tmp_path):
    class Counter(L.Callback):
        steps = 0

        def on_train_batch_end(self, *_: Any) -> None:
            self.steps += 1

    counter, logger = Counter(), CSVLogger(tmp_path / "csv", name="", version="")
    fit(config("clip", trainer=TRAINER), tmp_path / "run", logger=logger, callbacks=counter)
    assert counter.steps == 12
    assert pd.read_csv(tmp_path / "csv" / "metrics.csv")["loss"].notna().sum() == 6
    assert "Counter" in (tmp_path / "run" / "run.json").read_text()


def test_another_logger_does_not_make_another_run_another_callback_does(config, tmp_path):
    run = tmp_path / "run"
    fit(config("clip", trainer=TRAINER), run)
    fit(config("clip", trainer={**TRAINER, "logger": "tensorboard"}), run)
    monitor = [{"class_path": "lightning.pytorch.callbacks.LearningRateMonitor"}]
    with pytest.raises(UsageError, match="another config"):
        fit(config("clip", trainer={**TRAINER, "callbacks": monitor}), run)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lightning.pytorch.callbacks.LearningRateMonitor", "is not a Lightning Logger"),
        ({"class_path": "subprocess.Popen", "init_args": {"args": ["false"]}}, "is not a Lightning Logger"),
        ({"class_path": "os.system", "init_args": {"command": "false"}}, "is not a Lightning Logger"),
        ("no_such_package.Logger", "cannot be imported"),
        ({"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"colour": 1}}, "refuses its arguments"),
        (7, "7 is not a Logger"),
    ],
)
def test_what_is_not_a_logger_is_refused_in_one_line(spec, message, tmp_path):
    with pytest.raises(ConfigError, match=message) as caught:
        make_loggers(spec, folder=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is not None, reason="MLflow is installed")
def test_a_missing_package_is_one_line(tmp_path):
    with pytest.raises(
        ConfigError, match=r"MLFlowLogger lacks a package .*mlflow.*; install it, or remove trainer\.logger"
    ):
        make_loggers("mlflow", folder=tmp_path)


def test_loggers_write_below_the_run_unless_told_otherwise(tmp_path):
    made = make_loggers(["lightning.pytorch.loggers.TensorBoardLogger"], folder=tmp_path)
    assert isinstance(made[0], TensorBoardLogger)
    assert Path(made[0].save_dir) == tmp_path
    assert make_loggers(None, folder=tmp_path) == make_loggers(False, folder=tmp_path) == []
    monitor = LearningRateMonitor()
    assert make_callbacks([monitor]) == [monitor]


def test_what_lightning_refuses_is_one_line(config, tmp_path):
    checkpoint = [{"class_path": "lightning.pytorch.callbacks.ModelCheckpoint"}]
    for trainer, message in (({"devices": "two"}, "devices"), ({"callbacks": checkpoint}, "ModelCheckpoint")):
        with pytest.raises(ConfigError, match=f"trainer: Lightning refuses it .*{message}") as caught:
            fit(config("clip", trainer={**TRAINER, **trainer}), tmp_path / "run")
        assert "\n" not in str(caught.value)
