"""Reading one picture, of whatever kind an archive holds, into grey values in [0, 1] where bright means dense."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from lgdea.errors import ImageError

FORMATS = ("PNG", "JPEG")
_DEPTHS = (8, 10, 12, 14, 16)  # bits that detectors deliver; 16-bit files mostly hold fewer


@dataclass(frozen=True)
class PixelImage:
    """A picture as the source stores it.

    Attributes:
        pixels: (H, W) float32 in [0, 1], bright = dense.
        info: ``format``, ``mode`` (the source's own), ``bits`` used; for DICOM also ``photometric`` and ``scaling``.
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


def read_image(path: str | Path) -> PixelImage:
    """Read a PNG, JPEG or single-frame DICOM file.

    Colour becomes luminance, transparency lies on black, 16-bit files are scaled by the bit depth that their largest
    value needs (10, 12, 14 or 16), DICOM goes through rescaling and its first window, and MONOCHROME1 is inverted.
    EXIF orientation is ignored: boxes are in the frame of the stored pixels.

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
            pixels, bits = _to_unit(image)
        except (OSError, SyntaxError, ValueError, IndexError) as error:
            raise _damaged(path, error) from None
    return PixelImage(pixels, {"format": kind, "mode": mode, "bits": bits})


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
    try:
        with path.open("rb") as stream:
            head = stream.read(132)
    except FileNotFoundError:
        raise ImageError("no such image", file=path, remedy="check the path and the archive's image_root") from None
    except OSError as error:
        raise ImageError(f"cannot be opened ({error.strerror})", file=path, remedy="check the path") from None
    if not head:
        raise ImageError("is an empty file", file=path, remedy="fetch it again")
    return head[128:] == b"DICM" or path.suffix.lower() in {".dcm", ".dicom"}


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageError(
            "is no PNG, JPEG or DICOM file, or its header is damaged",
            file=path,
            remedy="fetch it again or convert it to PNG",
        ) from None
    except Image.DecompressionBombError:
        raise ImageError("claims more than 178 million pixels", file=path, remedy="check the file") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(path, error) from None


def _to_unit(image: Image.Image) -> tuple[np.ndarray, int]:
    """Pixels in [0, 1] and the bits they used."""
    if image.mode.startswith("I"):  # 16-bit greyscale; Pillow calls it I or I;16
        values = np.asarray(image).astype(np.float32)
        bits = bits_used(float(values.max()))
        return values / (2**bits - 1), bits
    if image.mode in {"P", "PA", "LA", "RGBA", "La", "RGBa"} or "transparency" in image.info:
        flat = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", flat.size, (0, 0, 0, 255)), flat)
    return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255), 8


def bits_used(largest: float) -> int:
    """The smallest usual bit depth that can hold ``largest``."""
    return next((bits for bits in _DEPTHS if largest < 2**bits), 16)


def _damaged(path: Path, error: Exception) -> ImageError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ImageError(f"is damaged ({reason})", file=path, remedy="fetch it again or leave it out")
