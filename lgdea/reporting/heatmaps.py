"""Heat maps on disk: overlay, raw map and boxes of each (image, phrase), one image in memory at a time.

A folder holds ``overlays/KEY.png`` (source pixels, legend at the right), ``maps/KEY.npy`` ((H, W) float32, source
pixels, NaN outside the crop), ``boxes/KEY.json`` and, when all is done, ``boxes.json`` with all entries.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from lgdea import runs
from lgdea.config import Config
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.encoders.occlusion_maps import occlusion_maps
from lgdea.evaluation.encoders.protocol import ImageEncoder, Pixels, as_evaluable, model_name
from lgdea.evaluation.encoders.registry import local_folder
from lgdea.evaluation.images import ImageSource
from lgdea.evaluation.tasks import common
from lgdea.imaging.boxes import LEVEL, boxes_of_map
from lgdea.progress import track
from lgdea.reading import read_json
from lgdea.records.schema import check_split
from lgdea.reporting.overlays import overlay, to_png, with_legend
from lgdea.reporting.palette import BOX, FOUND_BOX

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive

Entry = dict[str, Any]
Edges = tuple[float, float, float, float]
Truth = Mapping[tuple[str, str], list[Edges]]


class HeatMapConfig(Config):
    """Settings of the boxes of maps, and of the files."""

    level: float = Field(LEVEL, ge=0, le=1)
    """Warmth of a box's region: 0 above the map's mean, 1 its peak."""
    min_area: float = Field(0.001, ge=0, le=1)
    """Smaller regions get no box; share of what the model saw."""
    maps: bool = True
    """If true, the maps are written as arrays."""
    overlays: bool = True
    """If true, pictures of image, map and boxes are written."""
    occlusion: bool = False
    """If true, the maps also tell what hiding each place takes from the phrase's score
    (:func:`~lgdea.evaluation.encoders.occlusion_maps.occlusion_maps`)."""


def draw_heat_map(
    pixels: Pixels,
    heat: np.ndarray,
    phrase: str,
    *,
    found: Sequence[Edges] = (),
    boxes: Sequence[Edges] = (),
    legend: bool = True,
    max_side: int | None = None,
) -> Image.Image:
    """Lay a heat map and its boxes over the image, with a legend at the right.

    Args:
        pixels: (H, W) in [0, 1], the source image.
        heat: (H, W) in source pixels, NaN where the model saw nothing.
        phrase: What the map is of.
        found: Boxes made of the map, half-open source pixels.
        boxes: True boxes, likewise.
        legend: If true, the phrase, the scale and the kinds of boxes stand beside the image.
        max_side: Longer side of the image in the picture, pixels; that of the source by default.

    Returns:
        RGB picture.
    """
    picture = overlay(pixels, heat=heat, boxes=boxes, found=found, max_side=max_side or max(heat.shape))
    if not legend:
        return picture
    keys = [(FOUND_BOX, "box of the map")] + ([(BOX, "true box")] if boxes else [])
    return with_legend(picture, heat, phrase, keys=keys)


def maps_of_image(
    model: ImageEncoder | LgdeaModel,
    image: str | Path,
    phrases: Sequence[str],
    out: str | Path,
    config: HeatMapConfig,
    *,
    model_folder: str | Path | None = None,
) -> list[Entry]:
    """Heat maps of some phrases in one image file.

    Args:
        model: The model.
        image: PNG, JPEG or DICOM file; its name without ending stands for its id.
        phrases: Texts to ground.
        out: New folder, or one that an interrupted call with the same inputs left behind.
        config: Settings of the boxes of maps, and of the files.
        model_folder: Where the model came from; hashed, so that two models' maps never mix.

    Returns:
        An entry per phrase: ``image_id, phrase, key, width, height, low, high`` (of the map) and ``boxes``, each with
        ``box`` (half-open source pixels), ``score`` and ``peak``.

    Raises:
        UsageError: A phrase is empty, or ``out`` holds something else.
        DataError: The image cannot be read.
    """
    from lgdea.imaging.read import read_image

    image, wanted = Path(image), {Path(image).stem: _distinct(phrases)}
    read = read_image(image)
    pixels = read.pixels
    for note in read.info.get("notes", []):
        _log.warning("%s: %s", image, note)
    inputs = {"image": image, **_model_input(model_folder)}
    return _write(
        model, iter([([image.stem], [pixels])]), wanted, {}, Path(out), config, inputs, {"phrases": list(phrases)}, []
    )


def maps_of_archive(
    model: ImageEncoder | LgdeaModel,
    archive: Archive,
    out: str | Path,
    config: HeatMapConfig,
    *,
    split: str = "test",
    phrases: Sequence[str] = (),
    of: Literal["boxes", "labels"] = "boxes",
    labeller: str | None = None,
    model_folder: str | Path | None = None,
) -> list[Entry]:
    """One heat map per (image, phrase) of a split.

    Arguments, result and errors as for :func:`maps_of_image`, and:

    Args:
        archive: Has the images; true boxes of the same phrase are drawn too.
        split: Part of it.
        phrases: Looked for in every image; without any each image has its own.
        of: Whose: those of its ``boxes``, or the canonical ones of the findings that its ``labels`` call present.
        labeller: Whose labels, where there are several.

    Raises:
        DataError: The split has no box (no positive label), or none of its images can be read.
    """
    truth: dict[tuple[str, str], list[Any]] = {}
    check_split(split)
    boxes = _boxes_or_none(archive, split) if phrases or of == "labels" else common.phrase_boxes(archive, split)
    if boxes is not None:
        for (image_id, phrase), rows in boxes.groupby(["image_id", "phrase"], sort=False):
            truth[str(image_id), str(phrase)] = [tuple(edges) for edges in rows[common.BOX_EDGES].to_numpy(float)]
    if phrases:
        wanted = dict.fromkeys(common.images_of(archive, split)["image_id"], _distinct(phrases))
    elif of == "boxes":
        wanted = _group(truth)
    else:
        wanted = _group(_positive_labels(archive, split, labeller))
    source = ImageSource(archive)
    settings = {"split": split, "phrases": list(phrases), "of": of, "labeller": labeller}
    inputs = {"archive": archive.folder, **_model_input(model_folder)}
    done = {key.stem for key in (Path(out) / "boxes").glob("*.json")}
    left = [image for image, asked in wanted.items() if any(_key(image, phrase) not in done for phrase in asked)]
    batches = track(source.batches(left, 1), "drawing heat maps", len(left))
    return _write(model, batches, wanted, truth, Path(out), config, inputs, settings, source.skipped)


def _write(
    model: ImageEncoder | LgdeaModel,
    batches: Iterable[tuple[list[str], list[Pixels]]],
    wanted: Mapping[str, Sequence[str]],
    truth: Truth,
    out: Path,
    config: HeatMapConfig,
    inputs: Mapping[str, Path],
    settings: Mapping[str, Any],
    skipped: list[dict[str, str]],
) -> list[Entry]:
    name, evaluable = model_name(model), as_evaluable(model)
    heat_maps = partial(occlusion_maps, evaluable) if config.occlusion else evaluable.heat_maps
    runs.start(out, stage="heatmap", config={"model": name, **config.model_dump(), **settings}, inputs=inputs)
    if not runs.is_finished(out):
        for (image_id,), (pixels,) in batches:
            phrases = [p for p in wanted[image_id] if not (out / "boxes" / f"{_key(image_id, p)}.json").exists()]
            for phrase, heat in zip(phrases, heat_maps(pixels, phrases) if phrases else [], strict=True):
                _write_one(image_id, phrase, pixels, np.asarray(heat, np.float32), truth, out, config)
        entries = list(_entries(wanted, out))
        if not entries:
            reason = f" ({skipped[0]['id']}: {skipped[0]['reason']})" if skipped else ""
            raise DataError(
                f"none of the images can be read{reason}", file=out, remedy="check the archive's image_root"
            )
        if skipped:
            message = "%d images cannot be read and have no heat map, such as %s: %s"
            _log.warning(message, len(skipped), skipped[0]["id"], skipped[0]["reason"])
        runs.write_json(out / "boxes.json", entries)
        drawn = [str(file.relative_to(out)) for kind in ("maps/*.npy", "boxes/*.json") for file in out.glob(kind)]
        runs.finish(out, ["boxes.json", *drawn], maps=len(entries), skipped=skipped)
    content: list[Entry] = read_json(runs.check_output(out / "boxes.json"))
    return content


def _write_one(
    image_id: str, phrase: str, pixels: Pixels, heat: np.ndarray, truth: Truth, out: Path, config: HeatMapConfig
) -> None:
    if heat.shape != pixels.shape:
        raise DataError(f"the model gave a map of shape {heat.shape} for an image of shape {pixels.shape}")
    key, height, width = _key(image_id, phrase), *heat.shape
    found = boxes_of_map(heat, level=config.level, min_area=config.min_area)
    real = truth.get((image_id, phrase), [])
    if config.maps:
        with runs.atomic(out / "maps" / f"{key}.npy") as temporary, temporary.open("wb") as stream:
            np.save(stream, heat)
    if config.overlays:
        picture = draw_heat_map(pixels, heat, phrase, found=[b.box for b in found], boxes=real)
        with runs.atomic(out / "overlays" / f"{key}.png") as temporary:
            temporary.write_bytes(to_png(picture))
    seen = heat[np.isfinite(heat)]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (None, None)
    head = {"image_id": image_id, "phrase": phrase, "key": key, "width": width, "height": height}
    # Last: its presence says that this (image, phrase) is done.
    entry = head | {"low": low, "high": high, "boxes": [b.to_dict() for b in found]}
    runs.write_json(out / "boxes" / f"{key}.json", entry)


def _entries(wanted: Mapping[str, Sequence[str]], out: Path) -> Iterator[Entry]:
    for image_id, phrases in wanted.items():
        for phrase in phrases:
            file = out / "boxes" / f"{_key(image_id, phrase)}.json"
            if file.exists():  # an image that cannot be read has none
                yield read_json(file)


def _key(image_id: str, phrase: str) -> str:
    """A file name that people can read and no two pairs share."""
    words = [re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("._")[-40:] for text in (image_id, phrase)]
    digest = hashlib.sha256("\n".join((image_id, phrase)).encode()).hexdigest()
    return "--".join([*words, digest[:8]])


def _model_input(model: str | Path | None) -> dict[str, Path]:
    """The folder behind a model's name, whose hash tells two models apart; nothing for a name of a hub."""
    folder = None if model is None else local_folder(str(model))
    return {} if folder is None else {"model": folder}


