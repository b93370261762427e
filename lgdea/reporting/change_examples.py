"""Pairs of studies for the page: prior and current, and where each model looked for a finding in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lgdea.errors import LgdeaError
from lgdea.reporting.overlays import data_uri, heat_layer, photo

if TYPE_CHECKING:
    from lgdea.comparison.change.model import ChangeModel
    from lgdea.records.archive import Archive


@dataclass(frozen=True)
class ChangePanel:
    """One image of a pair: its photograph, its size, and the layer of each model's map."""

    caption: str
    picture: str
    width: int
    height: int
    layers: tuple[tuple[str, str], ...]
    """Label of a model and its transparent layer."""


@dataclass(frozen=True)
class ChangeExample:
    """Prior and current."""

    panels: tuple[ChangePanel, ChangePanel]


def change_examples(
    archive: Archive, wanted: Sequence[tuple[str, str, str]], readers: Mapping[str, ChangeModel]
) -> dict[tuple[str, str, str], ChangeExample]:
    """The given pairs, as far as both images can be read and models know the finding; nothing without a model.

    Args:
        archive: Has the images.
        wanted: Prior image, current image, and the finding in words.
        readers: Label to a model with a change head.
    """
    from lgdea.comparison.change.read import read_pair

    found = {}
    for prior, current, finding in wanted if readers else ():
        try:
            images = [archive.read_image(image).pixels for image in (prior, current)]
            read = {label: read_pair(model, images[0], images[1], [finding])[0] for label, model in readers.items()}
        except LgdeaError:
            continue
        panels = []
        for k, caption in enumerate(("prior", "current")):
            layers = tuple((label, data_uri(heat_layer(change.maps[k]))) for label, change in read.items())
            height, width = images[k].shape
            panels.append(ChangePanel(caption, data_uri(photo(images[k])), width, height, layers))
        found[prior, current, finding] = ChangeExample((panels[0], panels[1]))
    return found
