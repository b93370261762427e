"""Image files by what a cell calls them: a path, the end of one, a bare name, a folder, several of these."""

from __future__ import annotations

import ast
import os
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from lgdea.errors import ImageError
from lgdea.imaging.sniff import kind_of

ENDINGS = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
PICTURES = (*ENDINGS, ".nii", ".nii.gz")
_ROOT = re.compile(r"(?:file:/*)?(?:[A-Za-z]:/+|/*)", re.IGNORECASE)  # of a drive, a share or the machine
_LISTED = re.compile(r"\[.*\]|\(.*\)", re.DOTALL)


def split_list(cell: str) -> list[str] | None:
    """The items of a cell that is a Python or JSON list, None when it is none.

    >>> split_list("['a', 'b']"), split_list('["a"]'), split_list("[]"), split_list("a|b")
    (['a', 'b'], ['a'], [], None)
    """
    cell = cell.strip()
    if not _LISTED.fullmatch(cell) or (cell[0] == "(" and "'" not in cell and '"' not in cell):
        return None
    try:
        items = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        items = [part.strip().strip("'\"") for part in cell[1:-1].split(",")]
    items = items if isinstance(items, list | tuple) else [items]
    return [str(item).strip() for item in items if item is not None and str(item).strip()]


def split_paths(cell: str) -> list[str]:
    """The paths of a cell, which may be a list or separated by ``;``, ``|``, commas or line breaks.

    >>> split_paths("im/a.png;im/b.png"), split_paths("a, b.png"), split_paths('["a.png", "b.png"]')
    (['im/a.png', 'im/b.png'], ['a, b.png'], ['a.png', 'b.png'])
    """
    listed = split_list(cell)
    if listed is not None:
        return listed
    for mark in (r"[|\n]", ";", ",", r"\s+"):
        parts = [part.strip().strip("'\"") for part in re.split(mark, cell) if part.strip()]
        whole = all(without_ending(part, PICTURES) != part for part in parts)
        if len(parts) > 1 and (whole or (mark in (r"[|\n]", ";") and not any("." in part for part in parts))):
            return parts
    return [cell.strip().strip("'\"")]


def without_ending(name: str, endings: tuple[str, ...] = ENDINGS) -> str:
    """A file's name or path without the longest of ``endings`` that it has.

    >>> without_ending("a/b.NII.gz", (".nii", ".nii.gz"))
    'a/b'
    """
    fits = [ending for ending in endings if name.lower().endswith(ending)]
    return name[: -len(max(fits, key=len))] if fits else name


def bare_name(path: str) -> str:
    """The file's name without folders and without an ending that pictures or volumes have."""
    return without_ending(path.rpartition("/")[2], PICTURES)


def slashes(path: str) -> str:
    """A path with forward slashes and without ``./`` in front."""
    return path.replace("\\", "/").removeprefix("./")


@dataclass(frozen=True)
class Search:
    """What became of a cell's path: the files, or why there are none.

    Attributes:
        paths: Relative to the root, or absolute as the cell is; several for a folder.
        reason: Why there are none.
        remedy: What can be done then.
    """

    paths: tuple[str, ...] = ()
    reason: str = ""
    remedy: str = ""


