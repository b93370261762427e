"""Options of the verbs that ask a vision-language model, and the backend that they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgdea.errors import UsageError

if TYPE_CHECKING:
    from lgdea.evidence.backends.base import ExtractorBackend

BackendOption = Annotated[str, typer.Option(help="Who answers: vllm, http, or an installed plug-in.")]
ModelOption = Annotated[str | None, typer.Option(help="Vision-language model: hub name or folder, or served name.")]
UrlOption = Annotated[str | None, typer.Option(help="Server of the http backend.")]
RemoteOption = Annotated[bool, typer.Option("--allow-remote", help="Let images leave this machine.")]
SideOption = Annotated[int | None, typer.Option(min=16, help="Longest side of the pictures that are sent.")]
ImageRootOption = Annotated[Path | None, typer.Option(help="Folder of the pictures, if they were moved.")]


def make_backend(
    backend: str, model: str | None, url: str | None, allow_remote: bool, overrides: list[str] | None, *, images: int
) -> ExtractorBackend:
    """Make the backend; vLLM is told how many images a message has, as it takes few by default.

    Args:
        backend: As of :data:`BackendOption`; the next three likewise.
        model: Hub name, folder or served name.
        url: Server.
        allow_remote: Whether images may leave this machine.
        overrides: ``key=value`` of the configuration.
        images: Most images of a message.

    Raises:
        UsageError: No server is named, or the backend cannot be made.
    """
    from lgdea.config import load_config, nest
    from lgdea.evidence.backends.base import get_backend
    from lgdea.evidence.config import ExtractConfig

    options = {"options.model": model, "options.url": url, "options.allow_remote": allow_remote or None}
    given = {key: value for key, value in {"backend": backend, **options}.items() if value is not None}
    config = load_config(ExtractConfig, [], [nest(given), *(overrides or [])])
    if config.backend == "http" and not config.options.get("url"):
        raise UsageError("nobody is named who answers", remedy="give --url SERVER, or --backend vllm --model MODEL")
    limit = {"engine_limit_mm_per_prompt": f'{{"image": {images}}}'} if config.backend == "vllm" else {}
    return get_backend(config.backend, **{**limit, **config.options})
