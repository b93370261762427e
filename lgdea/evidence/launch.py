"""From a configuration to a running extraction: the prompt is checked first, the engine started last."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lgdea.errors import UsageError
from lgdea.evidence.asking import Progress
from lgdea.evidence.backends.base import ExtractorBackend, get_backend
from lgdea.evidence.config import ExtractConfig
from lgdea.evidence.prompts import load_prompt
from lgdea.evidence.runner import extract
from lgdea.records.archive import Archive

DEFAULT_PROMPT = "evidence-v1"


def launch(config: ExtractConfig, archive: Archive, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Run the extraction that ``config`` describes; what it started is stopped again.

    Returns:
        The summary of :func:`~lgdea.evidence.runner.extract`.

    Raises:
        UsageError: The backend or the prompt does not exist, or the backend does not take these options.
        EvidenceError, RejectedShareError: As :func:`~lgdea.evidence.runner.extract`.
    """
    if config.prompt is not None and config.backend == "rules":
        raise UsageError("the backend 'rules' reads without a prompt", remedy="leave the prompt out")
    prompt = load_prompt(config.prompt) if config.prompt is not None else None
    with ExitStack() as stack:
        backend = make_backend(config)
        if hasattr(backend, "close"):
            stack.callback(backend.close)
        if prompt is None and backend.needs_prompt:
            prompt = load_prompt(DEFAULT_PROMPT)
        return extract(
            archive,
            backend,
            out,
            prompt=prompt,
            limit=config.limit,
            max_attempts=config.max_attempts,
            max_rejected=config.max_rejected,
            accept_unanswered=config.accept_unanswered,
            progress=progress,
        )


def make_backend(config: ExtractConfig) -> ExtractorBackend:
    """The backend of a configuration, in this process or on a Ray cluster."""
    if config.runner == "ray":
        from lgdea.evidence.ray import RayBackend

        return RayBackend(config.backend, config.options, **config.ray.model_dump())
    return get_backend(config.backend, **config.options)