def _distinct(phrases: Sequence[str]) -> list[str]:
    if not all(phrase.strip() for phrase in phrases):
        raise UsageError("a phrase is empty", remedy="quote phrases of several words")
    return list(dict.fromkeys(phrases))


def _group(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for image_id, phrase in pairs:
        grouped.setdefault(image_id, []).append(phrase)
    return grouped


def _boxes_or_none(archive: Archive, split: str) -> pd.DataFrame | None:
    try:
        return common.phrase_boxes(archive, split)
    except DataError:
        return None


def _positive_labels(archive: Archive, split: str, labeller: str | None) -> list[tuple[str, str]]:
    """(image, canonical phrase) of every finding called present; a label of the study holds for each of its images."""
    from lgdea.vocabulary.phrases import canonical_phrase

    images = common.images_of(archive, split)[["image_id", "study_id"]]
    labels = common.labels_of(archive, labeller)
    labels = labels[(labels["value"] == 1) & (labels["finding"] != "no_finding")]
    own = labels[labels["image_id"].notna() & labels["image_id"].isin(images["image_id"])]
    shared = labels[labels["image_id"].isna()].drop(columns="image_id").merge(images, on="study_id")
    pairs = [
        (str(image_id), canonical_phrase(finding))
        for table in (own, shared)
        for image_id, finding in zip(table["image_id"], table["finding"], strict=True)
    ]
    if not pairs:
        raise DataError(
            f"the {split} split has no positive label", file=archive.folder, remedy="choose another split or labeller"
        )
    return list(dict.fromkeys(pairs))
