from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lgdea.errors import ImageError
from lgdea.imaging.dicom_pixels import window
from lgdea.imaging.read import read_image, read_size


def test_eight_bit_grey_is_exact(tmp_path, ramp):
    Image.fromarray(ramp).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    assert image.pixels.dtype == np.float32
    assert np.array_equal(image.pixels * 255, ramp)
    assert (image.width, image.height) == (30, 20) == read_size(tmp_path / "x.png")
    assert image.info == {"format": "PNG", "mode": "L", "bits": 8}


@pytest.mark.parametrize(("largest", "bits"), [(1023, 10), (4095, 12), (4600, 14), (65535, 16), (200, 8)])
def test_sixteen_bit_is_scaled_by_the_depth_it_uses(tmp_path, largest, bits):
    values = np.linspace(0, largest, 20 * 30).reshape(20, 30).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    assert image.info["bits"] == bits
    assert np.allclose(image.pixels, values / (2**bits - 1), atol=1e-6)
    assert image.pixels.max() <= 1


def test_a_palette_image_shows_its_colours_not_its_indices(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(tmp_path / "x.png")
    assert np.all(read_image(tmp_path / "x.png").pixels == 1)


def test_transparency_lies_on_black(tmp_path, ramp):
    alpha = np.full_like(ramp, 255)
    alpha[:, :10] = 0
    Image.merge("LA", [Image.fromarray(ramp), Image.fromarray(alpha)]).save(tmp_path / "x.png")
    pixels = read_image(tmp_path / "x.png").pixels
    assert np.all(pixels[:, :10] == 0)
    assert np.allclose(pixels[:, 10:] * 255, ramp[:, 10:], atol=1)


def test_colour_and_jpeg_become_luminance(tmp_path, ramp):
    Image.merge("RGB", [Image.fromarray(ramp)] * 3).save(tmp_path / "x.jpg", quality=100)
    Image.merge("CMYK", [Image.fromarray(255 - ramp)] * 3 + [Image.new("L", (30, 20))]).save(tmp_path / "cmyk.jpg")
    assert np.allclose(read_image(tmp_path / "x.jpg").pixels * 255, ramp, atol=3)
    assert np.allclose(read_image(tmp_path / "cmyk.jpg").pixels * 255, ramp, atol=8)


def test_one_bit_masks(tmp_path):
    Image.fromarray(np.eye(5, dtype=bool)).save(tmp_path / "x.png")
    assert np.array_equal(read_image(tmp_path / "x.png").pixels, np.eye(5))


def test_monochrome1_is_inverted(write_dicom, ramp):
    values = ramp.astype(np.uint16) * 10
    plain = read_image(write_dicom(values))
    inverted = read_image(write_dicom(values, PhotometricInterpretation="MONOCHROME1"))
    assert np.allclose(inverted.pixels, 1 - plain.pixels, atol=1e-6)
    assert plain.pixels[0, 0] == 0
    assert plain.pixels[-1, -1] == 1
    assert inverted.info["photometric"] == "MONOCHROME1"
    assert read_size(write_dicom(values)) == (30, 20)


def test_the_window_is_applied_after_rescaling(write_dicom, ramp):
    path = write_dicom(
        ramp.astype(np.uint16), RescaleSlope=2, RescaleIntercept=-100, WindowCenter=[100, 7], WindowWidth=[101, 7]
    )
    image = read_image(path)
    expected = ((ramp.astype(float) * 2 - 100 - 99.5) / 100 + 0.5).clip(0, 1)
    assert np.allclose(image.pixels, expected, atol=1e-5)
    assert image.info["scaling"] == "window"


def test_window_functions():
    values = np.array([-10.0, 0.0, 50.0, 100.0, 110.0])
    assert window(values, 50, 100, "LINEAR_EXACT").tolist() == [0, 0, 0.5, 1, 1]
    assert window(values, 50, 100, "SIGMOID")[2] == 0.5
    assert window(np.array([49.0, 50.0]), 50, 1).tolist() == [0.0, 0.5]


def test_a_voi_table_is_applied(write_dicom):
    table = Dataset()
    table.LUTDescriptor = [4, 0, 8]
    table.add_new("LUTData", "OW", np.array([0, 255, 51, 102], dtype="<u2").tobytes())
    values = np.array([[0, 1], [2, 3]], dtype=np.uint16)
    image = read_image(write_dicom(values, VOILUTSequence=Sequence([table])))
    assert np.allclose(image.pixels, [[0, 1], [0.2, 0.4]])


def test_padding_is_black_whatever_the_photometric(write_dicom):
    values = np.array([[0, 100], [200, 300]], dtype=np.uint16)
    image = read_image(write_dicom(values, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0))
    assert np.allclose(image.pixels, [[0, 1], [0.5, 0]])


def test_several_frames_are_refused(write_dicom):
    path = write_dicom(np.zeros((2, 4, 4), dtype=np.uint16))
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=r"x.dcm: holds 2 frames, one is expected; export the frame"):
            read(path)


def test_what_cannot_be_read_gives_one_line(tmp_path, ramp, write_dicom):
    good = tmp_path / "good.png"
    Image.fromarray(np.tile(ramp, (20, 20)) + np.random.default_rng(0).integers(0, 9, (400, 600), np.uint8)).save(good)
    whole = good.read_bytes()
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    (tmp_path / "flipped.png").write_bytes(flipped)
    (tmp_path / "header.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing follows")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("<html>404</html>")
    Image.fromarray(ramp).save(tmp_path / "y.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "y.jpg").read_bytes()[:300])
    Image.fromarray(ramp).save(tmp_path / "x.gif")
    dicom = write_dicom(ramp.astype(np.uint16)).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(dicom[:-500])
    (tmp_path / "text.dcm").write_text("no dicom")
    (tmp_path / "folder.png").mkdir()
    names = ["truncated.png", "flipped.png", "header.png", "empty.png", "text.jpg", "cut.jpg", "x.gif", "cut.dcm",
             "text.dcm", "folder.png", "missing.png"]  # fmt: skip
    for name in names:
        with pytest.raises(ImageError) as error:
            read_image(tmp_path / name)
        message = str(error.value)
        assert "\n" not in message
        assert message.startswith(str(tmp_path / name) + ": ")
        assert "; " in message, "no remedy"


def test_dicom_without_pixels(write_dicom):
    path = write_dicom(np.zeros((4, 4), dtype=np.uint16), PixelData=None)
    with pytest.raises(ImageError):
        read_image(path)
