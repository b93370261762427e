"""Model folders: a run's folder stands for the model in it."""

from __future__ import annotations

from pathlib import Path

from lgdea.errors import UsageError

CONFIG = "config.json"
_IN_RUN = "model"
_RUN = "run.json"


def model_folder(path: str | Path) -> Path:
    """Return the folder of a model: ``path`` itself, or ``model`` in it where it is a run's folder.

    Args:
        path: Model or run folder.
    """
    path = Path(path)
    inner = path / _IN_RUN
    return inner if not (path / CONFIG).is_file() and (inner / CONFIG).is_file() else path


def require_model(path: str | Path, *, remedy: str = "check the path; `lgdea pretrain` makes one") -> Path:
    """Return :func:`model_folder` of ``path``, or say what is there instead.

    Args:
        path: Model or run folder.
        remedy: Advice when there is no such folder.

    Raises:
        UsageError: There is no such folder, it is a run without a model, or something else.
    """
    folder = model_folder(path)
    if not folder.is_dir():
        raise UsageError("no such model folder", file=folder, remedy=remedy)
    if (folder / CONFIG).is_file():
        return folder
    if (folder / _RUN).is_file():
        raise UsageError(
            "is a run without a model", file=folder, remedy="repeat the command that trains it; finished, it has one"
        )
    return folder
