"""What archives meet in DICOM files, and that nothing private of a header gets out."""

from __future__ import annotations

import io
import logging
import traceback
import warnings

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit, JPEGLosslessSV1, generate_uid

from lgdea.errors import ImageError
from lgdea.imaging.dicom import DicomFacts, read_dicom_facts
from lgdea.imaging.dicom_pixels import window
from lgdea.imaging.read import read_image, read_size


def jpeg(write_dicom, ramp, syntax=JPEGBaseline8Bit):
    """A file as the RSNA and SIIM challenges have them: 8 bits, JPEG baseline, no window."""
    import pydicom

    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "JPEG", quality=100)
    path = write_dicom(ramp, BitsAllocated=8, BitsStored=8, HighBit=7)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([buffer.getvalue()])
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_eight_bit_jpeg_inside_dicom(write_dicom, ramp):
    image = read_image(jpeg(write_dicom, ramp))
    low, high = int(ramp.min()), int(ramp.max())
    assert np.allclose(image.pixels, (ramp.astype(float) - low) / (high - low), atol=3 / 255)
    assert image.info["bits"] == 8


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_bit_depth_comes_from_the_header_and_unused_bits_do_not_count(write_dicom, bits):
    rng = np.random.default_rng(bits)
    values = rng.integers(0, 2**bits, (6, 5)).astype(np.uint16)
    stray = values | np.uint16(0 if bits == 16 else 1 << 15)  # old overlays lie in the unused bits
    header = {"BitsStored": bits, "HighBit": bits - 1, "WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits}
    image = read_image(write_dicom(stray, **header))
    assert image.info["bits"] == bits
    assert np.allclose(image.pixels, values / (2**bits - 1), atol=1e-4)


def test_signed_values(write_dicom):
    values = np.array([[-1000, 0], [500, 1000]], dtype=np.int16)
    path = write_dicom(values, PixelRepresentation=1, BitsStored=16, HighBit=15, PixelData=values.tobytes())
    assert np.allclose(read_image(path).pixels, [[0, 0.5], [0.75, 1]])


def test_the_first_of_several_windows_and_a_malformed_one(write_dicom, ramp):
    values = ramp.astype(np.uint16) * 8
    plain = read_image(write_dicom(values))
    assert read_image(write_dicom(values, WindowCenter=800, WindowWidth=0)).info["scaling"] == "range"
    assert np.array_equal(read_image(write_dicom(values, WindowCenter="", WindowWidth="")).pixels, plain.pixels)
    exact = read_image(write_dicom(values, WindowCenter=800, WindowWidth=400, VOILUTFunction="LINEAR_EXACT"))
    assert np.allclose(exact.pixels, ((values - 800.0) / 400 + 0.5).clip(0, 1), atol=1e-6)


def test_a_window_inverts_with_monochrome1_after_it_is_applied(write_dicom, ramp):
    values, header = ramp.astype(np.uint16) * 8, {"WindowCenter": 600, "WindowWidth": 500}
    plain = read_image(write_dicom(values, **header))
    inverted = read_image(write_dicom(values, **header, PhotometricInterpretation="MONOCHROME1"))
    assert 0 < (plain.pixels == 0).mean() < 1
    assert np.allclose(inverted.pixels, 1 - plain.pixels)


def test_sigmoid_far_outside_the_window_does_not_overflow():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert window(np.array([-1e6, 1e6], dtype=np.float32), 0, 1, "SIGMOID").tolist() == pytest.approx([0, 1])


def table(entries: np.ndarray, first: int, bits: int) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return Sequence([item])


def test_a_voi_table_of_more_than_256_entries_of_8_bits(write_dicom):
    values = np.array([[0, 255], [256, 1023]], dtype=np.uint16)
    entries = np.arange(1024) // 4
    image = read_image(write_dicom(values, VOILUTSequence=table(entries, 0, 8)))
    assert np.allclose(image.pixels, entries[values] / 255)


def test_a_voi_table_of_rescaled_values_clips_at_its_ends(write_dicom):
    values = np.array([[0, 900], [1000, 1500]], dtype=np.uint16)
    header = {"RescaleSlope": 1, "RescaleIntercept": -1000, "VOILUTSequence": table(np.arange(201) * 20, -100, 12)}
    assert np.allclose(read_image(write_dicom(values, **header)).pixels * 4095, [[0, 0], [2000, 4000]])


def test_a_range_of_padding_is_black_and_does_not_set_the_scale(write_dicom):
    values = np.array([[0, 3, 4000], [100, 200, 300]], dtype=np.uint16)
    image = read_image(write_dicom(values, PixelPaddingValue=0, PixelPaddingRangeLimit=5))
    assert np.allclose(image.pixels[0, :2], 0)
    assert image.pixels[0, 2] == 1
    assert image.pixels[1, 0] == 0


@pytest.mark.parametrize(("bits", "planar"), [(8, 0), (8, 1), (12, 0)])
def test_colour_is_scaled_by_its_stored_bits(write_dicom, bits, planar):
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 2**bits, (4, 5, 3))
    stored = (colour.transpose(2, 0, 1) if planar else colour).astype("u1" if bits == 8 else "<u2")
    header = {
        "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": planar,
        "BitsAllocated": 8 if bits == 8 else 16, "BitsStored": bits, "HighBit": bits - 1, "PixelData": stored.tobytes(),
    }  # fmt: skip
    image = read_image(write_dicom(np.zeros((4, 5), dtype=np.uint16), **header))
    assert np.allclose(image.pixels, colour @ [0.299, 0.587, 0.114] / (2**bits - 1), atol=1e-5)
    assert image.info["mode"] == "RGB"


