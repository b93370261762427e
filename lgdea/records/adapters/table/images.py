"""The image files that the rows name: found, measured, each taken once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import ImageError, UsageError
from lgdea.imaging.depth import sample_depths
from lgdea.imaging.read import read_size
from lgdea.records.adapters.table.fields import Cells
from lgdea.records.adapters.table.mapping import TableMapping
from lgdea.records.adapters.table.problems import RowProblems

ENDINGS = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
COLUMNS = ["image_id", "study_id", "path", "width", "height", "view", "modality", "row", "cell"]
_THREADS = 8  # header reads wait for the disk more than they compute


@dataclass
class ImageCounts:
    """Counts of the images that the rows name."""

    named: int = 0
    found: int = 0
    found_by_name: int = 0
    missing: int = 0
    unreadable: int = 0
    repeated: int = 0
    root: str = ""
    depths: dict[int, int] = field(default_factory=dict)
    """Bit depths of the 16-bit greyscale pictures among those that were looked at."""
    examples: list[str] = field(default_factory=list)


class Finder:
    """Files under a root by the path that a cell holds, or by its bare name wherever it lies below the root."""

    def __init__(self, root: Path, endings: tuple[str, ...] = ENDINGS) -> None:
        self.root = root
        self.endings = endings
        self.by_name = 0

    def find(self, cell: str) -> str | None:
        """The path relative to the root (or absolute, as the cell is), None when there is no such file."""
        if os.path.isfile(os.path.join(self.root, cell)):  # noqa: PTH113, PTH118 - a Path per image is slow
            return cell
        if "/" in cell:
            return None
        found = self._names.get(cell.lower())
        self.by_name += found is not None
        return found

    @cached_property
    def _names(self) -> dict[str, str | None]:
        """Image files below the root by name and by name without ending; None where two files share it."""
        names: dict[str, str | None] = {}
        for folder, folders, files in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                bare = without_ending(name.lower(), self.endings)
                if bare != name.lower():
                    path = Path(folder, name).relative_to(self.root).as_posix()
                    for key in (name.lower(), bare):
                        names[key] = None if key in names else path
        return names


def without_ending(name: str, endings: tuple[str, ...] = ENDINGS) -> str:
    """A file's name or path without the longest of ``endings`` that it has.

    >>> without_ending("a/b.NII.gz", (".nii", ".nii.gz"))
    'a/b'
    """
    fits = [ending for ending in endings if name.lower().endswith(ending)]
    return name[: -len(max(fits, key=len))] if fits else name


def bare_name(path: str) -> str:
    """The file's name without folders and without an ending that pictures or volumes have."""
    return without_ending(path.rpartition("/")[2], (*ENDINGS, ".nii", ".nii.gz"))


def image_table(
    cells: Cells, mapping: TableMapping, rows: pd.DataFrame, root: Path, problems: RowProblems
) -> tuple[pd.DataFrame, ImageCounts]:
    """Rows of ``Image`` with ``row`` and ``cell``, the row and path of the table; and what was found."""
    images, counts = located_images(cells, mapping, rows, root, problems)
    images, counts.unreadable = _add_sizes(images, root, cells.file, problems)
    counts.found = len(images)
    counts.depths = dict(sorted(sample_depths([root / path for path in images["path"]]).items()))
    return images, counts


def located_images(
    cells: Cells,
    mapping: TableMapping,
    rows: pd.DataFrame,
    root: Path,
    problems: RowProblems,
    *,
    endings: tuple[str, ...] = ENDINGS,
) -> tuple[pd.DataFrame, ImageCounts]:
    """The images that exist, each once, not yet measured."""
    counts = ImageCounts(root=str(root))
    named = _list_named(cells, mapping, rows)
    if named.empty:
        return pd.DataFrame(columns=COLUMNS), counts
    if not root.is_dir():
        raise UsageError("no such folder", file=root, remedy="correct image_root")
    first, counts.repeated = _drop_repeated(named, cells, problems)
    finder = Finder(root, endings)
    images = first.assign(path=pd.Series([finder.find(cell) for cell in first["cell"]], index=first.index, dtype="str"))
    missing = images[images["path"].isna()]
    problems.add(
        "missing-image",
        cells.file,
        missing["row"],
        f"no image {missing['cell'].iloc[0]!r} under {root}" if len(missing) else "",
        consequence="the image is left out",
        remedy="fetch it or say where the images are, --option image_root=FOLDER",
    )
    images = images[images["path"].notna()]
    again = images[images["path"].duplicated()]
    problems.add(
        "image-named-twice",
        cells.file,
        again["row"],
        f"the image {again['path'].iloc[0]!r} was named in another way in an earlier row" if len(again) else "",
        consequence="the image stays where it was named first",
        remedy="write its path in one way",
    )
    images = images.drop(again.index)
    counts.named, counts.missing, counts.found_by_name = len(named), len(missing), finder.by_name
    counts.examples = images["path"].head(3).tolist()
    return images.assign(image_id=_make_ids(images, cells, mapping, endings)), counts


