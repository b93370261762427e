"""Identity of the weights that a model name stands for, known before they are loaded."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from lgdea.errors import EvidenceError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_WHOLE = 16 * 2**20
_SAMPLES = 64
_SAMPLE = 2**16


def resolve_revision(model: str, revision: str | None = None) -> str:
    """Say exactly which weights will be used.

    Args:
        model: A name on the Hugging Face hub, or a local folder.
        revision: Branch, tag or commit of a hub model; the cached or newest ``main`` by default.

    Returns:
        The commit of a hub model; ``sha256:`` and 16 digits of a local folder (see :func:`hash_folder`).

    Raises:
        EvidenceError: The folder holds no model, or neither the cache nor the hub knows the name.
    """
    folder = Path(model)
    if folder.is_dir():
        return f"sha256:{hash_folder(folder)[:16]}"
    if folder.is_absolute() or model.startswith((".", "~")):
        raise EvidenceError("no such model folder", file=model, remedy="check the path, or give a name on the hub")
    if revision and _COMMIT.fullmatch(revision):
        return revision
    return _cached_commit(model, revision) or _hub_commit(model, revision)


def hash_folder(folder: Path) -> str:
    """sha256 over a model folder's files: whole up to 16 MiB, larger ones by size and 64 spread samples of 64 KiB.

    Training changes every weight, so samples tell two checkpoints apart without reading 100 GB twice.
    """
    if not (folder / "config.json").is_file():
        raise EvidenceError("is not a model folder: it has no config.json", file=folder, remedy="check options.model")
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        size = file.stat().st_size
        digest.update(f"\x1f{file.name} {size}\n".encode())
        with file.open("rb") as stream:
            if size <= _WHOLE:
                digest.update(stream.read())
                continue
            for number in range(_SAMPLES):
                stream.seek((size - _SAMPLE) * number // (_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()


def _cached_commit(model: str, revision: str | None) -> str | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        file = try_to_load_from_cache(model, "config.json", revision=revision)
    except HFValidationError:
        raise EvidenceError(
            f"no model {model!r}", remedy="give a local folder or a name on the hub, e.g. Qwen/Qwen2.5-7B-Instruct"
        ) from None
    return Path(file).parent.name if isinstance(file, str) else None


def _hub_commit(model: str, revision: str | None) -> str:
    from huggingface_hub import model_info

    try:
        commit = model_info(model, revision=revision, timeout=30).sha
    except Exception as error:  # no network, offline mode, no such name, gated: the hub's own words say which
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise EvidenceError(
            f"model {model!r} is neither a local folder nor in the cache, and the hub did not give it ({first[0]})",
            remedy="check the name and the network, log in with `hf auth login` if it is gated, or give a local folder",
        ) from None
    if commit is None:
        raise EvidenceError(f"the hub names no commit of model {model!r}", remedy="give options.revision")
    return commit
