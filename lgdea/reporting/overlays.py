"""Heat maps and boxes over images: transparent layers for the page, flat pictures for everything else."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lgdea.reporting.palette import BOX, FOUND_BOX, HEAT_MAP

MAX_ALPHA = 0.8


def heat_rgba(heat: np.ndarray) -> np.ndarray:
    """Colour a heat map; the weaker the evidence, the more the image below shows through.

    The map is scaled from its own lowest to its own highest finite value, because the similarities of two models
    have no common scale.

    Args:
        heat: (H, W) float; NaN where the model saw nothing (outside its crop).

    Returns:
        (H, W, 4) uint8 RGBA; NaN and a map without contrast are fully transparent.
    """
    from matplotlib import colormaps

    seen = np.isfinite(heat)
    scaled = np.zeros(heat.shape, dtype=np.float64)
    if seen.any():
        low, high = float(heat[seen].min()), float(heat[seen].max())
        if high > low:
            scaled[seen] = (heat[seen].astype(np.float64) - low) / (high - low)
    rgba = colormaps[HEAT_MAP](scaled)
    rgba[..., 3] = MAX_ALPHA * scaled**2  # squared, or the middle of the scale veils the whole image
    return np.round(rgba * 255).astype(np.uint8)


def heat_layer(heat: np.ndarray, *, max_side: int = 128) -> bytes:
    """A heat map as a transparent PNG of at most ``max_side`` pixels; the browser smooths it over the image.

    A map comes from a coarse patch grid, so a small picture loses nothing and keeps the page light.
    """
    return to_png(_fit(Image.fromarray(heat_rgba(_shrink(heat, max_side))), max_side))


def overlay(
    pixels: np.ndarray,
    *,
    heat: np.ndarray | None = None,
    boxes: Sequence[tuple[float, float, float, float]] = (),
    found: Sequence[tuple[float, float, float, float]] = (),
    max_side: int = 512,
) -> Image.Image:
    """Lay a heat map and boxes over an image.

    Args:
        pixels: (H, W) in [0, 1], the source image.
        heat: (H, W) in source pixels, or None.
        boxes: True boxes, (x_min, y_min, x_max, y_max), half-open source pixels.
        found: Boxes made of the map, likewise.
        max_side: Longer side of the picture, pixels.

    Returns:
        RGB picture.
    """
    base = Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)).convert("RGBA")
    base = _scale_to(base, max_side)
    if heat is not None:
        layer = Image.fromarray(heat_rgba(_shrink(heat, max_side)))
        base = Image.alpha_composite(base, layer.resize(base.size, Image.Resampling.BICUBIC))
    picture = base.convert("RGB")
    draw = ImageDraw.Draw(picture)
    scale_x, scale_y = picture.width / pixels.shape[1], picture.height / pixels.shape[0]
    width = max(2, round(max(picture.size) / 160))
    for (x_min, y_min, x_max, y_max), colour in [(b, FOUND_BOX) for b in found] + [(b, BOX) for b in boxes]:
        # Half-open: the last pixel inside is x_max - 1.
        frame = (x_min * scale_x, y_min * scale_y, x_max * scale_x - 1, y_max * scale_y - 1)
        outer = (frame[0] - 1, frame[1] - 1, frame[2] + 1, frame[3] + 1)
        draw.rectangle(outer, outline="black", width=width + 2)
        draw.rectangle(frame, outline=colour, width=width)
    return picture


def with_legend(
    picture: Image.Image, heat: np.ndarray, title: str, *, keys: Sequence[tuple[str, str]] = ()
) -> Image.Image:
    """Set what the colours mean beside a picture; the picture itself keeps its place and its pixels.

    Args:
        picture: Of :func:`overlay`.
        heat: (H, W) the map behind it: the bar goes from its lowest to its highest finite value.
        title: The phrase.
        keys: (colour, meaning) of the boxes.

    Returns:
        RGB picture, wider, and as high as the legend needs.
    """
    size = int(np.clip(max(picture.size) / 40, 11, 48))
    font = ImageFont.load_default(size)
    width = 12 * size
    lines = textwrap.wrap(title, 20) or [""]
    line = round(1.35 * size)
    bar_top, bar = size + (len(lines) + 1) * line, max(10 * line, picture.height // 3)
    canvas = Image.new(
        "RGB", (picture.width + width, max(picture.height, bar_top + bar + (len(keys) + 2) * line)), "white"
    )
    canvas.paste(picture, (0, 0))
    draw, left = ImageDraw.Draw(canvas), picture.width + size
    for i, text in enumerate(lines):
        draw.text((left, size + i * line), text, "black", font=font)
    # As over a mid-grey image: the weaker the evidence, the more of it shows through.
    ramp = Image.fromarray(np.repeat(heat_rgba(np.linspace(1, 0, bar)[:, None]), 2 * size, axis=1))
    canvas.paste(
        Image.alpha_composite(Image.new("RGBA", ramp.size, (96, 96, 96, 255)), ramp).convert("RGB"), (left, bar_top)
    )
    seen = heat[np.isfinite(heat)]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (float("nan"), float("nan"))
    for share, value in ((0.0, high), (0.5, (low + high) / 2), (1.0, low)):
        y = bar_top + share * bar
        draw.line((left + 2 * size, y, left + 2.4 * size, y), "black", max(1, size // 12))
        draw.text((left + 2.8 * size, y - size * 0.6), f"{value:.3f}", "black", font=font)
    for i, (colour, meaning) in enumerate(keys):
        y = bar_top + bar + (i + 1) * line
        draw.rectangle((left, y, left + size, y + size), fill=colour, outline="black")
        draw.text((left + 1.6 * size, y), meaning, "black", font=font)
    return canvas


def photo(pixels: np.ndarray, *, max_side: int = 384) -> bytes:
    """A grey image as JPEG of at most ``max_side`` pixels; a photograph as PNG would be five times as heavy."""
    image = Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    stream = io.BytesIO()
    _fit(image, max_side).save(stream, "JPEG", quality=88, optimize=True)
    return stream.getvalue()


def to_png(image: Image.Image) -> bytes:
    """Encode as PNG."""
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def data_uri(content: bytes) -> str:
    """The bytes of a PNG or JPEG as a ``data:`` address."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _shrink(heat: np.ndarray, max_side: int) -> np.ndarray:
    """Take every n-th value, which keeps NaN borders sharp, until a side is at most about twice ``max_side``."""
    step = max(1, max(heat.shape) // (2 * max_side))
    return heat[step // 2 :: step, step // 2 :: step]


def _fit(image: Image.Image, max_side: int) -> Image.Image:
    return image if max(image.size) <= max_side else _scale_to(image, max_side)


def _scale_to(image: Image.Image, max_side: int) -> Image.Image:
    factor = max_side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC)
