"""A result is replaced by one of the same model, items and settings only, unless it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import EvaluationConfig
from lgdea.evaluation.results.result import Result, read_result

_NO_MEANING = frozenset({"batch_size", "workers", "image_cache"})
"""Settings that change no result."""


def refuse_other_result(
    folder: str | Path,
    task: str,
    *,
    config: EvaluationConfig,
    archive: str,
    model: str,
    model_hash: str = "",
    suite: str | None = None,
    evidence: str | None = None,
) -> None:
    """Refuse to replace the result of something else.

    Args:
        folder: Results folder.
        task: Task whose result is to be written there.
        config: Settings of the new result.
        archive: Name of its archive.
        model: Name of its model.
        model_hash: As :func:`~lgdea.evaluation.results.identity.model_identity` gives it; empty where it is not known.
        suite: Its suite.
        evidence: As :func:`~lgdea.evaluation.results.identity.evidence_sha256` gives it; None where it is not known.

    Raises:
        UsageError: The folder holds a result of the task with another model, archive, suite, evidence or setting.
    """
    file = Path(folder) / f"{task}.json"
    if not file.exists():
        return
    try:
        old = read_result(file)
    except DataError:  # damaged: there is nothing to lose
        return
    new: dict[str, Any] = {"archive": archive, "suite": suite}
    was: dict[str, Any] = {"archive": old.archive, "suite": old.suite}
    if evidence is not None and old.evidence_sha256 is not None:
        new["evidence"], was["evidence"] = evidence or "none", old.evidence_sha256 or "none"
    if model_hash and old.model_hash:
        if model_hash != old.model_hash:
            new["model"], was["model"] = (model, old.model) if model != old.model else (model_hash, old.model_hash)
    else:
        new["model"], was["model"] = model, old.model
    settings = config.model_dump(mode="json")
    new |= {key: value for key, value in settings.items() if key not in _NO_MEANING and key in old.config}
    was |= {key: _before(key, new[key], old) for key in new if key in old.config}
    apart = [f"{key}: {_short(was[key])} -> {_short(new[key])}" for key in new if new[key] != was[key]]
    if apart:
        raise UsageError(
            f"is a result of something else ({', '.join(apart)})",
            file=file,
            remedy="choose another --out, or add --overwrite (overwrite=True in Python)",
        )


def _before(key: str, now: Any, old: Result) -> Any:
    """The setting of then; what was left to the task is as it is left to the task now."""
    return now if (key, now) in (("labeller", None), ("texts", "auto")) else old.config[key]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:36]} ..."
