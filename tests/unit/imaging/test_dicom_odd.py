"""DICOM files as devices and archives really write them: read all the same, or refused in true words."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from lgdea.errors import ImageError
from lgdea.imaging import syntaxes
from lgdea.imaging.dicom import read_dicom_facts
from lgdea.imaging.read import read_image, read_size


def set_raw(path: Path, keyword: str, vr: str, value: bytes) -> Path:
    """Write an element as it is, whatever pydicom thinks of it."""
    dataset = pydicom.dcmread(path)
    dataset.PixelData = dataset.PixelData  # read, before the element stands in the way
    tag = Tag(keyword)
    dataset._dict[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(value), value, 0, False, True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def signed(write_dicom, values, stored=16, **header):
    data = np.asarray(values, "<i2")
    header = {
        "PixelRepresentation": 1,
        "BitsStored": stored,
        "HighBit": stored - 1,
        "PixelData": data.tobytes(),
    } | header
    return write_dicom(data, **header)


@pytest.mark.parametrize(("vr", "value"), [("SS", -2000), ("US", 63536)], ids=["with a sign", "the same bits without"])
@pytest.mark.parametrize("stored", [12, 16])
def test_padding_of_signed_pixels(write_dicom, vr, value, stored):
    values = np.array([[-2000, 0, 500], [1000, -2000, 250]], np.int16)
    path = signed(write_dicom, values, stored)
    path = set_raw(path, "PixelPaddingValue", vr, (value & 0xFFFF).to_bytes(2, "little"))
    assert np.allclose(read_image(path).pixels, [[0, 0, 0.5], [1, 0, 0.25]])


def test_padding_of_signed_pixels_written_in_their_stored_bits_alone(write_dicom):
    values = np.array([[-2048, 0], [1000, 500]], np.int16)
    path = set_raw(signed(write_dicom, values, 12), "PixelPaddingValue", "US", (0x800).to_bytes(2, "little"))
    assert np.allclose(read_image(path).pixels, [[0, 0], [1, 0.5]])


@pytest.mark.parametrize(("vr", "value"), [("US", 63536), ("SS", -2000)])
def test_padding_of_unsigned_pixels(write_dicom, vr, value):
    values = np.array([[63536, 0], [1000, 500]], np.uint16)
    path = write_dicom(values, BitsStored=16, HighBit=15)
    path = set_raw(path, "PixelPaddingValue", vr, (value & 0xFFFF).to_bytes(2, "little"))
    assert np.allclose(read_image(path).pixels, [[0, 0], [1, 0.5]])


def test_padding_beside_the_stored_bits_is_no_density(write_dicom):
    """12 bits of 16: 63536 is 2096 in the lowest 12, which a density may be."""
    values = np.array([[63536, 2096], [3000, 1096]], np.uint16)
    path = set_raw(write_dicom(values), "PixelPaddingValue", "US", (63536).to_bytes(2, "little"))
    assert np.allclose(read_image(path).pixels, [[0, 1000 / 1904], [1, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("bits", "high", "low"), [(12, 15, 0), (10, 15, 0), (12, 14, 0), (10, 11, 0), (12, 15, -2048), (10, 13, -512)]
)
def test_densities_in_the_upper_bits(write_dicom, bits, high, low):
    values = np.array([[0, 100, 200], [300, 400, 2**bits - 1]]) + low
    moved = ((values << (high + 1 - bits)) & 0xFFFF).astype("<u2")
    header = {"BitsStored": bits, "HighBit": high, "PixelRepresentation": int(low < 0), "PixelData": moved.tobytes()}
    expected = (values - low) / (2**bits - 1)
    assert np.allclose(read_image(write_dicom(moved, **header)).pixels, expected, atol=1e-6)
    # A wrong HighBit over densities that stand where they always do.
    header["PixelData"] = (values & (2**bits - 1)).astype("<u2").tobytes()
    assert np.allclose(read_image(write_dicom(moved, **header)).pixels, expected, atol=1e-6)


@pytest.mark.parametrize("limit", [("SS", -1995), ("US", 63541)])
def test_a_range_of_padding_is_read_as_its_value(write_dicom, limit):
    path = signed(write_dicom, [[-2000, -1997, -1995], [-1000, 0, 1000]])
    path = set_raw(path, "PixelPaddingValue", "US", (63536).to_bytes(2, "little"))
    path = set_raw(path, "PixelPaddingRangeLimit", limit[0], (limit[1] & 0xFFFF).to_bytes(2, "little"))
    assert np.allclose(read_image(path).pixels, [[0, 0, 0], [0, 0.5, 1]])


def test_a_table_whose_first_value_lost_its_sign(write_dicom):
    path = signed(write_dicom, [[-1000, -999], [-998, 0]])
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4, 64536, 8])
    table.add_new("LUTData", "OW", np.array([0, 51, 102, 255], "<u2").tobytes())
    dataset = pydicom.dcmread(path)
    dataset.VOILUTSequence = Sequence([table])
    dataset.save_as(path, enforce_file_format=True)
    assert np.allclose(read_image(path).pixels, [[0, 0.2], [0.4, 1]])


def floats(write_dicom, values, keyword="FloatPixelData", **header):
    wide = keyword == "DoubleFloatPixelData"
    path = write_dicom(np.zeros(np.shape(values), np.uint16))
    dataset = pydicom.dcmread(path)
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        del dataset[name]
    dataset.BitsAllocated = 64 if wide else 32
    setattr(dataset, keyword, np.asarray(values, "<f8" if wide else "<f4").tobytes())
    for key, value in header.items():
        setattr(dataset, key, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "header", [{}, {"WindowCenter": 100, "WindowWidth": 201}, {"RescaleSlope": 1, "RescaleIntercept": 0}]
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_pixels_that_are_no_number_are_black_and_noted(write_dicom, keyword, hole, header, photometric):
    values = [[hole, 0.0], [100.0, 200.0]]
    image = read_image(floats(write_dicom, values, keyword, PhotometricInterpretation=photometric, **header))
    inverted = photometric == "MONOCHROME1"
    assert np.allclose(image.pixels, [[0, inverted], [0.5, not inverted]], atol=0.01)
    assert image.info["notes"] == ["1 of 4 pixels are NaN or infinite and are shown black"]


def test_a_picture_without_any_number_is_refused(write_dicom):
    with pytest.raises(ImageError, match=r"x.dcm: has no pixel whose value is finite; fetch it again"):
        read_image(floats(write_dicom, np.full((3, 3), np.nan)))
    path = set_raw(write_dicom(np.ones((2, 2), np.uint16), RescaleIntercept=0), "RescaleSlope", "DS", b"nan ")
    with pytest.raises(ImageError, match="its RescaleSlope or RescaleIntercept is not finite"):
        read_image(path)


def test_padding_of_floats(write_dicom):
    path = floats(write_dicom, [[-1e9, 0.0], [1.0, 2.0]], FloatPixelPaddingValue=-1e9)
    assert np.allclose(read_image(path).pixels, [[0, 0], [0.5, 1]])


WHOLE = get_testdata_file("MR_small.dcm")


def without_frame(file, *, meta=False):
    """A data set as it goes over the network: no preamble, no mark and, if not ``meta``, no file meta group."""
    raw = Path(get_testdata_file(file)).read_bytes()
    length = int.from_bytes(raw[140:144], "little")
    return raw[132:] if meta else raw[144 + length :]


@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("file", ["MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"])
@pytest.mark.parametrize("before", [b"", b"DICM", b"\0" * 128])
@pytest.mark.parametrize("name", ["x.dcm", "IM000001", "x.png"])
def test_files_without_preamble_or_mark_are_read(tmp_path, meta, file, before, name):
    if before == b"DICM" and not meta:
        pytest.skip("the mark stands before the file meta group")
    (tmp_path / name).write_bytes(before + without_frame(file, meta=meta))
    assert np.array_equal(read_image(tmp_path / name).pixels, read_image(WHOLE).pixels)
    assert read_size(tmp_path / name) == read_size(WHOLE) == (64, 64)
    assert read_dicom_facts(tmp_path / name) == read_dicom_facts(Path(WHOLE))


def test_a_message_with_its_command_group_is_read(tmp_path):
    """C-STORE as a network dump holds it: the command group, implicit, before the data set."""
    command = b"\0\0\0\1\2\0\0\0\1\0"  # (0000,0100), the command field
    length = b"\0\0\0\0\4\0\0\0" + len(command).to_bytes(4, "little")
    (tmp_path / "dump").write_bytes(length + command + without_frame("MR_small_implicit.dcm"))
    assert np.array_equal(read_image(tmp_path / "dump").pixels, read_image(WHOLE).pixels)


@pytest.mark.parametrize("value", [-2000, 63536])
def test_padding_in_an_implicit_file(tmp_path, value):
    """Without types in the file, pydicom gives the bytes."""
    dataset = pydicom.dcmread(get_testdata_file("MR_small_implicit.dcm"))
    for keyword in ("WindowCenter", "WindowWidth"):
        del dataset[keyword]
    values = np.array([[-2000, 0], [1000, 500]], "<i2")
    dataset.Rows, dataset.Columns, dataset.PixelData, dataset.PixelRepresentation = 2, 2, values.tobytes(), 1
    dataset.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
    dataset.save_as(tmp_path / "x.dcm")
    assert np.allclose(read_image(tmp_path / "x.dcm").pixels, [[0, 0], [1, 0.5]])


def test_pictures_are_known_by_how_they_begin(tmp_path, ramp, write_dicom):
    Image.fromarray(ramp).save(tmp_path / "x.png")
    (tmp_path / "y.dcm").write_bytes((tmp_path / "x.png").read_bytes())
    assert np.array_equal(read_image(tmp_path / "y.dcm").pixels, read_image(tmp_path / "x.png").pixels)
    write_dicom(ramp.astype(np.uint16)).rename(tmp_path / "z.jpg")
    assert read_image(tmp_path / "z.jpg").info["format"] == "DICOM"


@pytest.mark.parametrize("content", [b"no dicom at all", b"\0" * 400, b"\x08\0", bytes(range(256)) * 3])
def test_other_files_are_not_taken_for_dicom(tmp_path, content):
    (tmp_path / "x.dcm").write_bytes(content)
    with pytest.raises(ImageError, match=r"x.dcm: is no DICOM file: it begins with neither"):
        read_image(tmp_path / "x.dcm")


def test_what_else_a_dicom_file_may_be_is_named(tmp_path):
    for name, said in (
        ("DICOMDIR", "is a DICOMDIR, a list of other files; name the files in the folders beside it"),
        ("test-SR.dcm", r"is a DICOM file without an image \(Comprehensive SR Storage\); leave it out"),
        ("rtplan.dcm", r"is a DICOM file without an image \(RT Plan Storage\)"),
    ):
        with pytest.raises(ImageError, match=said):
            read_size(get_testdata_file(name))


def test_the_private_syntax_of_ge(tmp_path):
    raw = b"\0" * 128 + b"DICM" + without_frame("MR_small_implicit.dcm", meta=True)
    pixels = pydicom.dcmread(WHOLE).PixelData
    swapped = np.frombuffer(pixels, "<u2").byteswap().tobytes()
    raw = raw.replace(pixels, swapped).replace(b"1.2.840.10008.1.2\0", syntaxes.GE_PRIVATE.encode())
    (tmp_path / "ge.dcm").write_bytes(raw)
    assert syntaxes.GE_PRIVATE.encode() in raw
    assert np.array_equal(read_image(tmp_path / "ge.dcm").pixels, read_image(WHOLE).pixels)
    assert read_size(tmp_path / "ge.dcm") == (64, 64)


@pytest.mark.parametrize(
    ("file", "uid"),
    [("MR_small_jp2klossless.dcm", "91"), ("SC_rgb_jpeg_gdcm.dcm", "57"), ("examples_ybr_color.dcm", "50"),
     ("MR_small_jpeg_ls_lossless.dcm", "81"), ("JPGExtended.dcm", "51")],
)  # fmt: skip
def test_the_compression_of_a_file_that_does_not_name_it(file, uid):
    dataset = pydicom.dcmread(get_testdata_file(file))
    frame = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    assert syntaxes.syntax_of_codestream(frame) == f"1.2.840.10008.1.2.4.{uid}"
    assert syntaxes.syntax_of_codestream(b"\0" * 64) is None


def test_a_compressed_file_that_does_not_name_its_compression(tmp_path):
    dataset = pydicom.dcmread(get_testdata_file("MR_small_jp2klossless.dcm"))
    want = read_image(get_testdata_file("MR_small_jp2klossless.dcm")).pixels
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    raw = buffer.getvalue()
    (tmp_path / "x.dcm").write_bytes(raw[144 + int.from_bytes(raw[140:144], "little") :])
    assert np.array_equal(read_image(tmp_path / "x.dcm").pixels, want)


def test_every_compression_says_what_decodes_it():
    """Installed or not: the state of each, and the package for those that are missing."""
    from pydicom.pixels import get_decoder

    for state in syntaxes.list_syntaxes():
        if state.name == "JPEG Extended, 12 bits":
            assert (state.remedy is None) == ("pylibjpeg" in get_decoder(JPEGExtended12Bit).available_plugins)
            assert state.remedy in (None, "pip install pylibjpeg pylibjpeg-libjpeg")
        elif state.uid == syntaxes.GE_PRIVATE:
            assert state.remedy is None
        else:
            assert (state.remedy is None) == get_decoder(state.uid).is_available
            assert state.remedy is None or state.remedy.startswith("pip install ")


@pytest.mark.parametrize(
    ("file", "syntax", "remedy"),
    [("JPGExtended.dcm", JPEGExtended12Bit, "pip install pylibjpeg pylibjpeg-libjpeg"),
     ("SC_rgb_jpeg_gdcm.dcm", JPEGLosslessSV1, "pip install python-gdcm"),
     ("MR_small_jpeg_ls_lossless.dcm", JPEGLSLossless, "pip install python-gdcm")],
)  # fmt: skip
def test_a_missing_decoder_is_no_damage_and_is_seen_in_the_header(file, syntax, remedy, monkeypatch):
    monkeypatch.setattr(syntaxes, "decoders", lambda uid, bits, samples=1: [])
    for read in (read_image, read_size, lambda path: read_dicom_facts(Path(path))):
        with pytest.raises(ImageError) as error:
            read(get_testdata_file(file))
        assert error.value.remedy == remedy
        assert "cannot be decoded here" in error.value.problem
        assert syntaxes.syntax_name(str(syntax)) in error.value.problem
        assert "damaged" not in str(error.value)


@pytest.mark.parametrize(
    ("syntax", "remedy"),
    [(HTJ2KLossless, syntaxes.OPENJPEG), (JPEG2000Lossless, syntaxes.GDCM), ("1.2.3.4", syntaxes.EXPORT),
     ("1.2.840.10008.1.2.4.93", syntaxes.EXPORT), ("1.2.840.10008.1.2.4.102", syntaxes.EXPORT)],
)  # fmt: skip
def test_remedies(syntax, remedy, monkeypatch):
    monkeypatch.setattr(syntaxes, "decoders", lambda uid, bits, samples=1: [])
    assert syntaxes.missing_decoder(str(syntax), 16) == remedy


def jpeg(write_dicom, ramp, cut=None):
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "JPEG", quality=100)
    path = write_dicom(ramp, BitsAllocated=8, BitsStored=8, HighBit=7)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([buffer.getvalue()[:cut]])
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_a_cut_compressed_picture_is_damage(write_dicom, ramp):
    with pytest.raises(ImageError, match=r"its pixel data \(JPEG Baseline\) is cut short; fetch it again"):
        read_image(jpeg(write_dicom, ramp, cut=400))


def test_a_cut_file_is_seen_in_its_header(tmp_path):
    raw = Path(WHOLE).read_bytes()
    (tmp_path / "x.dcm").write_bytes(raw[:6000])
    for read in (read_size, read_dicom_facts):
        with pytest.raises(ImageError, match=r"x.dcm: is 6,000 bytes, its pixels alone need 8,192; fetch it again"):
            read(tmp_path / "x.dcm")
    with pytest.raises(ImageError, match=r"x.dcm: its pixel data is .* of 8,192 bytes"):
        read_image(tmp_path / "x.dcm")
    assert read_size(get_testdata_file("image_dfl.dcm")) == (512, 512)  # deflated, 4,637 bytes


PIXELS = np.arange(12, dtype=np.uint16).reshape(3, 4)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["BitsAllocated"], "lacks BitsAllocated; have it exported again"),
        (["BitsStored", "PixelRepresentation"], "lacks BitsStored, PixelRepresentation;"),
        (["Rows"], "gives no Rows"),
        (["Rows", "Columns"], "gives no Rows and no Columns"),
        (["PixelData"], "has no pixel data"),
        (["PhotometricInterpretation"], r"has a photometric interpretation that is not read \(none is given\)"),
    ],
)
def test_a_missing_element_is_named(write_dicom, missing, said):
    path = write_dicom(PIXELS)
    dataset = pydicom.dcmread(path)
    for keyword in missing:
        del dataset[keyword]
    dataset.save_as(path, enforce_file_format=True)
    with pytest.raises(ImageError, match=f"x.dcm: {said}"):
        read_image(path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"PixelData": b"\0" * 16}, "its pixel data is 16 of 24 bytes; fetch it again"),
        ({"Rows": 2000}, "its pixel data is 24 of 16,000 bytes"),
        ({"BitsStored": 40}, "says BitsStored 40 and BitsAllocated 16, which cannot be"),
        ({"BitsStored": 0}, "says BitsStored 0 and BitsAllocated 16, which cannot be"),
        ({"BitsAllocated": 12}, r"says BitsAllocated 12, which must be 1, 8, 16, 32 or 64; have it exported uncomp"),
        ({"SamplesPerPixel": 2}, "says SamplesPerPixel 2, which must be 1 or 3"),
        ({"PixelRepresentation": 7}, "says PixelRepresentation 7, which must be 0 or 1"),
        ({"NumberOfFrames": 0}, "holds 0 frames, one is expected"),
        ({"NumberOfFrames": [1, 2]}, "holds 1 and 2 frames, one is expected"),
        ({"VOILUTSequence": [Dataset()]}, "its VOILUTSequence cannot be applied"),
        ({"ModalityLUTSequence": [Dataset()]}, "its ModalityLUTSequence cannot be applied"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "lacks PlanarConfiguration"),
    ],
)
def test_contradictions_are_told_in_numbers(write_dicom, header, said):
    with pytest.raises(ImageError, match=f"x.dcm: {said}"):
        read_image(write_dicom(PIXELS, **header))


def test_one_sample_is_what_a_file_means_that_does_not_say(write_dicom):
    path = write_dicom(PIXELS)
    dataset = pydicom.dcmread(path)
    del dataset.SamplesPerPixel
    dataset.save_as(path, enforce_file_format=True)
    assert np.allclose(read_image(path).pixels * 11, PIXELS)


@pytest.mark.parametrize(
    ("keyword", "value", "other", "expected"),
    [
        ("RescaleSlope", b"", {"RescaleIntercept": -3}, PIXELS - 3.0),
        ("RescaleIntercept", b"", {"RescaleSlope": 2}, PIXELS * 2.0),
        ("RescaleSlope", b"0 ", {"RescaleIntercept": 0}, PIXELS),
        ("RescaleSlope", b"0,5 ", {"RescaleIntercept": 0}, PIXELS / 2),
        ("RescaleIntercept", b"-1,25 ", {"RescaleSlope": 1}, PIXELS - 1.25),
    ],
)
def test_rescaling_that_is_empty_or_written_with_a_comma(write_dicom, keyword, value, other, expected):
    path = set_raw(write_dicom(PIXELS, **other, WindowCenter=4, WindowWidth=9), keyword, "DS", value)
    image = read_image(path)
    assert np.allclose(image.pixels, ((expected - 3.5) / 8 + 0.5).clip(0, 1), atol=1e-6)
    assert len(image.info["notes"]) == 1
    assert image.info["notes"][0].startswith(keyword)


@pytest.mark.parametrize(("centre", "width"), [(b"4,5 ", b"8 "), (b"4.5 ", b"8,0 "), (b"4,5\\7,5 ", b"8,0\\2 ")])
def test_a_window_written_with_a_comma(write_dicom, centre, width):
    path = set_raw(set_raw(write_dicom(PIXELS), "WindowCenter", "DS", centre), "WindowWidth", "DS", width)
    image = read_image(path)
    assert np.allclose(image.pixels, ((PIXELS - 4.0) / 7 + 0.5).clip(0, 1), atol=1e-6)
    assert all("decimal comma" in note for note in image.info["notes"])


@pytest.mark.parametrize("value", [b"1,000 ", b"-2,500", b"100,125 "])
def test_a_comma_that_may_part_thousands_is_not_guessed(write_dicom, value):
    path = set_raw(write_dicom(PIXELS, WindowWidth=5, WindowCenter=5), "WindowCenter", "DS", value)
    with pytest.raises(ImageError, match="its WindowCenter has a comma that may part decimals or thousands"):
        read_image(path)


@pytest.mark.parametrize("keyword", ["WindowCenter", "RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("value", [b"wide", b"1,2,3", b"1.000,5"])
def test_what_is_no_number_is_named(write_dicom, keyword, value):
    header = {"WindowWidth": 5, "WindowCenter": 5, "RescaleSlope": 1, "RescaleIntercept": 0}
    with pytest.raises(ImageError, match=f"x.dcm: its {keyword} is no number; fetch it again or leave it out"):
        read_image(set_raw(write_dicom(PIXELS, **header), keyword, "DS", value))
