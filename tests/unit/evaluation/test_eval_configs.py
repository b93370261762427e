import pytest

from lgdea.config import load_config
from lgdea.errors import ConfigError
from lgdea.evaluation.config import TASK_CONFIGS, ZeroShotConfig
from lgdea.shipped import shipped

FILES = sorted(file.name for file in shipped("configs").joinpath("eval").iterdir() if file.name.endswith(".yaml"))


@pytest.mark.parametrize("name", FILES)
def test_a_shipped_configuration_is_valid_for_the_task_of_its_launch_command(name):
    file = shipped("configs").joinpath("eval", name)
    words = file.read_text(encoding="utf-8").splitlines()[0].split()
    assert words[:3] == ["#", "lgdea", "eval"]
    assert words[words.index("--config") + 1] == name.removesuffix(".yaml")
    load_config(TASK_CONFIGS[words[3]], [file])


def test_a_wrong_setting_is_named():
    for setting in ("texts=pairs", "batch_size=0", "split=dev"):
        with pytest.raises(ConfigError, match=f"--set {setting}: "):
            load_config(ZeroShotConfig, [], [setting])
