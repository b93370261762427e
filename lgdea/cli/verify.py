"""``lgdea verify``: is everything in a folder as it was written?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import lgdea
from lgdea.cli.console import JsonFlag, console, show_json
from lgdea.errors import DataError


def verify(
    folder: Annotated[Path, typer.Argument(help="What lgdea wrote: an archive, evidence, a run, a model, results.")],
    accept: Annotated[
        bool, typer.Option("--accept", help="Take what is there now as right, after a change on purpose.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Compare files with the hashes that they were written with: a flipped bit, a cut or a missing file is named.

    Leaves with 1 when there is one. What an archive says is checked by `lgdea data verify`.

    Example: `lgdea verify runs/chest`
    """
    if accept:
        from lgdea.api.integrity import accept_changes

        written = accept_changes(folder)
        if json:
            show_json({"sealed_anew": list(written)}, [folder / file for file in written])
        else:
            console.print(f"{folder}: sealed anew: {', '.join(written) or 'nothing had changed'}", soft_wrap=True)
        return
    found = lgdea.verify_folder(folder)
    if json:
        show_json({"checked": found.checked, "problems": dict(found.problems)})
    else:
        for file, problem in found.problems:
            console.print(f"{folder / file}: {problem}", soft_wrap=True)
        console.print(f"{folder}: {found.checked:,} files compared", soft_wrap=True)
    if found.problems:
        raise DataError(
            f"{len(found.problems)} of {found.checked} files are not as they were written",
            file=folder,
            remedy="restore them or make them again; after a change on purpose: --accept",
        )
