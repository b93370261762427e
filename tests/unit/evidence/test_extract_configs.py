import shlex

import pytest

from lgdea.cli import main
from lgdea.config import load_config
from lgdea.errors import ConfigError
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.config import ExtractConfig
from lgdea.evidence.prompts import load_prompt
from lgdea.shipped import shipped

FILES = sorted(f.name for f in (shipped("configs") / "extract").iterdir() if f.name.endswith(".yaml"))


def test_every_way_to_run_has_a_file():
    assert {"rules.yaml", "vllm.yaml", "http.yaml", "ray.yaml"} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_shipped_file_is_valid(name):
    config = load_config(ExtractConfig, [str(shipped("configs") / "extract" / name)])
    if config.prompt is not None:
        assert load_prompt(config.prompt).prompt_id == config.prompt
    if config.backend == "rules":
        assert get_backend(config.backend).name == config.backend


@pytest.mark.parametrize("name", FILES)
def test_every_shipped_file_opens_with_a_command_that_only_lacks_its_archive(name, tmp_path, monkeypatch, capsys):
    first = (shipped("configs") / "extract" / name).read_text().splitlines()[0]
    assert first.startswith("# lgdea extract ")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(shlex.split(first)[2:])
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith("lgdea: archives/openi: no such archive;")
    assert said.count("\n") == 1


def test_a_typo_names_its_path():
    with pytest.raises(ConfigError, match=r"^--set max_reject=0\.1: no such key"):
        load_config(ExtractConfig, overrides=["max_reject=0.1"])
    with pytest.raises(ConfigError, match=r"^--set ray\.worker=2: no such key"):
        load_config(ExtractConfig, overrides=["ray.worker=2"])