def test_colours_by_palette_are_refused(write_dicom, ramp):
    with pytest.raises(ImageError, match=r"interpretation that is not read \(PALETTE COLOR\); export it as"):
        read_image(write_dicom(ramp.astype(np.uint16), PhotometricInterpretation="PALETTE COLOR"))


def test_a_compression_that_is_not_there_is_named(write_dicom, ramp):
    path = jpeg(write_dicom, ramp, JPEGLosslessSV1)
    from pydicom.pixels import get_decoder

    if get_decoder(JPEGLosslessSV1).is_available:
        pytest.skip("a lossless JPEG decoder is installed")
    with pytest.raises(ImageError, match=r"its compression \(JPEG Lossless.*\) cannot be decoded here; pip install"):
        read_image(path)


def test_several_frames_are_refused_from_the_header_too(write_dicom):
    path = write_dicom(np.zeros((3, 4, 4), dtype=np.uint16))
    for read in (read_image, read_size, read_dicom_facts):
        with pytest.raises(ImageError, match="holds 3 frames, one is expected"):
            read(path)


def test_facts_are_closed_words_and_a_digest(write_dicom):
    pixels = np.zeros((4, 6), dtype=np.uint16)
    path = write_dicom(pixels, PatientSex="F", PatientAge="061Y", ViewPosition="PA", Modality="DX", PatientID="p-1")
    facts = read_dicom_facts(path)
    assert (facts.width, facts.height, facts.sex, facts.age, facts.view, facts.modality) == (
        6, 4, "F", "061Y", "PA", "DX",
    )  # fmt: skip
    assert facts.patient != "p-1"
    assert facts.patient == read_dicom_facts(write_dicom(pixels, name="y.dcm", PatientID="p-1")).patient
    assert facts.patient != read_dicom_facts(write_dicom(pixels, name="y.dcm", PatientID="p-2")).patient
    assert read_dicom_facts(write_dicom(pixels)) == DicomFacts(6, 4)


PRIVATE = "MARKER^PRIVATE"
ANYWHERE = {
    "PatientName": PRIVATE, "PatientComments": PRIVATE, "ImageComments": PRIVATE, "PatientSex": PRIVATE,
    "PatientAge": PRIVATE, "ViewPosition": PRIVATE, "Modality": PRIVATE, "StudyDescription": PRIVATE,
    "PatientBirthDate": PRIVATE, "VOILUTFunction": PRIVATE,
}  # fmt: skip
BREAKING = [
    {"PhotometricInterpretation": PRIVATE}, {"WindowCenter": PRIVATE, "WindowWidth": "7"},
    {"RescaleSlope": PRIVATE, "RescaleIntercept": "0"},
    {"NumberOfFrames": PRIVATE}, {"PlanarConfiguration": None, "PixelData": b"\0" * 3}, {"BitsStored": 40},
]  # fmt: skip


@pytest.mark.parametrize("broken", [{}, *BREAKING], ids=lambda broken: next(iter(broken), "whole"))
def test_nothing_of_a_private_header_gets_out(write_dicom, ramp, caplog, broken):
    """Not in what is returned, not in errors and their causes, warnings, or the log."""
    import pydicom.config

    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        header = ANYWHERE | {k: v for k, v in broken.items() if v != PRIVATE and v is not None}
        path = write_dicom(ramp.astype(np.uint16), **header)
        raw = [k for k, v in broken.items() if v == PRIVATE]
        if raw:
            dataset = pydicom.dcmread(path)
            for key in raw:
                element = pydicom.dataelem.RawDataElement(
                    pydicom.tag.Tag(key), pydicom.datadict.dictionary_VR(key), 14, PRIVATE.encode(), 0, False, True
                )
                dataset._dict[element.tag] = element
            dataset.save_as(path, enforce_file_format=True)
    assert PRIVATE.encode() in path.read_bytes()
    said = []
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for read in (read_image, read_size, read_dicom_facts):
            try:
                result = read(path)
                said.append(repr(getattr(result, "info", result)))
            except ImageError as error:
                said.append("".join(traceback.format_exception(error)))  # with all causes that a user would see
        said += [str(w.message) for w in warned] + [record.getMessage() for record in caplog.records]
    assert len(said) >= 3
    assert not [text for text in said if "MARKER" in text]
    if broken:
        with pytest.raises(ImageError, match=r"x\.dcm: "):
            read_image(path)


def test_an_unknown_compression_is_not_quoted(write_dicom, ramp):
    import pydicom

    path = write_dicom(ramp.astype(np.uint16))
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([b"\0\0"])
    dataset.file_meta.TransferSyntaxUID = generate_uid()
    private = str(dataset.file_meta.TransferSyntaxUID)
    dataset.save_as(path, enforce_file_format=True, implicit_vr=False, little_endian=True)
    with pytest.raises(ImageError) as error:
        read_image(path)
    assert private not in str(error.value)
