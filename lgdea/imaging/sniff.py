"""What kind of picture a file is by how it begins; names and endings are often wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lgdea.errors import ImageError, UsageError
from lgdea.reading import require_file

Kind = Literal["PNG", "JPEG", "DICOM"]

MARK = 128
"""Place of the letters DICM in a DICOM file."""
_HEAD = 160  # bytes that are looked at
_VR = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
_OTHERS = {
    b"\x1f\x8b": ("gzip", "unpack it"),
    b"PK\x03\x04": ("ZIP", "unpack it"),
    b"%PDF": ("PDF", "export its picture as PNG"),
    b"II*\0": ("TIFF", "convert it to PNG"),
    b"MM\0*": ("TIFF", "convert it to PNG"),
    b"GIF8": ("GIF", "convert it to PNG"),
    b"BM": ("BMP", "convert it to PNG"),
    b"RIFF": ("WebP", "convert it to PNG"),
    b"\0\0\0\x0cjP  ": ("JPEG 2000", "convert it to PNG"),
    b"\xff\x4f\xff\x51": ("JPEG 2000", "convert it to PNG"),
    b"<!doctype html": ("HTML", "fetch it again"),
    b"<html": ("HTML", "fetch it again"),
    b"version https://git-lfs": ("a Git LFS pointer", "fetch it with `git lfs pull`"),
}


def kind_of(path: Path) -> Kind | None:
    """Kind of the picture in ``path``; None where it begins like none that is read.

    Raises:
        ImageError: There is no such file, it is empty or cannot be opened.
    """
    head = read_head(path)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    return None if header_start(head) is None else "DICOM"


def name_other(head: bytes) -> tuple[str, str] | None:
    """What a file is that is no picture of the kinds that are read, and what to do; None where that is not seen."""
    named = (said for start, said in _OTHERS.items() if head.lower().startswith(start.lower()))
    return next(named, None)


def read_head(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        ImageError: As :func:`kind_of`.
    """
    try:
        file = require_file(path, what="image", remedy="check the path and the archive's image_root")
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
    except UsageError as error:
        raise ImageError(error.problem, file=path, remedy=error.remedy) from None
    except OSError as error:
        raise ImageError(f"cannot be opened ({error.strerror})", file=path, remedy="check the path") from None
    if not head:
        raise ImageError("is an empty file", file=path, remedy="fetch it again")
    return head


def header_start(head: bytes) -> int | None:
    """Where a DICOM header begins; None where none does.

    DICOM's mark stands after a preamble of 128 bytes. Older files (ACR-NEMA, and what is written without a file's
    frame, as it goes over the network) begin with the first data element, others lack the preamble or the mark alone.

    Args:
        head: The file's first 160 bytes.

    Returns:
        0 for a whole DICOM file too.
    """
    if head[MARK : MARK + 4] == b"DICM" or _is_element(head):
        return 0
    if head.startswith(b"DICM"):
        return 4
    return MARK if _is_element(head[MARK:]) else None


def _is_element(head: bytes) -> bool:
    """Whether a data element of the first groups (0002: of the file, 0008: of the study) stands here."""
    if len(head) < 8:
        return False
    if head[:8] == b"\0\0\0\0\4\0\0\0":  # the length of a command group, as it goes over the network
        return True
    for order, groups in (("little", (0x0002, 0x0008)), ("big", (0x0008,))):
        group, element = (int.from_bytes(head[i : i + 2], order) for i in (0, 2))  # type: ignore[arg-type]
        if group in groups and element < 0x2000:
            length = int.from_bytes(head[4:8], order)  # type: ignore[arg-type]
            return head[4:6] in _VR or length < 2**16  # with or without its type (VR)
    return False
