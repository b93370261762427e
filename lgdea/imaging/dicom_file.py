"""DICOM files as pydicom opens them: without a preamble too, and with words for what is missing or malformed.

A header may hold names, comments and ids, and pydicom quotes values in its warnings and errors. Messages here name
elements by their keyword, and counts; never what an element holds.
"""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lgdea.errors import ImageError
from lgdea.imaging.sniff import MARK, header_start, read_head
from lgdea.imaging.syntaxes import EXPORT, GE_PRIVATE, missing_decoder, syntax_name, syntax_of_codestream

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

SHAPE = ("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "SamplesPerPixel",
         "SpecificCharacterSet", "SOPClassUID")  # fmt: skip
"""Elements that :func:`open_image` itself looks at."""
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
AGAIN = "fetch it again or leave it out"
_ITEM = b"\xfe\xff\x00\xe0"  # what encapsulated pixel data begins with


@contextmanager
def silence_pydicom(path: Path) -> Iterator[None]:
    """No warning and no text of pydicom gets out, for both quote the header."""
    import pydicom.config

    pydicom.config.logger.setLevel(logging.CRITICAL)  # it logs what it warns of
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except ImageError:
            raise
        except FileNotFoundError:
            raise ImageError("no such image", file=path, remedy="check the path") from None
        except Exception:  # pydicom raises many kinds, in whatever element is damaged
            raise ImageError("is damaged: its data elements cannot be parsed", file=path, remedy=AGAIN) from None


def open_image(path: Path, *, tags: list[str] | None = None) -> FileDataset:
    """The dataset of a picture of one frame, or only its header's ``tags``.

    Raises:
        ImageError: It holds no picture, several frames, or is compressed in a way that is not decoded here.
    """
    dataset = _read(path, tags)
    _require_image(dataset, path)
    frames = numbers(dataset, "NumberOfFrames", path)
    if frames and frames != [1]:
        remedy = "export the frame that you want as an image"
        raise ImageError(f"holds {_shown(frames)} frames, one is expected", file=path, remedy=remedy)
    if not frames and "NumberOfFrames" in dataset:
        del dataset.NumberOfFrames  # says nothing
    if tags is None:
        _complete_syntax(dataset, path)
    _require_decoder(dataset, path)
    if tags is not None:
        _require_size(dataset, path)
    return dataset


def require(dataset: Dataset, keywords: tuple[str, ...], path: Path) -> None:
    """Refuse a picture that lacks elements without which its pixels mean nothing."""
    missing = [keyword for keyword in keywords if number(dataset, keyword, path) is None]
    if missing:
        raise ImageError(f"lacks {', '.join(missing)}", file=path, remedy="have it exported again, or leave it out")


def number(dataset: Dataset, keyword: str, path: Path) -> float | None:
    """The number of an element, the first of several; None where the element is absent or empty."""
    return next(iter(numbers(dataset, keyword, path)), None)


def numbers(dataset: Dataset, keyword: str, path: Path) -> list[float]:
    """All numbers of an element, none where it is absent or empty.

    A decimal comma (``40,5``), which the standard forbids and some devices write, is read as a point.

    Raises:
        ImageError: It holds something else, or a comma before three digits, which may part thousands.
    """
    if keyword not in dataset:
        return []
    stored = dataset.get_item(keyword)
    try:
        value = dataset[keyword].value
    except Exception:  # pydicom has many for a value that it cannot convert; below is what the file holds
        value = stored.value
    if isinstance(value, bytes) and str(stored.VR) not in ("DS", "IS"):
        little = dataset.original_encoding[1] is not False
        return [float(int.from_bytes(value, "little" if little else "big"))] if value else []
    text = value.decode("ascii", "replace").split("\\") if isinstance(value, bytes) else value
    items = [text] if text is None or isinstance(text, str | int | float) else list(text)
    found = []
    for item in items:
        word = "" if item is None else str(item).strip(" \0")
        if not word:
            continue
        if re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", word):
            problem = f"its {keyword} has a comma that may part decimals or thousands"
            raise ImageError(problem, file=path, remedy="have it exported again, or leave it out")
        try:
            found.append(float(word.replace(",", ".")))
        except ValueError:
            raise ImageError(f"its {keyword} is no number", file=path, remedy=AGAIN) from None
    return found


def has_comma(dataset: Dataset, keyword: str) -> bool:
    """Whether an element of numbers is written with a decimal comma."""
    if keyword not in dataset:
        return False
    value = dataset.get_item(keyword).value
    return b"," in value if isinstance(value, bytes) else isinstance(value, str) and "," in value


def is_empty(dataset: Dataset, keyword: str, path: Path) -> bool:
    """Whether an element is there and says nothing."""
    return keyword in dataset and number(dataset, keyword, path) is None


