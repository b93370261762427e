"""Pictures that a browser sends: what is refused before it is decoded, in one line without a server's path."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lgdea.app.uploads import MOST_PIXELS, codestream_size, read_upload
from lgdea.errors import ImageError


def _png(path, width, height):
    """A PNG whose header claims a size and whose pixels are a line of noughts."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )
    return path


def _dicom(path, rows, columns, pixels, syntax):
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns, data.SamplesPerPixel = rows, columns, 1
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    data.PixelData = pixels
    data.save_as(path, enforce_file_format=True)
    return path


def test_pictures_are_read(tmp_path):
    values = np.arange(48, dtype=np.uint8).reshape(6, 8)
    for name in ("a.png", "film.PNG"):
        Image.fromarray(values).save(tmp_path / name)
        assert np.allclose(read_upload(tmp_path / name), values / 255)
    from pydicom.uid import ExplicitVRLittleEndian

    read = read_upload(_dicom(tmp_path / "a.dcm", 6, 8, values.tobytes(), ExplicitVRLittleEndian))
    assert read.shape == (6, 8)


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"GIF89a....", b"\x89PNG\r\n\x1a\nbroken", b"%PDF-1.7", b"\xff\xd8\xff"]
)
def test_other_files_are_refused_by_their_own_name(tmp_path, content):
    file = tmp_path / "film <b>.png"
    file.write_bytes(content)
    with pytest.raises(ImageError, match=r"film <b>\.png") as error:
        read_upload(file)
    assert str(tmp_path) not in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_chosen_is_one_line():
    with pytest.raises(ImageError, match="no file was chosen; choose a PNG"):
        read_upload(None)


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (MOST_PIXELS + 1, 1), (2**31 - 1, 2**31 - 1)])
def test_a_claim_of_too_many_pixels_is_refused_before_they_are_decoded(tmp_path, width, height):
    with pytest.raises(ImageError, match=r"million pixels|pixels, more than"):
        read_upload(_png(tmp_path / "bomb.png", width, height))


def test_a_dicom_file_that_claims_too_much_is_refused(tmp_path):
    from pydicom.uid import JPEGBaseline8Bit

    frame = pytest.importorskip("pydicom.encaps").encapsulate([b"\xff\xd8\xff\xd9"])
    with pytest.raises(ImageError, match="pixels"):
        read_upload(_dicom(tmp_path / "a.dcm", 65_000, 65_000, frame, JPEGBaseline8Bit))


def test_a_compressed_frame_of_another_size_than_the_header_says_is_refused(tmp_path):
    import io

    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    stream = io.BytesIO()
    Image.new("L", (4000, 3000)).save(stream, "JPEG")
    file = _dicom(tmp_path / "small.dcm", 16, 16, encapsulate([stream.getvalue()]), JPEGBaseline8Bit)
    with pytest.raises(ImageError, match="says 16 x 16 pixels and holds 4,000 x 3,000"):
        read_upload(file)


def test_deflated_dicom_is_refused(tmp_path):
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    file = _dicom(tmp_path / "a.dcm", 8, 8, b"\0" * 64, DeflatedExplicitVRLittleEndian)
    with pytest.raises(ImageError, match="deflated"):
        read_upload(file)


def test_a_file_of_too_many_bytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("lgdea.app.uploads.MOST_BYTES", 2**20)
    file = tmp_path / "large.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 2**21)
    with pytest.raises(ImageError, match="has 2 MB, more than 1"):
        read_upload(file)


def test_sizes_of_codestreams():
    jpeg2000 = bytes.fromhex("ff4fff51002f0000") + struct.pack(">IIII", 640, 480, 0, 0)
    assert codestream_size(jpeg2000) == (640, 480)
    assert codestream_size(b"\0\0\0\x0cjP  " + jpeg2000) == (640, 480)
    jpeg_ls = bytes.fromhex("fff7000b0800100020")
    assert codestream_size(b"\xff\xd8" + jpeg_ls + b"\0\0") == (32, 16)
    assert codestream_size(b"\xff\xd8\xff\xe0\x00\x04ab" + jpeg_ls) == (32, 16)
    assert codestream_size(b"nothing") is None
