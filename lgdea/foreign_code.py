"""Python files that a model of the Hugging Face Hub brings along: never run unless somebody says so for this process.

It cannot be said in a configuration, which people hand on; and what runs is always a file whose hash is known: of a
folder, or of one commit of the Hub, which is fetched into its cache as a folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lgdea.errors import UsageError, first_line

FLAG = "--trust-remote-code"
_PINNED = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})")
_ELSEWHERE = "--"  # transformers' mark of code that is in another repository
_DATA = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.bin")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Admitted:
    """A model that may be loaded.

    Attributes:
        name: As it was given.
        place: Folder, or name on the Hub, to load it from.
        trusted: Whether its own Python files may run.
        files: sha256 of those, by their path in the folder.
    """

    name: str
    place: str
    trusted: bool = False
    files: dict[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Name the code, for a result or a saved model."""
        return {"model": self.name, "files": self.files}


class _Process:
    """What this process was told, and what it has run."""

    trusting = False
    ran: dict[str, Admitted] = {}  # noqa: RUF012  # one for the process, as the modules that it imports are


@contextmanager
def trusting(wanted: bool = True) -> Iterator[None]:
    """Let models run Python files of their own, inside this block; they are as powerful as whoever runs them.

    Args:
        wanted: If false, nothing is allowed that was not before.

    Example:
        >>> from lgdea.foreign_code import list_foreign_code, trusting
        >>> with trusting(False):
        ...     print(list_foreign_code())
        []
    """
    before, ran = _Process.trusting, _Process.ran
    _Process.trusting, _Process.ran = before or wanted, {}
    try:
        yield
    finally:
        _Process.trusting, _Process.ran = before, ran


def is_trusting() -> bool:
    """Whether models may run Python files of their own."""
    return _Process.trusting


def list_foreign_code() -> list[dict[str, Any]]:
    """List the models whose own code was admitted, with the hashes of their files."""
    return [admitted.describe() for admitted in _Process.ran.values()]


def admit(name: str | Path) -> Admitted:
    """Say where a model is loaded from, and whether its own code may run; if so, that is logged.

    Args:
        name: Folder, or name on the Hugging Face Hub; ``ORG/NAME@COMMIT`` is fetched as a folder.

    Raises:
        UsageError: The commit cannot be had, or the code is in another repository.
    """
    text = str(name)
    pinned = None if Path(text).is_dir() else _PINNED.fullmatch(text)
    place = text if pinned is None else _fetch(pinned["repo"], pinned["commit"])
    folder = Path(place)
    if not (_Process.trusting and text and folder.is_dir()):
        return Admitted(text, place)
    classes = _own_classes(folder)
    if not classes:
        return Admitted(text, place)
    elsewhere = [name for name in classes if _ELSEWHERE in name]
    if elsewhere:
        problem = f"its code is in another repository ({elsewhere[0].partition(_ELSEWHERE)[0]}), where it can change"
        raise UsageError(
            problem, file=text, remedy="copy that code into a folder beside the model, and name the folder"
        )
    files = {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*.py"))
    }
    admitted = Admitted(text, place, trusted=True, files=files)
    if _Process.ran.get(text) != admitted:
        told = ", ".join(f"{file} (sha256 {digest[:12]})" for file, digest in files.items())
        _log.warning("%s runs Python code of its own: %s", text, told)
        _Process.ran[text] = admitted
    return admitted


def readmit(described: dict[str, Any]) -> Admitted:
    """Admit the code that a saved model was made with.

    Args:
        described: What :meth:`Admitted.describe` gave then.

    Raises:
        UsageError: It is not there, has changed, or may not run.
    """
    name = str(described["model"])
    if not _Process.trusting:
        raise refusal(name)
    admitted = admit(name)
    if admitted.files != described["files"]:
        problem = f"the code of this model's tower {'has changed' if admitted.files else 'is gone'}"
        raise UsageError(problem, file=name, remedy="restore the files with which the model was trained")
    return admitted


def refusal(name: str | Path) -> UsageError:
    """What to say of a model that cannot do without its own code."""
    if _Process.trusting and not Path(name).is_dir():
        remedy = "write ORGANISATION/NAME@COMMIT (40 digits), or name a folder, so that it is known which code runs"
        return UsageError(f"{name} needs Python code of its own, which runs of a fixed commit alone", remedy=remedy)
    return UsageError(
        f"{name} needs Python code of its own, which is not run",
        remedy=f"choose a model of a kind that transformers knows, or read that code and say {FLAG}",
    )


def _own_classes(folder: Path) -> list[str]:
    """Classes of its own that a folder's JSON files name."""
    found: list[str] = []
    for file in sorted(folder.glob("*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # whoever needs it says that it is damaged
        named = content.get("auto_map") if isinstance(content, dict) else None
        for entry in named.values() if isinstance(named, dict) else ():
            found += [name for name in (entry if isinstance(entry, list) else [entry]) if isinstance(name, str)]
    return found


def _fetch(repo: str, commit: str) -> str:
    from huggingface_hub import snapshot_download

    patterns = [*_DATA, "*.py"] if _Process.trusting else [*_DATA]
    try:
        return str(snapshot_download(repo, revision=commit, allow_patterns=patterns))
    except Exception as error:
        problem = f"the commit {commit[:12]} of {repo} cannot be had ({first_line(error)})"
        raise UsageError(problem, remedy="check the name, the network or the Hugging Face cache") from None