def _require_size(dataset: FileDataset, path: Path) -> None:
    """Refuse a file that its header alone shows to be cut short: smaller than its uncompressed pixels."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax and (syntax.is_private or syntax.is_deflated or syntax.is_encapsulated):
        return
    counts = [number(dataset, key, path) for key in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
    values = [1.0 if count is None else count for count in counts]
    subsampled = 2 / 3 if values[2] == 3 else 1.0  # YBR_FULL_422 may stand for it
    needed, held = int(math.prod(values) / 8 * subsampled), path.stat().st_size
    if held < needed:
        raise ImageError(f"is {held:,} bytes, its pixels alone need {needed:,}", file=path, remedy=AGAIN)


def refuse_others(dataset: Dataset, keyword: str, known: tuple[int, ...], path: Path) -> None:
    """Refuse a picture of which an element says something that pictures are not read with; without it, nothing."""
    values = numbers(dataset, keyword, path)
    if values and (len(values) > 1 or values[0] not in known):
        allowed = ", ".join(map(str, known[:-1])) + f" or {known[-1]}"
        problem = f"says {keyword} {_shown(values)}, which must be {allowed}"
        raise ImageError(problem, file=path, remedy=f"{EXPORT}, or leave it out")


def _shown(values: list[float]) -> str:
    return " and ".join(f"{value:g}" for value in values[:3])


def _read(path: Path, tags: list[str] | None) -> FileDataset:
    import pydicom

    head = read_head(path)
    start = header_start(head)
    if start is None:
        problem = "is no DICOM file: it begins with neither DICOM's mark nor a data element"
        raise ImageError(problem, file=path, remedy="fetch it again or correct its name")
    options: dict[str, Any] = {"stop_before_pixels": tags is not None, "specific_tags": tags}
    if head[MARK : MARK + 4] == b"DICM":
        return pydicom.dcmread(path, **options)
    return pydicom.dcmread(BytesIO(path.read_bytes()[start:]), force=True, **options)


def _require_image(dataset: FileDataset, path: Path) -> None:
    missing = [keyword for keyword in ("Rows", "Columns") if number(dataset, keyword, path) in (None, 0)]
    if not missing:
        return
    kind = getattr(dataset.file_meta, "MediaStorageSOPClassUID", None) or dataset.get("SOPClassUID")
    name = "" if kind is None or kind.is_private or kind.name == str(kind) else kind.name
    if name == "Media Storage Directory Storage":
        remedy = "name the files in the folders beside it"
        raise ImageError("is a DICOMDIR, a list of other files", file=path, remedy=remedy)
    if len(missing) == 1 or "Image Storage" in name:
        problem = f"gives no {' and no '.join(missing)}"
        raise ImageError(problem, file=path, remedy="have it exported again, or leave it out")
    known = f" ({name})" if name else ""
    raise ImageError(f"is a DICOM file without an image{known}", file=path, remedy="leave it out")


def _complete_syntax(dataset: FileDataset, path: Path) -> None:
    """Give a file that does not say how it is encoded the transfer syntax that its bytes show."""
    from pydicom.encaps import get_frame
    from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    meta = dataset.file_meta
    if meta.get("TransferSyntaxUID") == GE_PRIVATE:
        meta.TransferSyntaxUID = ImplicitVRLittleEndian
        if number(dataset, "BitsAllocated", path) == 16 and dataset.get("PixelData"):
            words = np.frombuffer(dataset.PixelData, "<u2", count=len(dataset.PixelData) // 2)
            dataset.PixelData = words.byteswap().tobytes()
    if meta.get("TransferSyntaxUID"):
        return
    if dataset.get("PixelData", b"")[:4] == _ITEM:
        known = syntax_of_codestream(get_frame(dataset.PixelData, 0, number_of_frames=1))
        if known is None:
            raise ImageError("does not say how its pixels are compressed", file=path, remedy=EXPORT)
        meta.TransferSyntaxUID = UID(known)
    else:
        implicit, little = dataset.original_encoding
        plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        meta.TransferSyntaxUID = plain if little else ExplicitVRBigEndian


def _require_decoder(dataset: FileDataset, path: Path) -> None:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:
        return
    bits, samples = (int(number(dataset, key, path) or 1) for key in ("BitsStored", "SamplesPerPixel"))
    remedy = missing_decoder(str(syntax), bits, samples)
    if remedy is not None:
        wide = f", {bits} bits" if bits > 8 else ""
        problem = f"its compression ({syntax_name(str(syntax))}{wide}) cannot be decoded here"
        raise ImageError(problem, file=path, remedy=remedy)
