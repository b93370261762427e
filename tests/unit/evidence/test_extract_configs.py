import pytest

from lgdea.config import load_config
from lgdea.errors import ConfigError
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.config import ExtractConfig
from lgdea.shipped import shipped

FILES = sorted(f.name for f in (shipped("configs") / "extract").iterdir() if f.name.endswith(".yaml"))


@pytest.mark.parametrize("name", FILES)
def test_every_shipped_file_opens_with_its_command_and_is_valid(name):
    file = shipped("configs") / "extract" / name
    assert file.read_text().startswith("# lgdea extract ")
    config = load_config(ExtractConfig, [str(file)])
    if not config.options:
        assert get_backend(config.backend).name == config.backend


def test_a_typo_names_its_path():
    with pytest.raises(ConfigError, match="max_reject: no such key"):
        load_config(ExtractConfig, overrides=["max_reject=0.1"])
