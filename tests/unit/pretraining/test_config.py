from pathlib import Path

import pytest

from lgdea.config import load_config
from lgdea.errors import ConfigError
from lgdea.pretraining.config import PretrainConfig
from lgdea.shipped import shipped

FILES = sorted(Path(str(shipped("configs") / "pretrain")).glob("*.yaml"))
DATA = ["data.archive=a", "data.evidence=e", "data.pairing=p"]


def test_there_are_shipped_configurations():
    assert {"demo-lgdea", "demo-clip", "limited-pairing", "vitb16-bert"} <= {f.stem for f in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_every_shipped_configuration_is_valid_and_tells_its_command(file):
    load_config(PretrainConfig, [file])
    first = file.read_text().splitlines()[0]
    assert first.startswith("# lgdea pretrain --config ")
    assert f" --config {file.stem} " in first
    assert "--out " in first


@pytest.mark.parametrize("base", ["limited-pairing", "limited-pairing-cpu", "demo-lgdea"])
def test_transport_is_laid_over_other_configurations(base):
    files = {file.stem: file for file in FILES}
    alone, both = (
        load_config(PretrainConfig, [files[name] for name in names]) for names in ([base], [base, "with-transport"])
    )
    assert (alone.transports, both.transports) == (False, True)
    assert (alone.image, alone.optimizer, alone.trainer) == (both.image, both.optimizer, both.trainer)


def test_the_demo_compares_nothing_but_objectives():
    clip, lgdea = (load_config(PretrainConfig, [f]) for f in FILES if f.stem in ("demo-clip", "demo-lgdea"))
    shared = ("seed", "image", "text", "model", "optimizer", "trainer", "validation", "checkpoint")
    for name in shared:
        assert getattr(clip, name) == getattr(lgdea, name), name
    assert clip.data.batch_size_per_device == lgdea.data.batch_size_per_device
    assert (clip.schedule.warmup_share, clip.schedule.final_lr_share) == (
        lgdea.schedule.warmup_share,
        lgdea.schedule.final_lr_share,
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rate=1e-4", "--set optimizer.learning_rate=1e-4: no such key"),
        ("trainer.max_steps=0", "max_steps must be a whole number above 0"),
        ("trainer.logger=tensorbord", r"logger tensorbord is not one of .*; did you mean tensorboard\?"),
        ("trainer.logger=true", "logger True is not one of"),
        ("trainer.logger={class: a.B}", "keys class_path and init_args, not class"),
        ("trainer.max_epochs=3", "max_epochs is set by lgdea"),
        ("trainer.enable_progress_bar=true", "enable_progress_bar is set by lgdea"),
        (
            "trainer.gradient_clip=2",
            r"no argument gradient_clip; did you mean gradient_clip_val\?",
        ),
        ("objective.name=convirt", r"objective\.name"),
        ("data.paired_share=0", r"data\.paired_share"),
    ],
)
def test_a_wrong_key_or_value_is_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(PretrainConfig, [], [*DATA, override])


def test_the_trainer_block_keeps_its_keys():
    config = load_config(PretrainConfig, [], [*DATA, "trainer.max_steps=70", "trainer.precision=bf16-mixed"])
    assert config.trainer == {"max_steps": 70, "precision": "bf16-mixed"}
    assert config.step_at_fraction(0.1) == 7