def _drop_repeated(named: pd.DataFrame, cells: Cells, problems: RowProblems) -> tuple[pd.DataFrame, int]:
    """Each image at its first mention, and how many later rows of the same study repeat it."""
    first = named.drop_duplicates("cell")
    study = first.set_index("cell")["study_id"].loc[named["cell"]].to_numpy()
    other = named[named["study_id"].to_numpy() != study]
    problems.add(
        "image-in-two-studies",
        cells.file,
        other["row"],
        f"the image {other['cell'].iloc[0]!r} belongs to another study in an earlier row" if len(other) else "",
        consequence="the image stays with its first study",
        remedy="give each study its own images",
    )
    return first, len(named) - len(first) - len(other)


def _list_named(cells: Cells, mapping: TableMapping, rows: pd.DataFrame) -> pd.DataFrame:
    """One row per cell that names an image: row, study_id, cell, view, modality."""
    parts = []
    for place, (column, fixed) in enumerate(mapping.image_columns().items()):
        part = pd.DataFrame({"row": rows.index, "study_id": rows["study_id"].to_numpy(), "place": place})
        path = cells.plain(column, "image").loc[rows.index]
        part["cell"] = path.str.replace("\\", "/", regex=False).str.removeprefix("./").to_numpy()
        view = mapping.constants.get("view") if fixed is None else fixed
        part["view"] = _fill_with(cells, mapping.view if fixed is None else None, "view", rows, view)
        part["modality"] = _fill_with(
            cells, mapping.modality, "modality", rows, mapping.constants.get("modality", "CR")
        )
        parts.append(part[part["cell"] != ""])
    if not parts:
        return pd.DataFrame(columns=["row", "study_id", "place", "cell", "view", "modality"])
    return pd.concat(parts).sort_values(["row", "place"], kind="stable").reset_index(drop=True)


def _fill_with(cells: Cells, column: str | None, name: str, rows: pd.DataFrame, constant: str | None) -> Any:
    """A column's cells, the constant where they say nothing."""
    if column is None:
        return constant
    values = cells.plain(column, name).loc[rows.index]
    return values.where(values != "", constant).to_numpy()


def _add_sizes(images: pd.DataFrame, root: Path, file: Path, problems: RowProblems) -> tuple[pd.DataFrame, int]:
    """Add ``width`` and ``height`` from the files' headers; also how many could not be read."""
    if images.empty:
        return images, 0
    sizes = _read_sizes(root, images["path"])
    wrong = images[[isinstance(size, ImageError) for size in sizes]]
    first = next((size for size in sizes if isinstance(size, ImageError)), None)
    problems.add(
        "unreadable-image",
        file,
        wrong["row"],
        f"the image {first.file}: {first.problem}" if first else "",
        consequence="the image is left out",
        remedy="fetch it again",
    )
    good = [size for size in sizes if not isinstance(size, ImageError)]
    images = images.drop(wrong.index)
    return images.assign(width=[w for w, _ in good], height=[h for _, h in good]), len(wrong)


def _read_sizes(root: Path, paths: Iterable[str]) -> list[tuple[int, int] | ImageError]:
    def size(path: str) -> tuple[int, int] | ImageError:
        try:
            return read_size(root / path)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(size, paths))


def _make_ids(images: pd.DataFrame, cells: Cells, mapping: TableMapping, endings: tuple[str, ...]) -> pd.Series:
    """Make ids of the id column, the file name without its ending or the path, whatever is unique first."""
    candidates = []
    if mapping.image_id and len(mapping.image_columns()) == 1:
        candidates.append(cells.plain(mapping.image_id, "image_id").loc[images["row"]].set_axis(images.index))
    whole = pd.Series([without_ending(path, endings) for path in images["path"]], index=images.index, dtype="str")
    candidates += [whole.str.replace(r"^.*/", "", regex=True), whole, images["path"]]
    chosen = next((c for c in candidates if c.is_unique and (c != "").all()), candidates[-1])
    return f"{mapping.dataset}:" + chosen
