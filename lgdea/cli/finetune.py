"""``lgdea compare finetune``: fine-tune a vision-language model on rows of images, question and answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lgdea.cli.console import ConfigOption, JsonFlag, SetOption, console, run_facts, show_json
from lgdea.shipped import config_files


def register(app: typer.Typer) -> None:
    """Add the verb to ``lgdea compare``."""
    app.command()(finetune)


def finetune(
    model: Annotated[str, typer.Option(help="Folder of a vision-language model, or its name on the Hub.")],
    data: Annotated[Path, typer.Option(help="Rows of prompt and completion (trl.jsonl).")],
    out: Annotated[Path, typer.Option(help="Run folder to write; an unfinished one is resumed.")],
    image_root: Annotated[Path | None, typer.Option(help="Folder of the pictures, if not where the rows say.")] = None,
    method: Annotated[str | None, typer.Option(help="lora (adapters) or full (all weights).")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Also write the model with its adapter added.")] = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Fine-tune a vision-language model on rows of images, question and answer; needs `lgdea[finetune]`.

    Example: `lgdea compare finetune --model Qwen/Qwen3-VL-4B-Instruct --data questions/trl.jsonl --out runs/reader`
    """
    from lgdea.comparison.finetune.config import FinetuneConfig
    from lgdea.comparison.finetune.train import finetune as train
    from lgdea.config import load_config

    given: dict[str, Any] = {"model": model, "data": data}
    given |= {"image_root": image_root} if image_root else {}
    given |= {"method": method} if method else {}
    given |= {"merge": True} if merge else {}
    files = config_files("compare", config or ["finetune"])
    folder = train(load_config(FinetuneConfig, files, [given, *(overrides or [])]), out)
    if json:
        show_json(run_facts(out), [folder])
        return
    console.print(f"model: {folder}")
