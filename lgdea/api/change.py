"""Interval change in Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lgdea.errors import UsageError
from lgdea.records.archive import Archive
from lgdea.reporting.drawn import Drawn

if TYPE_CHECKING:
    from lgdea.comparison.change.model import ChangeModel
    from lgdea.comparison.change.read import ReadChange
    from lgdea.reporting.cases import CaseSheet


@dataclass(frozen=True, eq=False)
class Changes(Drawn):
    """What has become of each entity between two images of a patient; a sequence of its ``changes``."""

    changes: tuple[ReadChange, ...]
    pair: Mapping[str, Any]
    """The pair that was compared: studies, images, ``rule``, ``days`` and ``nth``, as far as they are known."""
    prior: np.ndarray
    """(H, W) in [0, 1], the earlier image."""
    current: np.ndarray
    """The later one."""

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[ReadChange]:
        return iter(self.changes)

    def __getitem__(self, position: int) -> ReadChange:
        return self.changes[position]

    @property
    def sheet(self) -> CaseSheet:
        """Both images side by side with a table of the changes, and where the model looked for the first of them."""
        from lgdea.reporting.change_sheet import change_sheet

        return change_sheet(self.changes, self.prior, self.current, self.pair)


def read_change(
    model: str | Path | ChangeModel,
    current: Any,
    prior: Any = None,
    *,
    archive: str | Path | Archive | None = None,
    entities: Sequence[str] | None = None,
    days: float | None = None,
    prefer: str = "same-view",
    device: str | None = None,
) -> Changes:
    """Tell what has become of entities since the prior study.

    Args:
        model: Model folder with a change head, or the loaded model.
        current: The later image (path, PIL image or array); with ``archive``, the id of a study.
        prior: The earlier image; with ``archive`` it is chosen by date and time.
        archive: Archive of the study, or its folder.
        entities: What is asked for, in any words; by default what one of the images probably shows.
        days: Days between two images that are given, for the sentences.
        prefer: How the prior is chosen: ``same-view`` or ``latest``.
        device: Where to put a model given by its folder; a GPU when there is one.

    Returns:
        The changes, with the pair that was compared; ``.draw()`` and ``.write()`` show them.

    Raises:
        UsageError: No prior is given, the model has no change head, or an entity means nothing.
        DataError: The study has no prior; the message says why.

    Example:
        >>> from lgdea.comparison.change.model import ChangeModel
        >>> import numpy as np
        >>> reader = ChangeModel.create(model)
        >>> images = np.ones((64, 64)), np.zeros((64, 64))
        >>> found = lgdea.read_change(reader, *images, entities=["left effusion"], days=3)
        >>> found[0].entity.finding, found[0].sentence.endswith("the study 3 days earlier.")
        ('pleural_effusion', True)
        >>> found.draw(side=96).mode
        'RGB'
    """
    from lgdea.comparison.change.pairs import prior_of
    from lgdea.comparison.change.read import read_pair
    from lgdea.models.inference import to_pixels

    pair: dict[str, Any] = {"days": days}
    if archive is not None:
        opened = archive if isinstance(archive, Archive) else Archive.open(archive)
        pair = dict(prior_of(opened, str(current), prefer=prefer))  # type: ignore[arg-type]
        prior, current = (opened.image_path(str(pair[f"image_{side}"])) for side in ("prior", "current"))
    elif prior is None:
        raise UsageError("no prior image", remedy="give one, or an archive in which the study has one")
    loaded = _load(model, device) if isinstance(model, str | Path) else model
    before, now = to_pixels(prior), to_pixels(current)
    return Changes(tuple(read_pair(loaded, before, now, entities, days=pair["days"])), pair, before, now)


def _load(model: str | Path, device: str | None) -> ChangeModel:
    import torch

    from lgdea.comparison.change.train import load_change_model

    return load_change_model(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
