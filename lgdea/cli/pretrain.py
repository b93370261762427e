"""``lgdea pretrain`` and ``lgdea config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgdea.cli.console import ConfigOption, SetOption, console, show_json
from lgdea.shipped import config_files


def pretrain(
    out: Annotated[Path, typer.Option(help="Run folder to write; an unfinished one is resumed.")],
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Pretrain an image-text model on an archive, its evidence and its pairing.

    Example: `lgdea pretrain --config limited-pairing --set data.archive=archives/chest --out runs/chest`
    """
    from lgdea.config import load_config
    from lgdea.pretraining.config import PretrainConfig
    from lgdea.pretraining.fit import fit

    resolved = load_config(PretrainConfig, config_files("pretrain", config), overrides or [])
    model = fit(resolved, out)
    console.print(f"model: {model}")


config_app = typer.Typer(help="Look at configurations.", no_args_is_help=True)


@config_app.command()
def schema() -> None:
    """Print the JSON Schema of a pretraining configuration.

    Example: `lgdea config schema`
    """
    from lgdea.pretraining.config import PretrainConfig

    show_json(PretrainConfig.model_json_schema())


@config_app.command()
def show(config: ConfigOption = None, overrides: SetOption = None) -> None:
    """Print the resolved configuration with every default.

    Example: `lgdea config show --config demo-lgdea`
    """
    from lgdea.config import dump_yaml, load_config
    from lgdea.pretraining.config import PretrainConfig

    resolved = load_config(PretrainConfig, config_files("pretrain", config), overrides or [])
    typer.echo(dump_yaml(resolved))
