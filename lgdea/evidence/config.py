"""The configuration of an extraction (``configs/extract/*.yaml``)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from lgdea.config import Config


class RayConfig(Config):
    """Cluster of a run with ``runner: ray`` (see :class:`~lgdea.evidence.backends.ray_backend.RayBackend`)."""

    workers: int = Field(2, ge=1)
    """Backends that work at the same time."""
    batch_size: int = Field(256, ge=1)
    """Requests that a worker is given at once."""
    address: str = "local"
    """``auto`` or ``host:port`` of a running cluster; ``local`` starts Ray on this machine."""
    num_cpus: float = Field(1, ge=0)
    """CPU slots of each worker."""
    num_gpus: float = Field(0, ge=0)
    """GPUs of each worker: 1 for one vLLM engine per GPU."""


class ExtractConfig(Config):
    """Configuration of an extraction: backend, prompt, runner, and how much may be rejected."""

    stage: ClassVar[str | None] = "extract"

    backend: str = "rules"
    """Name in the entry-point group ``lgdea.backends``."""
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Passed to the backend's ``create``."""
    prompt: str | None = None
    """Prompt id or folder; a language model without one gets ``evidence-v2``."""
    runner: Literal["local", "ray"] = "local"
    """In this process, or on a Ray cluster."""
    ray: RayConfig = Field(default_factory=lambda: RayConfig.model_validate({}))
    """Of ``runner: ray``."""
    workers: int = Field(1, ge=1)
    """Processes of this machine that the ``rules`` share the reports between; any number writes the same bytes."""
    lexicon: Path | None = None
    """``lexicon.yaml`` of the site: its headings, words and findings."""
    limit: int | None = Field(None, ge=1)
    """Only the first so many reports."""
    max_attempts: int = Field(2, ge=1, le=8)
    """Number of times that a question is asked whose answer is cut or unreadable; each time with twice the tokens."""
    max_rejected: float = Field(0.05, ge=0, le=1)
    """Allowed share of rejected reports, of lost questions, and of units whose quote is not in the report."""
    max_empty: float = Field(1.0, ge=0, le=1)
    """Allowed share of questions that a language model answers with no unit; from 0.9 on there is a warning."""
    accept_unanswered: bool = False
    """Finish although the backend failed on some questions."""
    allow_unscrubbed: bool = False
    """Let reports that `lgdea data scrub` has not masked leave this machine; beside ``options.allow_remote``."""
