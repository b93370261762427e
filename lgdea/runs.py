"""The folder that a stage writes: what went in, what came out, and whether it was finished.

A stage opens its folder with :func:`start`, writes files through the ``atomic`` helpers and calls
:func:`finish` last. A folder without ``_SUCCESS`` is unfinished and may be resumed; one whose inputs
or configuration have changed since is refused instead of silently mixed. What a finished stage made has its sha256 in
``run.json``; a file that is gone is made again, one that was changed is refused.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from lgdea.config_difference import add_defaults, describe_difference, drop_keys
from lgdea.errors import DataError, UsageError, first_line
from lgdea.foreign_code import list_foreign_code
from lgdea.manifests import FILES, REMEDY, changed_files, check_file, hash_file, missing_files, read_manifest, seal
from lgdea.outputs import is_leftover, require_folder
from lgdea.version import __version__

SUCCESS = "_SUCCESS"
MANIFEST = "run.json"
CONFIG = "config.yaml"
ENVIRONMENT = "env.json"
DESCRIBED = "described_by"
_MODEL = "model.safetensors"
_TABLES = frozenset({".parquet", ".npy", ".jsonl"})
"""Files by which a folder that is not finished is known to be one of ours."""
INPUTS = "inputs"
"""Folder in a run for inputs that its caller had only in memory; it may be written before the run is started."""


_log = logging.getLogger(__name__)


def start(
    folder: str | Path,
    *,
    stage: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str | Path],
    stated: Mapping[str, Any] | None = None,
    free: Sequence[str] = (),
    untrained: Sequence[str] | None = None,
) -> bool:
    """Open ``folder`` for ``stage``; write its resolved configuration and its inputs' hashes before any work.

    Args:
        folder: Where the stage writes; created with its parents.
        stage: The stage's name (``extract``, ``pretrain``, ...).
        config: The resolved configuration as plain data.
        inputs: Named input files or folders; each is hashed (see :func:`fingerprint`).
        stated: Settings of ``config`` that are not at their defaults; None: all of them. Where a run that is there
            lacks one which is at its default, an earlier version began it, and it is the same run.
        free: Dotted keys of the configuration that a resumed run may have otherwise (``trainer.devices``).
        untrained: Given when the folder has no checkpoint, and no answer: an unfinished run with another configuration
            or inputs then is begun anew, for there is nothing to lose, and these files and folders of it are removed.

    Returns:
        True when an unfinished or finished run of the same stage, configuration and inputs is already
        there (the caller resumes), False for a new folder.

    Raises:
        UsageError: The folder holds something else, or a run with other inputs or configuration, or a finished run of
            which a file was changed.
        DataError: The manifest of the run that is there is damaged.
    """
    folder = Path(folder)
    manifest_file = folder / MANIFEST
    hashes = {name: fingerprint(path) for name, path in inputs.items()}
    plain = json.loads(json.dumps(dict(config), default=str))
    if manifest_file.exists():
        old = read_manifest(manifest_file, remedy="choose a new --out, or restore the folder")
        known = add_defaults(old.get("config"), plain, plain if stated is None else stated)
        old["config"] = drop_keys(known, free)
        finished = (folder / SUCCESS).exists()
        apart = {
            key: describe_difference(old.get(key), new)
            for key, new in (("stage", stage), ("config", drop_keys(plain, free)), ("input_hashes", hashes))
            if old.get(key) != new
        }
        if apart and (untrained is None or finished or "stage" in apart):
            key, told = next(iter(apart.items()))
            raise UsageError(
                f"holds a run with another {key.replace('_', ' ')} ({told})",
                file=folder,
                remedy="choose a new --out, or repeat the command as it was to resume",
            )
        changed = changed_files(old, folder) if finished else []
        if changed:
            raise UsageError("is not as it was written", file=folder / changed[0], remedy=REMEDY)
        if not apart:
            if _removed(folder):  # while an earlier process wrote
                _record(folder, {DESCRIBED: _describe_run(folder, plain)})
            return True
        _log.info("the run in %s had come to nothing; it is begun anew (%s)", folder, "; ".join(apart.values()))
        _remove(folder / name for name in (MANIFEST, *(untrained or ())))
    else:
        _require_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    described = _describe_run(folder, plain)
    manifest = {
        "stage": stage,
        "lgdea_version": __version__,
        "started": now(),
        "config": plain,
        "inputs": {name: str(path) for name, path in inputs.items()},
        "input_hashes": hashes,
        DESCRIBED: described,
    }
    write_json(manifest_file, seal(manifest))  # last: its presence says that the folder is opened
    return False


def _describe_run(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Write what people read of a run; returns the hashes."""
    write_text(folder / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    write_json(folder / ENVIRONMENT, environment())
    return {name: hash_file(folder / name) for name in (CONFIG, ENVIRONMENT)}


def check_description(folder: str | Path) -> None:
    """Compare ``config.yaml`` and ``env.json`` of a run, as far as they are there, with ``run.json``.

    Raises:
        DataError: One is not as it was written.
    """
    folder = Path(folder)
    described = read_manifest(folder / MANIFEST).get(DESCRIBED, {}) if (folder / MANIFEST).exists() else {}
    for name in described:
        check_file(folder / name, {FILES: described}, folder)


def _removed(folder: Path) -> list[str]:
    """What :func:`start` has written and is no longer there: somebody removes the folder while it is written."""
    return [name for name in (CONFIG, ENVIRONMENT, MANIFEST) if not (folder / name).exists()]


def inputs_folder(folder: str | Path) -> Path:
    """Return the folder for inputs of the run in, or to be started in, ``folder``.

    Raises:
        UsageError: The folder holds something else than a run.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).exists():
        _require_free(folder)
    return folder / INPUTS


def _require_free(folder: Path) -> None:
    require_folder(folder)
    if folder.exists() and not all(_is_of_a_start(file) for file in folder.iterdir()):
        raise UsageError("is not empty and holds no lgdea run", file=folder, remedy="choose a new --out")


def _is_of_a_start(file: Path) -> bool:
    """Whether a start that was killed before it wrote ``run.json`` can have left this."""
    return file.name in {INPUTS, CONFIG, ENVIRONMENT} or is_leftover(file)


def record(folder: str | Path, **facts: Any) -> None:
    """Add ``facts`` to ``run.json``; the run stays as finished or unfinished as it is."""
    _record(Path(folder), facts)


def _record(folder: Path, facts: Mapping[str, Any], files: Iterable[str] = ()) -> None:
    write_json(folder / MANIFEST, seal({**read_manifest(folder / MANIFEST), **facts}, folder, files))


def finish(folder: str | Path, files: Iterable[str] = (), **summary: Any) -> None:
    """Add ``summary`` and the hashes of what was made to ``run.json``, and write ``_SUCCESS``.

    Args:
        folder: The stage's folder.
        files: What the stage was run for, relative to ``folder``: without one of them it is not finished, and readers
            refuse one that has changed.
        summary: Facts about the run, plain data.

    Raises:
        DataError: Files were removed from the folder since the stage was started.
    """
    folder, files = Path(folder), list(files)
    gone = _removed(folder) + [name for name in files if not (folder / name).is_file()]
    if gone:
        raise DataError(f"{gone[0]} was removed while the folder was written", file=folder, remedy="repeat the command")
    code = list_foreign_code()
    _record(folder, {**summary, **({"foreign_code": code} if code else {}), "finished": now()}, files)
    with writing(folder):
        (folder / SUCCESS).touch()  # and makes no folder anew that somebody has removed


def is_finished(folder: str | Path) -> bool:
    """Check that the stage that wrote ``folder`` came to its end and that what it made is still there."""
    return (Path(folder) / SUCCESS).exists() and not _missing(Path(folder))


def _missing(folder: Path) -> list[str]:
    return missing_files(read_manifest(folder / MANIFEST), folder) if (folder / MANIFEST).exists() else []


def check_output(file: str | Path) -> Path:
    """Compare a file of a finished stage's folder with the stage's ``run.json``, if there is one.

    Returns:
        The file.

    Raises:
        DataError: The file, or ``run.json``, is not as it was written.
    """
    file = Path(file)
    manifest_file = file.parent / MANIFEST
    if manifest_file.exists():
        check_file(file, read_manifest(manifest_file), file.parent)
    return file


def require_finished(folder: str | Path, *, what: str, made_by: str) -> Path:
    """Return ``folder`` as a path, or explain what is missing and which command makes it."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"no such {what}", file=folder, remedy=f"make it with `{made_by}` or check the path")
    if not (folder / SUCCESS).exists():
        if (folder / _MODEL).exists() and not (folder / MANIFEST).exists():
            raise UsageError(f"is a model, no {what}", file=folder, remedy="check the order of the arguments")
        if not any(file.name in (MANIFEST, "archive.json") or file.suffix in _TABLES for file in folder.iterdir()):
            raise UsageError(f"holds no {what}", file=folder, remedy=f"make it with `{made_by}` or check the path")
        raise UsageError(f"this {what} is unfinished", file=folder, remedy=f"run `{made_by}` again to resume it")
    if missing := _missing(folder):
        raise UsageError(
            f"this {what} lacks {missing[0]}", file=folder, remedy=f"restore it, or run `{made_by}` again to make it"
        )
    return folder


def fingerprint(path: str | Path) -> str:
    """sha256 of a file; of a finished stage's folder, the hash of its tables' hashes.

    Only the files at the top of a folder count, without the manifest, which holds times.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError("no such input", file=path, remedy="check the path")
    if not path.is_dir():
        return hash_file(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.is_file()):
        if file.name in {MANIFEST, SUCCESS, ENVIRONMENT} or file.name.startswith("."):
            continue
        digest.update(f"{file.name} {fingerprint(file)}\n".encode())
    return digest.hexdigest()


def environment() -> dict[str, Any]:
    """Versions of Python and of the libraries that shape results."""
    versions = {}
    for name in (
        "torch",
        "lightning",
        "timm",
        "transformers",
        "numpy",
        "pandas",
        "pyarrow",
        "faiss-cpu",
        "peft",
        "trl",
    ):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "lgdea": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": versions,
    }


def now() -> str:
    """UTC time, ISO 8601, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def atomic(file: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``file`` and move it there when the block succeeds.

    A reader, or a resumed run, sees either the old file or the whole new one.
    """
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(file)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(file: str | Path, *, resumable: bool = False) -> Iterator[None]:
    """Turn what the operating system refuses (disk full, no permission) into one clear line.

    Args:
        file: The file or folder that is written, named in the error.
        resumable: Whether what is written of it counts when the work is repeated; else the old file stays as it was.

    Raises:
        DataError: It cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
            problem = "was removed while it was written"
            raise DataError(problem, file=file, remedy="repeat the command, or choose another --out") from None
        reason = os.strerror(error.errno) if error.errno else first_line(error)  # Arrow's own strerror is long
        remedy = "free some space or choose another --out, then run again; what was there is untouched"
        if resumable:
            remedy = "free some space and run again; what is done is kept"
        raise DataError(f"cannot be written ({reason})", file=file, remedy=remedy) from None


def write_text(file: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(file: str | Path, content: Any) -> None:
    """Write JSON atomically, indented, keys in the given order; NaN is refused because JSON has none."""
    write_text(file, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def _remove(places: Iterable[Path]) -> None:
    for place in places:
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
