"""Heat maps of phrases: a picture in one call, or the files of a whole archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lgdea.api.evaluation import resolve_model
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.encoders.occlusion_maps import occlusion_maps
from lgdea.evaluation.encoders.protocol import as_evaluable
from lgdea.imaging.boxes import LEVEL, boxes_of_map
from lgdea.reporting.heatmaps import HeatMapConfig, draw_heat_map, maps_of_archive, maps_of_image

if TYPE_CHECKING:
    from PIL import Image

    from lgdea.api.evaluation import Model
    from lgdea.models.inference import ImageInput
    from lgdea.records.archive import Archive

BoxEdges = tuple[float, float, float, float]


def show_heat_map(
    model: Model,
    image: ImageInput,
    phrase: str,
    *,
    boxes: Sequence[BoxEdges] = (),
    level: float = LEVEL,
    min_area: float = 0.001,
    legend: bool = True,
    max_side: int | None = None,
    occlusion: bool = False,
    device: str | None = None,
) -> Image.Image:
    """Draw the heat map of a phrase over an image, with the boxes that the map gives.

    A notebook shows the returned picture by itself; elsewhere ``.save("map.png")`` or ``.show()``. The map itself is
    ``model.heat_map(image, phrase)``, unless ``occlusion`` is set.

    Args:
        model: As :func:`lgdea.evaluate` takes it, with a text side.
        image: PNG, JPEG or DICOM file, PIL image, or array (H, W) or (H, W, 3).
        phrase: Text to ground.
        boxes: True boxes to draw too, each ``(x_min, y_min, x_max, y_max)``, half-open source pixels.
        level: Warmth of the map's boxes: 0 above the map's mean, 1 its peak.
        min_area: Least share of the image for such a box.
        legend: If true, the phrase, the scale of the colours and the kinds of boxes stand beside the image.
        max_side: Longer side of the image in the picture, pixels; that of the source by default.
        occlusion: If true, the map also tells what hiding each place takes from the phrase's score, 65 times slower;
            docs/metrics.md says where that points better.
        device: Where to put a model given by name; a GPU when there is one.

    Returns:
        RGB picture.

    Raises:
        UsageError: The model has no heat maps, or the phrase is empty.
        ImageError: The image cannot be read.

    Example:
        >>> image = archive.image_path(archive.images["image_id"].iloc[0])
        >>> picture = lgdea.show_heat_map(model, image, "left pleural effusion")
        >>> picture.mode, picture.height >= 64
        ('RGB', True)
    """
    from lgdea.evidence.rules.lexicon import warn_of_misspelt
    from lgdea.models.inference import to_pixels

    if not phrase.strip():
        raise UsageError("the phrase is empty", remedy="name a finding, for example 'left pleural effusion'")
    warn_of_misspelt([phrase])
    pixels = to_pixels(image)
    evaluable = as_evaluable(resolve_model(model, device))
    (heat,) = occlusion_maps(evaluable, pixels, [phrase]) if occlusion else evaluable.heat_maps(pixels, [phrase])
    if heat.shape != pixels.shape:
        raise DataError(f"the model gave a map of shape {heat.shape} for an image of shape {pixels.shape}")
    found = [b.box for b in boxes_of_map(heat, level=level, min_area=min_area)]
    return draw_heat_map(pixels, heat, phrase, found=found, boxes=boxes, legend=legend, max_side=max_side)


def write_heat_maps(
    model: Model,
    source: Archive | str | Path,
    phrases: Sequence[str] = (),
    *,
    out: str | Path,
    split: str = "test",
    of: Literal["boxes", "labels"] = "boxes",
    labeller: str | None = None,
    level: float = LEVEL,
    min_area: float = 0.001,
    maps: bool = True,
    overlays: bool = True,
    occlusion: bool = False,
    device: str | None = None,
) -> list[dict[str, Any]]:
    """Write the heat maps of an image or of an archive's split: pictures, raw maps and boxes.

    Args:
        model: As :func:`lgdea.evaluate` takes it, with a text side.
        source: An image file, an archive, or its folder.
        phrases: Texts to ground in every image; without any each image of an archive has its own.
        out: Folder for ``overlays/*.png``, ``maps/*.npy`` and ``boxes.json``; an unfinished one is resumed.
        split: Part of the archive: ``train``, ``val``, ``test`` or ``all``.
        of: Origin of an image's own phrases: the archive's boxes, or its positive labels.
        labeller: Name of the labeller of these labels, where there are several.
        level: Warmth of the map's boxes: 0 above the map's mean, 1 its peak.
        min_area: Least share of the image for such a box.
        maps: If true, the raw maps are written, 4 bytes per source pixel.
        overlays: If true, the pictures are written.
        occlusion: As in :func:`show_heat_map`.
        device: Where to put a model given by name; a GPU when there is one.

    Returns:
        An entry per (image, phrase): ``image_id``, ``phrase``, ``key`` (the files' name), ``width``, ``height``,
        ``low`` and ``high`` of the map, and ``boxes``, each with ``box``, ``score`` and ``peak``.

    Raises:
        UsageError: There is nothing to ground, or ``out`` holds something else.
        DataError: The split has no box (no positive label), or an image cannot be read.

    Example:
        >>> entries = lgdea.write_heat_maps(model, archive, ["cardiomegaly"], out=folder / "maps", maps=False)
        >>> sorted(entries[0])
        ['boxes', 'height', 'high', 'image_id', 'key', 'low', 'phrase', 'width']
    """
    from lgdea.evidence.rules.lexicon import warn_of_misspelt

    warn_of_misspelt(phrases)
    config = HeatMapConfig(level=level, min_area=min_area, maps=maps, overlays=overlays, occlusion=occlusion)
    name = model if isinstance(model, str | Path) else None
    archive = _as_archive(source)
    if archive is not None:
        options: dict[str, Any] = {"split": split, "phrases": phrases, "of": of, "labeller": labeller}
        return maps_of_archive(resolve_model(model, device), archive, out, config, **options, model_folder=name)
    if not phrases:
        raise UsageError("nothing to draw", remedy="give an image and phrases, or an archive")
    return maps_of_image(resolve_model(model, device), Path(str(source)), phrases, out, config, model_folder=name)


def _as_archive(source: Archive | str | Path) -> Archive | None:
    """The archive, or None when ``source`` is an image file."""
    from lgdea.records.archive import Archive

    if isinstance(source, Archive):
        return source
    return Archive.open(source) if Path(source).is_dir() else None
