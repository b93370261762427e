"""``lgdea config schema|show``: every stage, and what is shown is a configuration again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from lgdea.cli import app
from lgdea.comparison.entity.config import EntityConfig
from lgdea.comparison.finetune.config import FinetuneConfig
from lgdea.config import load_config
from lgdea.evaluation.config import TASK_CONFIGS
from lgdea.evidence.config import ExtractConfig
from lgdea.pretraining.config import PretrainConfig

STAGES = [
    ("extract",),
    ("pretrain",),
    ("compare",),
    ("compare", "finetune"),
    *(("eval", task) for task in TASK_CONFIGS),
]
CLASSES = {("extract",): ExtractConfig, ("pretrain",): PretrainConfig, ("compare",): EntityConfig}
CLASSES |= {("compare", "finetune"): FinetuneConfig}
CLASSES |= {("eval", task): cls for task, cls in TASK_CONFIGS.items()}
SETTINGS = {
    "extract": ["options.model=a: #b"],
    "compare": [f"data.{name}=/my #1/{name}" for name in ("archive", "evidence")] + ["model=/my #1/model"],
    "compare finetune": ["model=/my #1/model", "data=/my #1/trl.jsonl"],
    "pretrain": [f"data.{name}=/my #1/{name}" for name in ("archive", "evidence", "pairing")],
    "eval": ["split=val"],
}


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["config", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("stage", STAGES)
def test_a_schema_describes_every_key(stage: tuple[str, ...]) -> None:
    schema = json.loads(_run("schema", *stage))
    assert schema["title"] == CLASSES[stage].__name__
    for part in (schema, *schema.get("$defs", {}).values()):
        described = [field["description"] for field in part["properties"].values()]
        assert all(described)
        assert not any(":func:" in text or "``" in text or "\n" in text for text in described)


@pytest.mark.parametrize("stage", STAGES)
def test_the_shown_configuration_loads_to_the_same_values(stage: tuple[str, ...], tmp_path: Path) -> None:
    settings = SETTINGS.get(" ".join(stage), SETTINGS[stage[0]])
    shown = _run("show", *stage, *(part for setting in settings for part in ("--set", setting)))
    file = tmp_path / "shown.yaml"
    file.write_text(shown, encoding="utf-8")
    assert load_config(CLASSES[stage], [file]) == load_config(CLASSES[stage], [], settings)
    assert "\n  #" in shown or stage != ("pretrain",)
    assert sum(line.lstrip().startswith("#") for line in shown.splitlines()) >= len(yaml.safe_load(shown))


def test_without_a_stage_it_is_pretraining() -> None:
    assert yaml.safe_load(_run("show", "--config", "demo-lgdea"))["objective"]["name"] == "lgdea"
    assert json.loads(_run("schema"))["title"] == "PretrainConfig"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("show", "eval", "--json"), "eval has a configuration per task; name one: zero-shot"),
        (("show", "eval", "groundng"), "no evaluation task 'groundng'; choose one of zero-shot"),
        (("show", "extract", "probe"), "extract has no task 'probe'"),
        (("show", "extract", "--set", "prompts=x"), "did you mean prompt?; see `lgdea config schema extract`"),
        (("show", "eval", "probe", "--set", "drawz=1"), "did you mean draws?; see `lgdea config schema eval probe`"),
    ],
)
def test_a_wrong_request_ends_in_the_right_advice(arguments: tuple[str, ...], expected: str) -> None:
    result = CliRunner().invoke(app, ["config", *arguments])
    assert expected in str(result.exception)
