"""Reading one picture, of whatever kind an archive holds, into grey values in [0, 1] where bright means dense."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from lgdea.errors import ImageError, first_line
from lgdea.imaging.depth import depth_of, significant_bits
from lgdea.imaging.sniff import kind_of, name_other, read_head

FORMATS = ("PNG", "JPEG")
_FEW_BITS = 64  # of 256: brighter pixels than this has every picture that fills its depth


@dataclass(frozen=True)
class PixelImage:
    """A picture as the source stores it.

    Attributes:
        pixels: (H, W) float32 in [0, 1], bright = dense.
        info: ``format``, ``mode`` (the source's own), ``bits`` used; for DICOM also ``photometric`` and ``scaling``,
            and ``notes`` where something had to be assumed.
    """

    pixels: np.ndarray
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])


def read_image(path: str | Path, *, bits: int | None = None) -> PixelImage:
    """Read a PNG, JPEG or single-frame DICOM file, whatever its name is.

    Colour becomes luminance, transparency lies on black, 16-bit files are scaled by their bit depth (``bits``, or what
    :func:`~lgdea.imaging.depth.depth_of` finds; brighter pixels are white), DICOM goes through rescaling and its first
    window, and MONOCHROME1 is inverted. EXIF orientation is ignored: boxes are in the frame of the stored pixels.

    Args:
        path: The file.
        bits: Bit depth of white, for 16-bit greyscale PNG alone; None takes the file's own.

    Raises:
        ImageError: The file is missing, damaged, of another format or has several frames.
    """
    path = Path(path)
    if _is_dicom(path):
        from lgdea.imaging.dicom import read_dicom

        return PixelImage(*read_dicom(path))
    with _open(path) as image:
        mode, kind = image.mode, image.format
        try:
            image.load()
            pixels, depth = _to_unit(image, path, bits)
        except (OSError, SyntaxError, ValueError, IndexError) as error:
            raise _damaged(path, error) from None
    return PixelImage(pixels, {"format": kind, "mode": mode, "bits": depth})


def read_size(path: str | Path) -> tuple[int, int]:
    """(width, height) of an image file, from its header alone.

    Raises:
        ImageError: As :func:`read_image`, as far as the header shows.
    """
    path = Path(path)
    if _is_dicom(path):
        from lgdea.imaging.dicom import read_dicom_size

        return read_dicom_size(path)
    with _open(path) as image:
        return image.size


def _is_dicom(path: Path) -> bool:
    kind = kind_of(path)
    return kind == "DICOM" or (kind is None and path.suffix.lower() in {".dcm", ".dicom"})


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        named = name_other(read_head(path))
        if named is not None:
            raise ImageError(f"is no PNG, JPEG or DICOM file but {named[0]}", file=path, remedy=named[1]) from None
        raise ImageError(
            "is no PNG, JPEG or DICOM file, or its header is damaged",
            file=path,
            remedy="fetch it again or convert it to PNG",
        ) from None
    except Image.DecompressionBombError:
        raise ImageError("claims more than 178 million pixels", file=path, remedy="check the file") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(path, error) from None


def _to_unit(image: Image.Image, path: Path, bits: int | None) -> tuple[np.ndarray, int]:
    """Pixels in [0, 1] and the bits they used."""
    if image.mode.startswith("I"):  # 16-bit greyscale; Pillow calls it I or I;16
        values = np.asarray(image)
        bits = bits or depth_of(values, significant_bits(path))
        return (values.astype(np.float32) / np.float32(2**bits - 1)).clip(0, 1), bits
    wide = image.format == "PNG" and image.mode not in {"1", "L", "P"} and _is_wide_colour(path)
    if image.mode in {"P", "PA", "LA", "RGBA", "La", "RGBa"} or "transparency" in image.info:
        flat = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", flat.size, (0, 0, 0, 255)), flat)
    grey = np.asarray(image.convert("L"))
    if wide and grey.max(initial=0) < _FEW_BITS:
        problem = "has 16-bit colour that does not fill its depth, of which only the upper 8 bits can be read"
        raise ImageError(problem, file=path, remedy="save it as 16-bit greyscale")
    return grey.astype(np.float32) / np.float32(255), 8


def _is_wide_colour(path: Path) -> bool:
    """Whether a PNG file has 16 bits for each of several channels; Pillow drops the lower 8."""
    with path.open("rb") as stream:
        head = stream.read(26)
    return head.startswith(b"\x89PNG") and head[24:25] == b"\x10"


def _damaged(path: Path, error: Exception) -> ImageError:
    return ImageError(f"is damaged ({first_line(error)})", file=path, remedy="fetch it again or leave it out")
