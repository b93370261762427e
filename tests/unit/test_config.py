from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lgdea.config import Config, dump_yaml, load_config, merge
from lgdea.errors import ConfigError


class Optimizer(Config):
    lr: float = 1e-3
    betas: list[float] = [0.9, 0.999]


class Run(Config):
    seed: int = 0
    name: str = "run"
    optimizer: Optimizer = Optimizer()


def _write(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def test_later_files_and_overrides_win(tmp_path: Path) -> None:
    a = _write(tmp_path / "a.yaml", "seed: 1\noptimizer: {lr: 0.1, betas: [0.8, 0.9]}\n")
    b = _write(tmp_path / "b.yaml", "optimizer: {lr: 0.2}\n")
    config = load_config(Run, [a, b], ["seed=7"])
    assert (config.seed, config.optimizer.lr, config.optimizer.betas) == (7, 0.2, [0.8, 0.9])


def test_scientific_notation_without_a_dot_is_a_number() -> None:
    assert load_config(Run, overrides=["optimizer.lr=1e-4"]).optimizer.lr == 1e-4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optimiser: {lr: 1}", "optimiser: no such key"),
        ("optimizer: {lrr: 1}", "optimizer.lrr: no such key"),
        ("seed: many", "seed: Input should be a valid integer"),
        ("- 1", "must be a mapping"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_a_bad_file_names_itself_and_the_exact_key(tmp_path: Path, text: str, expected: str) -> None:
    file = _write(tmp_path / "bad.yaml", text)
    with pytest.raises(ConfigError) as error:
        load_config(Run, [file])
    assert expected in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("override", ["seed", "=3", "optimizer.lr=[", "optimizer.nope=3"])
def test_a_bad_override_is_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        load_config(Run, overrides=[override])


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file") as error:
        load_config(Run, [tmp_path / "none.yaml"])
    assert error.value.exit_code == 2


def test_the_dump_reads_back_to_the_same_configuration(tmp_path: Path) -> None:
    config = load_config(Run, overrides=["optimizer.lr=0.5", "name='a b: c'"])
    assert load_config(Run, [_write(tmp_path / "c.yaml", dump_yaml(config))]) == config


nested = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.sampled_from("abc"), nested, max_size=3)


@given(mappings, mappings)
def test_merge_keeps_what_the_top_does_not_name_and_takes_what_it_does(base: dict, top: dict) -> None:
    merged = merge(base, top)
    assert set(merged) == set(base) | set(top)
    assert merge(base, {}) == base
    assert merge({}, top) == top
    assert merge(merged, top) == merged
    assert yaml.safe_load(yaml.safe_dump(merged)) == merged
