"""``lgdea pretrain`` and ``lgdea config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgdea.cli.console import console, show_json

ConfigOption = Annotated[
    list[str] | None,
    typer.Option("--config", "-c", help="YAML file, or the name of a shipped one (demo-lgdea); later files win."),
]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-s", help="Override one key: optimizer.lr=1e-4")]


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


def config_files(kind: str, names: list[str] | None) -> list[Path]:
    """Configuration files: each a path as given, or a shipped one by its bare name."""
    from lgdea.shipped import shipped

    files = []
    for name in names or []:
        path = Path(name)
        shipped_file = Path(str(shipped("configs"))) / kind / f"{name}.yaml"
        files.append(shipped_file if not path.exists() and shipped_file.exists() else path)
    return files
