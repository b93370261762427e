"""The image files that the rows name: found, measured, each taken once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lgdea.errors import ImageError, UsageError
from lgdea.imaging.depth import sample_depths
from lgdea.imaging.read import read_size
from lgdea.progress import track
from lgdea.records.adapters.table.fields import Cells
from lgdea.records.adapters.table.finder import (
    ENDINGS,
    Finder,
    Search,
    shown_path,
    slashes,
    split_list,
    split_paths,
    without_ending,
)
from lgdea.records.adapters.table.mapping import TableMapping
from lgdea.records.adapters.table.problems import RowProblems

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
    tally = Counter(cell.rpartition("/")[2] for cell in first["cell"])
    shared = {name for name, count in tally.items() if count > 1}
    finder = Finder(root, endings, any_ending=mapping.any_ending, shared=shared)
    searches = [finder.find(cell) for cell in first["cell"]]
    counts.missing = _note_missing(first, searches, cells, problems)
    images = first.assign(path=pd.Series([list(search.paths) for search in searches], index=first.index)).explode(
        "path"
    )
    images = images[images["path"].notna()].astype({"path": "str"}).reset_index(drop=True)
    again = images[images["path"].duplicated()]
    problems.add(
        "image-named-twice",
        cells.file,
        again["row"],
        f"the image {shown_path(again['path'].iloc[0])} was named in another way in an earlier row"
        if len(again)
        else "",
        consequence="the image stays where it was named first",
        remedy="write its path in one way",
    )
    images = images.drop(again.index)
    counts.named, counts.found_by_name = len(named), finder.by_name
    counts.examples = images["path"].head(3).tolist()
    return images.assign(image_id=_make_ids(images, cells, mapping, endings)), counts


def _note_missing(first: pd.DataFrame, searches: list[Search], cells: Cells, problems: RowProblems) -> int:
    """Note the cells that name no file, by reason; how many they are."""
    lost = [(row, search) for row, search in zip(first["row"], searches, strict=True) if not search.paths]
    for remedy in dict.fromkeys(search.remedy for _, search in lost):
        here = [(row, search) for row, search in lost if search.remedy == remedy]
        problems.add(
            "missing-image",
            cells.file,
            [row for row, _ in here],
            here[0][1].reason,
            consequence="the image is left out",
            remedy=remedy,
        )
    return len(lost)


def _drop_repeated(named: pd.DataFrame, cells: Cells, problems: RowProblems) -> tuple[pd.DataFrame, int]:
    """Each image at its first mention, and how many later rows of the same study repeat it."""
    first = named.drop_duplicates("cell")
    study = first.set_index("cell")["study_id"].loc[named["cell"]].to_numpy()
    other = named[named["study_id"].to_numpy() != study]
    problems.add(
        "image-in-two-studies",
        cells.file,
        other["row"],
        f"the image {shown_path(other['cell'].iloc[0])} belongs to another study in an earlier row"
        if len(other)
        else "",
        consequence="the image stays with its first study",
        remedy="give each study its own images, or say how their paths are made, "
        "--option 'image_path={column of the folder}/{column of the file}'",
    )
    return first, len(named) - len(first) - len(other)


def _list_named(cells: Cells, mapping: TableMapping, rows: pd.DataFrame) -> pd.DataFrame:
    """One row per image that a cell names: row, study_id, cell, view, modality."""
    parts = []
    for place, (column, fixed) in enumerate(mapping.image_columns().items()):
        part = pd.DataFrame({"row": rows.index, "study_id": rows["study_id"].to_numpy(), "place": place})
        path = cells.plain(column, "image").loc[rows.index]
        codes, unique = pd.factorize(path)
        lists = [[slashes(item) for item in split_paths(cell)] if cell else [] for cell in unique.tolist()]
        part["cell"] = [lists[code] for code in codes]
        constant = mapping.constants.get("view") if fixed is None else fixed
        part["view"] = _first_filled(cells, [] if fixed else mapping.view_columns(), "view", rows, constant)
        modality = [mapping.modality] if mapping.modality else []
        part["modality"] = _first_filled(cells, modality, "modality", rows, mapping.constants.get("modality", "CR"))
        parts.append(_one_row_each(part) if any(len(items) > 1 for items in lists) else part.explode("cell"))
    if not parts:
        return pd.DataFrame(columns=["row", "study_id", "place", "cell", "view", "modality"])
    named = pd.concat(parts)
    named = named[named["cell"].notna()].astype({"cell": "str"})
    return named.sort_values(["row", "place"], kind="stable").reset_index(drop=True)


def _one_row_each(part: pd.DataFrame) -> pd.DataFrame:
    """Cells of several images, whose views are a list of as many words when they are one."""
    views = [
        words if isinstance(view, str) and len(words := _words(view)) == len(items) else [view] * len(items)
        for view, items in zip(part["view"], part["cell"], strict=True)
    ]
    some = part["cell"].map(len) > 0
    return part.assign(view=pd.Series(views, index=part.index))[some].explode(["cell", "view"])


def _words(cell: str) -> list[str]:
    return split_list(cell) or [word.strip() for word in re.split(r"[|;,]", cell) if word.strip()]


def _first_filled(cells: Cells, columns: list[str], name: str, rows: pd.DataFrame, constant: str | None) -> Any:
    """The first of the columns that says something in a row, the constant where none does."""
    values: Any = constant
    for column in reversed(columns):
        here = cells.plain(column, name).loc[rows.index]
        values = here.where(here != "", values)
    return values.to_numpy() if columns else values


def _add_sizes(images: pd.DataFrame, root: Path, file: Path, problems: RowProblems) -> tuple[pd.DataFrame, int]:
    """Add ``width`` and ``height`` from the files' headers; also how many could not be read."""
    if images.empty:
        return images.reindex(columns=COLUMNS), 0
    sizes = _read_sizes(root, images["path"].tolist())
    wrong = [(row, size) for row, size in zip(images["row"], sizes, strict=True) if isinstance(size, ImageError)]
    reasons: dict[tuple[str, str | None], list[tuple[int, ImageError]]] = {}
    for row, error in wrong:
        reasons.setdefault((re.sub(r"\d+", "N", error.problem), error.remedy), []).append((row, error))
    for here in reasons.values():
        first = here[0][1]
        problems.add(
            "unreadable-image",
            file,
            [row for row, _ in here],
            f"the image {first.file}: {first.problem}",
            consequence="the image is left out",
            remedy=first.remedy or "fetch it again",
        )
    good = [size for size in sizes if not isinstance(size, ImageError)]
    images = images[[not isinstance(size, ImageError) for size in sizes]] if wrong else images
    return images.assign(width=[w for w, _ in good], height=[h for _, h in good]), len(wrong)


def _read_sizes(root: Path, paths: Sequence[str]) -> list[tuple[int, int] | ImageError]:
    def size(path: str) -> tuple[int, int] | ImageError:
        try:
            return read_size(root / path)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(size, paths)
        return list(track(found, "reading the headers of images", len(paths)))


def _make_ids(images: pd.DataFrame, cells: Cells, mapping: TableMapping, endings: tuple[str, ...]) -> pd.Series:
    """Make ids of the id column, the file name without its ending or the path, whatever is unique first."""
    if images.empty:
        return pd.Series(dtype="str")
    candidates = []
    if mapping.image_id and len(mapping.image_columns()) == 1:
        candidates.append(cells.plain(mapping.image_id, "image_id").loc[images["row"]].set_axis(images.index))
    whole = pd.Series([without_ending(path, endings) for path in images["path"]], index=images.index, dtype="str")
    candidates += [whole.str.replace(r"^.*/", "", regex=True), whole, images["path"]]
    chosen = next((c for c in candidates if c.is_unique and (c != "").all()), candidates[-1])
    return f"{mapping.dataset}:" + chosen
