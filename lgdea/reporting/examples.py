"""Examples for the page: reports with their evidence, images with the heat maps of every model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from markupsafe import Markup

from lgdea.errors import LgdeaError
from lgdea.progress import track
from lgdea.reporting.highlight import HighlightSpan, highlight
from lgdea.reporting.overlays import data_uri, heat_layer, photo

if TYPE_CHECKING:
    from lgdea.records.archive import Archive


class HeatMapper(Protocol):
    """Protocol of a model that draws heat maps."""

    def heat_map(self, image: np.ndarray, phrase: str) -> np.ndarray:
        """Map of ``phrase`` in source pixels (H, W), NaN where the model saw nothing; the image is (H, W) in [0, 1]."""
        ...


@dataclass(frozen=True)
class UnitLine:
    """One unit of evidence in words, for the table below a report."""

    finding: str
    assertion: str
    where: str
    details: str
    quote: str


@dataclass(frozen=True)
class ReportExample:
    """A report with its evidence marked."""

    report_id: str
    html: Markup
    units: tuple[UnitLine, ...]


@dataclass(frozen=True)
class HeatPanel:
    """The heat map of one model: a layer, its highest point and whether that lies in a true box."""

    label: str
    layer: str
    peak: tuple[float, float]
    """(x, y) in source pixels."""
    hit: bool


@dataclass(frozen=True)
class ImageExample:
    """An image, a phrase, its true boxes and one panel per model."""

    image_id: str
    picture: str
    width: int
    height: int
    phrase: str
    boxes: tuple[tuple[float, float, float, float], ...]
    panels: tuple[HeatPanel, ...]


def choose_reports(archive: Archive, units: pd.DataFrame, *, count: int, seed: int) -> list[ReportExample]:
    """Draw ``count`` reports at random from those with two units or more; no two have the same text.

    The test part goes first, so that the page shows what no model was trained on.
    """
    per_report = units.groupby("report_id").size()
    rich = archive.reports[archive.reports["report_id"].isin(per_report[per_report >= 2].index)]
    chosen = _shuffle_test_first(rich, archive, seed).drop_duplicates("text").head(count)
    by_report = dict(tuple(units.groupby("report_id")))
    return [_report(str(row.report_id), str(row.text), by_report[row.report_id]) for row in _rows(chosen)]


def choose_images(archive: Archive, models: Mapping[str, HeatMapper], *, count: int, seed: int) -> list[ImageExample]:
    """Draw ``count`` (image, phrase) pairs with true boxes at random, test part first, as many findings as possible.

    An image that cannot be read gives its place to the next one.
    """
    boxes = _phrased_boxes(archive)
    if not len(boxes):
        return []
    images = archive.images[archive.images["image_id"].isin(boxes["image_id"])]
    order = {image: i for i, image in enumerate(_shuffle_test_first(images, archive, seed)["image_id"])}
    pairs = boxes.drop_duplicates(["image_id", "shown_phrase"])
    pairs = pairs.assign(order=pairs["image_id"].map(order)).dropna(subset="order").sort_values("order", kind="stable")
    # The n-th pair of a finding waits until every finding has had its n-1 pairs; the same for images.
    pairs = pairs.assign(turn=pairs.groupby("finding").cumcount(), again=pairs.groupby("image_id").cumcount())
    pairs = pairs.sort_values(["turn", "again", "order"], kind="stable")
    drawn = (_readable(archive, boxes, str(pair.image_id), str(pair.shown_phrase), models) for pair in _rows(pairs))
    found = (example for example in drawn if example is not None)
    return list(track(islice(found, count), "drawing heat maps", min(count, len(pairs))))


def image_examples(
    archive: Archive, pairs: Sequence[tuple[str, str]], models: Mapping[str, HeatMapper]
) -> dict[tuple[str, str], ImageExample]:
    """The given (image id, phrase) pairs, as far as the archive has boxes for them and the image can be read."""
    boxes = _phrased_boxes(archive)
    known = set(zip(boxes["image_id"], boxes["shown_phrase"], strict=True)) if len(boxes) else set()
    examples = {}
    for image_id, phrase in track(pairs, "drawing the worst cases", len(pairs)):
        if (image_id, phrase) in known and (example := _readable(archive, boxes, image_id, phrase, models)):
            examples[image_id, phrase] = example
    return examples


def _readable(
    archive: Archive, boxes: pd.DataFrame, image_id: str, phrase: str, models: Mapping[str, HeatMapper]
) -> ImageExample | None:
    """The example, or None where the image cannot be read."""
    try:
        return _image(archive, boxes, image_id, phrase, models)
    except LgdeaError:
        return None


def _phrased_boxes(archive: Archive) -> pd.DataFrame:
    boxes = archive.boxes[archive.boxes["kind"] == "finding"]
    return boxes.assign(shown_phrase=[phrase_of(row) for row in _rows(boxes)])


def phrase_of(box: Any) -> str:
    """The text to ground for a row of the boxes table: its own phrase, else the canonical one of its finding,
    as in the grounding task."""
    if isinstance(box.phrase, str) and box.phrase:
        return str(box.phrase)
    from lgdea.vocabulary.phrases import canonical_phrase

    return canonical_phrase(box.finding)


def spans_of(units: pd.DataFrame) -> list[HighlightSpan]:
    """The located units of one report as spans; a unit without a place in the text has none."""
    return [
        HighlightSpan(int(u.start), int(u.end), str(u.assertion), _tip(u), str(u.finding).replace("_", " "))
        for u in _rows(units)
        if u.alignment != "none" and u.end > u.start
    ]


def _report(report_id: str, text: str, units: pd.DataFrame) -> ReportExample:
    units = units.sort_values(["start", "end"], kind="stable")
    lines = tuple(
        UnitLine(_words(u.finding), str(u.assertion), _where(u), _details(u), str(u.quote)) for u in _rows(units)
    )
    return ReportExample(report_id, highlight(text, spans_of(units)), lines)


def _image(
    archive: Archive, boxes: pd.DataFrame, image_id: str, phrase: str, models: Mapping[str, HeatMapper]
) -> ImageExample:
    same = boxes[(boxes["image_id"] == image_id) & (boxes["shown_phrase"] == phrase)]
    edges = same[["x_min", "y_min", "x_max", "y_max"]].to_numpy(float)
    frames = tuple((float(b[0]), float(b[1]), float(b[2]), float(b[3])) for b in edges)
    pixels = archive.read_image(image_id).pixels
    panels = [_panel(label, model.heat_map(pixels, phrase), frames) for label, model in models.items()]
    height, width = pixels.shape
    return ImageExample(image_id, data_uri(photo(pixels)), width, height, phrase, frames, tuple(panels))


def _panel(label: str, heat: np.ndarray, boxes: Sequence[tuple[float, float, float, float]]) -> HeatPanel:
    seen = np.where(np.isfinite(heat), heat, -np.inf)
    y, x = (int(i) for i in np.unravel_index(int(seen.argmax()), seen.shape))
    hit = bool(np.isfinite(heat).any()) and any(b[0] <= x < b[2] and b[1] <= y < b[3] for b in boxes)
    return HeatPanel(label, data_uri(heat_layer(heat)), (x + 0.5, y + 0.5), hit)


def _shuffle_test_first(table: pd.DataFrame, archive: Archive, seed: int) -> pd.DataFrame:
    split = table["study_id"].map(archive.studies.set_index("study_id")["split"])
    shuffled = np.random.default_rng(seed).permutation(len(table))
    mixed = table.assign(not_test=(split != "test").to_numpy()).iloc[shuffled]
    return mixed.sort_values("not_test", kind="stable").drop(columns="not_test")


def _rows(table: pd.DataFrame) -> Iterator[Any]:
    return iter(table.itertuples(index=False))


def _tip(unit: Any) -> str:
    parts = [f"{_words(unit.finding)}: {unit.assertion}", _where(unit), _details(unit)]
    return " · ".join(p for p in parts if p)


def _where(unit: Any) -> str:
    side = "" if unit.laterality == "unspecified" else str(unit.laterality)
    place = _words(unit.anatomy) if isinstance(unit.anatomy, str) and unit.anatomy else ""
    named = side in place.split()  # "right upper lobe" has its side already
    return " ".join(word for word in ("" if named else side, place) if word)


def _details(unit: Any) -> str:
    words = [str(v) for v in (unit.severity, unit.change) if v != "unspecified"]
    words += ["refers to a prior study"] if unit.refers_to_prior else []
    return ", ".join(words)


def _words(identifier: object) -> str:
    return str(identifier).replace("_", " ")
