from __future__ import annotations

from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

import lgdea
from lgdea.config import Config, dump_commented_yaml, dump_yaml, load_config, merge, parse_override
from lgdea.errors import ConfigError, UsageError
from lgdea.pretraining.config import PretrainConfig
from lgdea.shipped import config_files


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


class Options(Config):
    """Fields of every kind."""

    path: Path | None = None
    """A path."""
    label: str | tuple[str, ...] = ""
    """Text or a list."""
    mode: Literal["a", "b"] = "a"
    """A choice."""
    free: dict[str, Any] = {}
    """Whatever."""


AWKWARD = [
    "/data/my #1/archive",
    "a: b",
    " blanks ",
    'it\'s "quoted"',
    "100%",
    "Größe 肺 😀",
    "[x]",
    "{y",
    "- z",
    "1e-4",
]


@pytest.mark.parametrize("text", AWKWARD)
def test_text_and_paths_of_the_command_line_stay_as_they_are_written(text: str) -> None:
    config = load_config(Options, overrides=[f"path={text}"])
    assert config.path == Path(text)
    assert load_config(Run, overrides=[f"name={text}"]).name == text
    assert load_config(Options, overrides=[{"path": Path(text), "label": text}]).label == text


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("path=null", {"path": None}),
        ("path=", {"path": None}),
        ("label=[a, b]", {"label": ["a", "b"]}),
        ("label=/data/my #1", {"label": "/data/my #1"}),
        ("label=C: x", {"label": "C: x"}),
        ("mode=b", {"mode": "b"}),
        ("free.model=#1", {"free": {"model": "#1"}}),
        ("free.tokens=512", {"free": {"tokens": 512}}),
        ("free.rate=1e-4", {"free": {"rate": 1e-4}}),
        ("free.on=true", {"free": {"on": True}}),
        ("free.day=2024-01-01", {"free": {"day": "2024-01-01"}}),
        ("free.time=12:30", {"free": {"time": "12:30"}}),
        ("free.sizes=[1, 2]", {"free": {"sizes": [1, 2]}}),
    ],
)
def test_an_override_is_read_as_its_field_wants_it(override: str, expected: dict) -> None:
    assert parse_override(override, Options) == expected


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("optimizer.lrr=1", "--set optimizer.lrr=1: no such key; did you mean optimizer.lr?"),
        ("sed=1", "--set sed=1: no such key; did you mean seed?"),
        ("lr=1", "--set lr=1: no such key; did you mean optimizer.lr?"),
        ("qqqq=1", "--set qqqq=1: no such key"),
    ],
)
def test_an_unknown_key_gets_the_nearest_known_one(override: str, advice: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(Run, overrides=[override])
    assert str(error.value) == advice


class Entry(Config):
    name: str
    kind: Literal["clip", "lgdea"] = "clip"


class Deep(Config):
    entries: list[Entry] = []
    shares: dict[str, float] = {}
    size: int | None = Field(None, gt=0)
    pair: tuple[float, float] = (0, 1)
    low: float = 0
    high: float = 1

    @model_validator(mode="after")
    def _check_order(self) -> Deep:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


WRONG = [
    # content of two files, overrides, what the line says; FIRST and SECOND stand for the files
    ("size: 1", "", ["size=big"], "--set size=big: Input should be a valid integer*(got 'big')"),
    ("size: 1", "", ["size=-1"], "--set size=-1: Input should be greater than 0 (got '-1')"),
    ("size: big", "", ["low=0"], "FIRST: size: Input should be a valid integer*"),
    ("size: big", "low: 0", [], "FIRST: size: Input*"),
    ("low: 0", "size: big", [], "SECOND: size: Input*"),
    ("size: big", "", ["size=huge"], "--set size=huge: Input*(got 'huge')"),
    ("size: big", "", ["size=2", "sise=2"], "--set sise=2: no such key; did you mean size?"),
    ("sise: 2", "", ["shares.a=b"], "--set shares.a=b: Input*number*; FIRST: sise: no such key; did you mean size?"),
    ("low: 2\nhigh: 3", "", ["high=1"], "--set high=1: low is above high"),
    ("low: 2\nhigh: 1", "size: 3", ["size=2"], "FIRST: low is above high"),
    ("entries: [{name: a, kind: clop}]", "", ["size=1"], "FIRST: entries.0.kind:*(got 'clop'); did you mean clip?"),
    ("entries: [{name: a, kind: [1]}]", "", [], "FIRST: entries.0.kind: Input should be 'clip' or 'lgdea' (got '?1]')"),
    ("entries: [{name: a}, {nam: b}]", "", [], "FIRST: entries.1.name: is required; entries.1.nam: no such key*"),
    ("size: 1", "", ["entries=[{kind: clip}]"], "--set entries=?{kind: clip}]: entries.0.name: is required"),
    ("size: 1", "", ["entries.0.kind=lgdea"], "--set entries.0.kind=lgdea: entries is a list, whose entries are not*"),
    ("size: 1", "", ["pair.1=2"], "--set pair.1=2: pair is a list, whose entries*give the list whole, pair=[[]...*"),
    ("size: 1", "", ["pair=[1, 2, 3]"], "--set pair=[[]1, 2, 3]:*at most 2 items*"),
    ("size: 1", "", ["pair=3"], "--set pair=3: Input should be a valid tuple*"),
    ("size: 1", "", ["size.deep=3"], "--set size.deep=3: size: Input should be a valid integer*"),
    ("size: 1", "", [{"size": "big"}], "size: Input should be a valid integer*"),
    ("size: 1", "", ["low=" + "x" * 5000], "--set low=" + "x" * 96 + "...*"),
]


@pytest.mark.parametrize(("one", "two", "overrides", "expected"), WRONG)
def test_what_is_wrong_names_where_it_was_given(
    tmp_path: Path, one: str, two: str, overrides: list[Any], expected: str
) -> None:
    files = [_write(tmp_path / "1.yaml", one), _write(tmp_path / "2.yaml", two)]
    with pytest.raises(ConfigError) as error:
        load_config(Deep, files, overrides)
    line = str(error.value).replace(str(files[0]), "FIRST").replace(str(files[1]), "SECOND")
    assert fnmatchcase(line, expected), line
    assert len(line) < 500
    assert "\n" not in line


def test_a_key_that_no_layer_gives_is_missing_in_the_file(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.yaml", "data: {archive: a}")
    with pytest.raises(ConfigError, match=rf"^{file}: data.pairing: is required; see "):
        load_config(PretrainConfig, [file], ["seed=1"])


def _every_config() -> list[type[Config]]:
    root = Path(lgdea.__file__).parents[1]
    for package in ("lgdea", "benchmarks"):
        for file in sorted((root / package).rglob("*.py")):
            if "(Config)" in file.read_text(encoding="utf-8"):
                import_module(".".join(file.relative_to(root).with_suffix("").parts))
    found, waiting = [], [Config]
    while waiting:
        waiting += (below := waiting.pop().__subclasses__())
        found += below
    return [c for c in found if c.__module__.startswith(("lgdea.", "benchmarks."))]


def test_every_field_of_every_configuration_has_a_description() -> None:
    configs = _every_config()
    assert {"PretrainConfig", "ExtractConfig", "GroundingConfig", "PhantomConfig", "Suite", "TableMapping"} <= {
        c.__name__ for c in configs
    }
    missing = [f"{c.__name__}.{n}" for c in configs for n, f in c.model_fields.items() if not f.description]
    assert missing == []


def test_descriptions_stand_in_the_schema_and_above_the_values(tmp_path: Path) -> None:
    config = load_config(Options, overrides=[{"path": "my #1: 'x'", "free": {"deep": {"a": [1, "#2"]}}}])
    assert Options.model_json_schema()["properties"]["path"]["description"] == "A path."
    text = dump_commented_yaml(config)
    assert "# Text or a list.\nlabel:" in text
    assert load_config(Options, [_write(tmp_path / "c.yaml", text)]) == config


def test_a_missing_key_is_named_with_the_command_that_explains_it() -> None:
    with pytest.raises(ConfigError) as error:
        load_config(PretrainConfig, overrides=["data.archive=x", "data.evidence=y"])
    assert str(error.value) == "data.pairing: is required; see `lgdea config schema pretrain`"


def test_a_bare_name_that_is_not_shipped_is_answered_with_those_that_are():
    assert config_files("pretrain", ["demo-lgdea"])[0].name == "demo-lgdea.yaml"
    with pytest.raises(UsageError, match=r"no configuration 'demo-lgda'; .* one of demo-clip, demo-lgdea"):
        config_files("pretrain", ["demo-lgda"])
    assert config_files("pretrain", ["mine.yaml", "x/mine"]) == [Path("mine.yaml"), Path("x/mine")]
