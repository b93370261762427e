"""Pictures that a browser sends: refused by size, kind and claimed pixels before any of them is decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lgdea.errors import ImageError
from lgdea.imaging.read import read_image, read_size
from lgdea.imaging.sniff import kind_of

MOST_BYTES = 64 * 2**20
"""Of one upload; a chest film of 3,000 x 3,000 pixels and 16 bits has 18 MB."""
MOST_PIXELS = 64_000_000
ENDINGS = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_AGAIN = "choose a PNG, JPEG or DICOM file"


def read_upload(file: str | Path | None) -> np.ndarray:
    """Read a picture that was uploaded.

    Args:
        file: Where the server has put it; None where nothing was chosen.

    Returns:
        (H, W) float32 in [0, 1], bright = dense.

    Raises:
        ImageError: It is no PNG, JPEG or DICOM file, is too large, claims too many pixels, or is damaged; the message
            names the file as the user knows it.
    """
    if file is None:
        raise ImageError("no file was chosen", remedy=_AGAIN)
    path = Path(file)
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ImageError(f"has {size / 2**20:.0f} MB, more than {MOST_BYTES // 2**20}", remedy="make it smaller")
        if kind_of(path) == "DICOM":
            _require_plain_dicom(path)
        require_size(path, path.name)
        return read_image(path).pixels
    except ImageError as error:
        raise ImageError(error.problem, file=path.name, row=error.row, remedy=error.remedy) from None
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})", file=path.name, remedy="upload it again") from None
    except MemoryError:
        raise ImageError("is too large for this machine's memory", file=path.name, remedy="make it smaller") from None


def require_size(path: Path, name: str) -> None:
    """Refuse a picture that claims more pixels than are decoded here, by its header.

    Args:
        path: The file.
        name: What to call it.

    Raises:
        ImageError: It claims more than :data:`MOST_PIXELS`, or its header cannot be read.
    """
    width, height = read_size(path)
    if width * height > MOST_PIXELS:
        problem = f"claims {width:,} x {height:,} pixels, more than {MOST_PIXELS // 10**6} million"
        raise ImageError(problem, file=name, remedy="make it smaller")


def _require_plain_dicom(path: Path) -> None:
    """Refuse DICOM that becomes larger than it says: a deflated file, or a compressed frame of another size."""
    import pydicom
    from pydicom.encaps import get_frame

    from lgdea.imaging.dicom import read_dicom_size

    try:
        syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID")
    except Exception:  # no meta information, which older files lack; below tells what is wrong with it
        syntax = None
    if syntax == _DEFLATED:
        raise ImageError("is a deflated DICOM file", remedy="export it uncompressed")
    said = read_dicom_size(path)
    if said[0] * said[1] > MOST_PIXELS or syntax is None or not syntax.is_encapsulated:
        return
    try:
        frame = get_frame(pydicom.dcmread(path).PixelData, 0, number_of_frames=1)
    except Exception:  # pydicom raises many kinds for damaged files
        raise ImageError("is damaged: its compressed pixels cannot be found", remedy="export it again") from None
    held = codestream_size(frame)
    if held is not None and held != said:
        problem = f"says {said[0]:,} x {said[1]:,} pixels and holds {held[0]:,} x {held[1]:,}"
        raise ImageError(problem, remedy="export it again")


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """(width, height) that a JPEG, JPEG-LS or JPEG 2000 codestream claims; None where none is found.

    >>> codestream_size(bytes.fromhex("ffd8ffc0000b080010002001011100"))
    (32, 16)

    Args:
        frame: The compressed frame.
    """
    start = frame.find(b"\xff\x4f\xff\x51")
    if 0 <= start < 4096:
        edges = [int.from_bytes(frame[start + 8 + 4 * i : start + 12 + 4 * i], "big") for i in range(4)]
        return edges[0] - edges[2], edges[1] - edges[3]
    place = 2
    while frame.startswith(b"\xff\xd8") and place + 9 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = (int.from_bytes(frame[place + 5 + i : place + 7 + i], "big") for i in (0, 2))
            return width, height
        place += 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None
