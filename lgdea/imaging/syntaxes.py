"""Transfer syntaxes of DICOM: which of them are decoded here, and what to install for the others."""

from __future__ import annotations

from dataclasses import dataclass

GDCM = "pip install python-gdcm"
LIBJPEG = "pip install pylibjpeg pylibjpeg-libjpeg"  # GPL: not in the extra
OPENJPEG = "pip install pylibjpeg pylibjpeg-openjpeg"
EXPORT = "have it exported uncompressed (Explicit VR Little Endian)"
GE_PRIVATE = "1.2.840.113619.5.2"
"""Implicit VR Little Endian with pixels in big-endian order, as old GE devices write it."""

# What pydicom has decoders for, with the widest pixels that it is asked about here.
_COMPRESSED: tuple[tuple[str, str, int], ...] = (
    ("RLE Lossless", "1.2.840.10008.1.2.5", 16),
    ("JPEG Baseline, 8 bits", "1.2.840.10008.1.2.4.50", 8),
    ("JPEG Extended, 8 bits", "1.2.840.10008.1.2.4.51", 8),
    ("JPEG Extended, 12 bits", "1.2.840.10008.1.2.4.51", 12),
    ("JPEG Lossless, any predictor", "1.2.840.10008.1.2.4.57", 16),
    ("JPEG Lossless, first-order", "1.2.840.10008.1.2.4.70", 16),
    ("JPEG-LS Lossless", "1.2.840.10008.1.2.4.80", 16),
    ("JPEG-LS Near-Lossless", "1.2.840.10008.1.2.4.81", 16),
    ("JPEG 2000 Lossless", "1.2.840.10008.1.2.4.90", 16),
    ("JPEG 2000", "1.2.840.10008.1.2.4.91", 16),
    ("HTJ2K Lossless", "1.2.840.10008.1.2.4.201", 16),
    ("HTJ2K Lossless, RPCL", "1.2.840.10008.1.2.4.202", 16),
    ("HTJ2K", "1.2.840.10008.1.2.4.203", 16),
)
_UNCOMPRESSED = (
    ("Implicit VR Little Endian", "1.2.840.10008.1.2"),
    ("Explicit VR Little Endian", "1.2.840.10008.1.2.1"),
    ("Deflated Explicit VR Little Endian", "1.2.840.10008.1.2.1.99"),
    ("Explicit VR Big Endian", "1.2.840.10008.1.2.2"),
    ("GE private, big-endian pixels", GE_PRIVATE),
)
_EXTENDED, _JPEG_2000 = "1.2.840.10008.1.2.4.51", ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_HTJ2K = tuple(uid for name, uid, _ in _COMPRESSED if name.startswith("HTJ2K"))


@dataclass(frozen=True)
class SyntaxState:
    """A transfer syntax, as ``lgdea doctor`` shows it.

    Attributes:
        name: Name in words.
        uid: Its UID.
        remedy: What makes it decode; None where it does.
    """

    name: str
    uid: str
    remedy: str | None


def list_syntaxes() -> list[SyntaxState]:
    """The transfer syntaxes of still images that can be decoded, here or with further packages."""
    plain = [SyntaxState(name, uid, None) for name, uid in _UNCOMPRESSED]
    return plain + [SyntaxState(name, uid, missing_decoder(uid, bits)) for name, uid, bits in _COMPRESSED]


def missing_decoder(uid: str, bits: int, samples: int = 1) -> str | None:
    """What to do so that pixels of a transfer syntax are decoded; None where they are.

    Args:
        uid: Transfer syntax.
        bits: BitsStored; the decoders of one syntax differ in what they take.
        samples: SamplesPerPixel.
    """
    if not _is_compressed(uid) or decoders(uid, bits, samples):
        return None
    if uid == _EXTENDED and bits > 8:
        return LIBJPEG
    if uid in _HTJ2K:
        return OPENJPEG
    return GDCM if any(uid == known for _, known, _ in _COMPRESSED) else EXPORT


def decoders(uid: str, bits: int, samples: int = 1) -> list[str]:
    """Names of the installed decoders that take such pixels."""
    from pydicom.pixels import get_decoder

    try:
        names = list(get_decoder(uid).available_plugins)
    except (NotImplementedError, ValueError):  # a private or unknown syntax, or a video
        return []
    if uid == _EXTENDED and bits > 8:
        names = [name for name in names if name == "pylibjpeg"]
    if uid in _JPEG_2000 and bits > 8 and samples > 1:
        names = [name for name in names if name != "pillow"]
    return names


def syntax_name(uid: str) -> str:
    """The standard's name of a transfer syntax; "private" where it is not the standard's, as a UID may tell a site."""
    from pydicom.uid import UID

    known = UID(uid)
    return "private" if known.is_private or known.name == str(known) else known.name.partition(" (")[0]


def syntax_of_codestream(start: bytes) -> str | None:
    """The transfer syntax of a compressed frame that names none, by how it starts."""
    if start.startswith(b"\xff\x4f\xff\x51") or start[4:8] == b"jP  ":
        return _JPEG_2000[1]
    if not start.startswith(b"\xff\xd8"):
        return None
    place = 2
    frames = {0xC0: "50", 0xC1: "51", 0xC3: "57", 0xF7: "81"}  # start-of-frame markers
    while place + 4 <= len(start) and start[place] == 0xFF:
        if start[place + 1] in frames:
            return f"1.2.840.10008.1.2.4.{frames[start[place + 1]]}"
        place += 2 + int.from_bytes(start[place + 2 : place + 4], "big")
    return None


def _is_compressed(uid: str) -> bool:
    return not any(uid == plain for _, plain in _UNCOMPRESSED)