class Finder:
    """Finds image files below a root.

    A path that exists is taken as it is. Else a file below the root is looked for whose own path ends as the cell's
    does, or the other way round: ``D:\\export\\p1\\a.png`` is ``p1/a.png`` below the root, ``p1/a.png`` is
    ``data/p1/a.png``, and a bare name is a file anywhere below. Case, the form of accents, and an ending that the cell
    leaves out do not count; of two files that fit equally none is taken.

    Args:
        root: Folder of the images.
        endings: Of image files.
        any_ending: Whether ``a.dcm`` may be ``a.png``.
        shared: File names that several of the paths to be found have; a folder tells them apart.
    """

    def __init__(
        self,
        root: Path,
        endings: tuple[str, ...] = ENDINGS,
        *,
        any_ending: bool = False,
        shared: Collection[str] = (),
    ) -> None:
        self.root = root
        self.endings = endings
        self.any_ending = any_ending
        self.by_name = 0
        self._shared = {_key(name) for name in shared}

    def find(self, cell: str) -> Search:
        """The files that a cell's path means."""
        for path in dict.fromkeys((cell, unquote(cell))):
            full = os.path.join(self.root, path)  # noqa: PTH118 - a Path per image is slow
            if os.path.isfile(full):  # noqa: PTH113
                return Search((path,))
            if os.path.isdir(full):  # noqa: PTH112
                return self._in_folder(path)
        for path in dict.fromkeys((cell, unquote(cell))):
            found = self._by_end(path)
            if found is not None:
                self.by_name += bool(found.paths)
                return found
        return self._missing(cell)

    def _in_folder(self, path: str) -> Search:
        """All pictures below a folder."""
        folder = path.strip("/")
        inside = [
            other if folder in ("", ".") else f"{folder}/{other}"
            for other in _walk(Path(self.root, folder))
            if self._is_image(Path(self.root, folder, other))
        ]
        reason = f"the folder {path!r} below {self.root} holds no image"
        return Search(tuple(inside)) if inside else Search((), reason, "name the folder that holds the images")

    def _is_image(self, file: Path) -> bool:
        name = file.name.lower()
        if name.endswith(self.endings):
            return True
        if "." in name.strip("."):
            return False
        try:
            return kind_of(file) is not None
        except ImageError:
            return False

    def _by_end(self, path: str, *, any_ending: bool = False) -> Search | None:
        """The file whose path and the cell's end alike, over all of the shorter one."""
        wanted = _parts(_ROOT.sub("", path, count=1))
        if not wanted:
            return None
        best: list[str] = []
        longest = 0
        for name, candidates in self._named(wanted[-1], self.any_ending or any_ending):
            for candidate in candidates:
                own = _parts(candidate)
                own[-1] = name
                common = _common_end(wanted, own)
                if common < min(len(own), len(wanted)) or common < longest:
                    continue
                if common < len(wanted) and common == 1 and wanted[-1] in self._shared:
                    continue
                best = [*best, candidate] if common == longest else [candidate]
                longest = common
        best = list(dict.fromkeys(best))
        if len(best) == 1:
            return Search((best[0],))
        if not best:
            return None
        return Search(
            (), f"{len(best):,} files below {self.root} have the name {shown_path(path)}",
            "say in which folder each lies, such as --option 'image_path={patient column}/{image column}', or a nearer "
            "--option image_root=FOLDER",
        )  # fmt: skip

    def _named(self, name: str, any_ending: bool) -> list[tuple[str, list[str]]]:
        """Files of that name, else of that name with an ending, else with another ending."""
        if name in self._names:
            return [(name, self._names[name])]
        if name in self._bare:
            return [(name, self._bare[name])]
        stem = without_ending(name, self.endings)
        if any_ending and stem != name and stem in self._bare:
            return [(name, self._bare[stem])]
        return []

    def _missing(self, cell: str) -> Search:
        """Why there is no file, and what would help."""
        name = _key(cell.rpartition("/")[2])
        nothing = f"no image {shown_path(cell)} under {self.root}"
        same = self._names.get(name, []) if "/" in cell else []
        if same:
            return Search(
                (), f"{nothing}, where the file of this name is {shown_path(same[0])}",
                "correct the folder, or say how the path is made, --option 'image_path={column}/{column}'",
            )  # fmt: skip
        other = self._by_end(cell, any_ending=True)
        if other is not None and other.paths:
            return Search(
                (), f"{nothing}, which holds {shown_path(other.paths[0])}",
                "say --option any_ending=true when they are the same pictures",
            )  # fmt: skip
        return Search((), nothing, "fetch it or say which folder holds the images, --option image_root=FOLDER")

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        """Files below the root by name."""
        names: dict[str, list[str]] = {}
        for path in _walk(self.root):
            names.setdefault(_key(path.rpartition("/")[2]), []).append(path)
        return names

    @cached_property
    def _bare(self) -> dict[str, list[str]]:
        """Image files below the root by name without ending."""
        names: dict[str, list[str]] = {}
        for name, paths in self._names.items():
            stem = without_ending(name, self.endings)
            if stem != name:
                names.setdefault(stem, []).extend(paths)
        return names


def _walk(root: Path) -> list[str]:
    """All files below a folder, sorted, links to folders followed once; hidden ones are passed over."""
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        here = os.stat(folder)  # noqa: PTH116 - a Path per folder is slow
        if (here.st_dev, here.st_ino) in seen:
            folders[:] = []
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(folder, root).replace(os.sep, "/")
        found += [name if below == "." else f"{below}/{name}" for name in sorted(files) if not name.startswith(".")]
    return found


def _key(name: str) -> str:
    """A name as file systems that ignore case and the form of accents compare it."""
    return unicodedata.normalize("NFC", name).casefold()


def _parts(path: str) -> list[str]:
    return [_key(part) for part in path.split("/") if part not in ("", ".")]


def _common_end(one: list[str], other: list[str]) -> int:
    """Number of parts at their ends that are equal."""
    count = 0
    for mine, yours in zip(reversed(one), reversed(other), strict=False):
        if mine != yours:
            break
        count += 1
    return count


def shown_path(path: str) -> str:
    """A path for a message; words that are none, which may be a report's, are not shown."""
    if len(path.split()) > 3 and without_ending(path, PICTURES) == path:
        return f"of {len(path.split())} words"
    return repr(path if len(path) <= 120 else "…" + path[-119:])
