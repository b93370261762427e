"""Where a model comes from, as sections of its card: data and their hashes, objective, configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import yaml

SHOWN = ("seed", "image", "text", "model", "objective", "graph", "optimizer", "schedule")
"""Parts of a pretraining's configuration that a card shows whole. The rest names places and machines."""
TRAINER = ("max_steps", "precision", "gradient_clip_val", "accumulate_grad_batches")


def pretraining_sections(
    name: str, archive: str, config: Mapping[str, Any], counts: Mapping[str, int], hashes: Mapping[str, str]
) -> dict[str, Any]:
    """Describe a pretraining for the card of its model.

    Args:
        name: Name of the run.
        archive: Name of the archive.
        config: The run's configuration as plain data.
        counts: Number of ``images``, ``reports``, ``linked pairs`` ... that it trained on.
        hashes: sha256 of ``archive``, ``evidence`` and ``pairing``, as its run.json has them.

    Returns:
        ``name`` and the sections ``data``, ``training`` and ``configuration``; no path of the machine is in them.
    """
    trainer, objective = config.get("trainer", {}), config["objective"]["name"]
    images, linked = counts.get("images", 0), counts.get("linked pairs", 0)
    data: dict[str, Any] = {"archive": archive, **counts}
    if images:
        data["linked share of the images"] = f"{linked / images:.1%}"
    if config["data"].get("evidence"):
        data["evidence"] = _evidence(Path(config["data"]["evidence"]))
    data |= {f"sha256 of the {what}": digest for what, digest in sorted(hashes.items())}
    training = {
        "objective": objective,
        "steps": trainer.get("max_steps", "-"),
        "images per step and device": config["data"]["batch_size_per_device"],
        "learning rate": config["optimizer"]["lr"],
        "precision": trainer.get("precision", "32-true"),
        "seed": config["seed"],
    }
    shown = {key: config[key] for key in SHOWN if key in config}
    shown["trainer"] = {key: trainer[key] for key in TRAINER if key in trainer}
    text = yaml.safe_dump(_without_folders(shown), sort_keys=False, allow_unicode=True)
    return {
        "name": f"{name} ({objective})",
        "data": data,
        "training": training,
        "configuration": f"```yaml\n{text}```",
    }


def sections_of_run(folder: Path) -> dict[str, Any]:
    """The sections of a model in the run folder of its pretraining, for models that do not hold them themselves.

    Args:
        folder: Run folder.

    Returns:
        Those of :func:`pretraining_sections`; empty where this is no finished pretraining.
    """
    run = _read(folder / "run.json")
    if run.get("stage") != "pretrain" or "counts" not in run:
        return {}
    source = Path(run["config"]["data"]["archive"])
    archive = _read(source / "archive.json").get("name", source.name)
    return pretraining_sections(folder.resolve().name, archive, run["config"], run["counts"], run["input_hashes"])


def _evidence(folder: Path) -> str:
    """Who extracted the evidence: backend, model and prompt."""
    config = _read(folder / "run.json").get("config", {})
    backend = config.get("backend", {})
    if not isinstance(backend, dict) or not backend:
        return "of unknown origin"
    parts = [str(backend.get("backend", "")), PurePath(str(backend.get("model") or "")).name, backend.get("version")]
    prompt = config.get("prompt")
    named = prompt.get("prompt_id") if isinstance(prompt, dict) else None
    return " ".join(str(part) for part in parts if part) + (f", prompt {named}" if named else "")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _without_folders(value: Any) -> Any:
    """Keep of an absolute path its last part: what lies above it is nobody's business."""
    if isinstance(value, Mapping):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    if isinstance(value, str):
        prefix, colon, rest = value.rpartition(":")
        if PurePath(rest).is_absolute():
            return f"{prefix}{colon}{PurePath(rest).name}"
    return value
