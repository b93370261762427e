"""``lgdea pretrain``: an archive, its evidence and its pairing in, a model out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import lgdea
from lgdea.cli.console import ConfigOption, JsonFlag, SetOption, console, run_facts, show_json
from lgdea.shipped import config_files


def pretrain(
    out: Annotated[Path, typer.Option(help="Run folder to write; an unfinished one is resumed.")],
    config: ConfigOption = None,
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Pretrain an image-text model on an archive, its evidence and its pairing.

    Example: `lgdea pretrain --config limited-pairing --set data.archive=archives/chest --out runs/chest`
    """
    from lgdea.config import load_config
    from lgdea.pretraining.config import PretrainConfig

    resolved = load_config(PretrainConfig, config_files("pretrain", config), overrides or [])
    data = resolved.data
    lgdea.pretrain(data.archive, data.evidence, data.pairing, out, resolved)
    if json:
        show_json(run_facts(out), [out / "model"])
        return
    console.print(f"model: {out / 'model'}")
