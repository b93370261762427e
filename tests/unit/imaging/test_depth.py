"""Bit depth of 16-bit pictures: one overshooting pixel must not make a picture darker."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lgdea.errors import ImageError
from lgdea.imaging.depth import DEPTHS, bits_used, sample_depths, significant_bits
from lgdea.imaging.read import read_image


def save(path, values):
    Image.fromarray(np.asarray(values, np.uint16)).save(path)
    return path


def with_chunk(path, name, data):
    """Put a chunk behind the PNG header."""
    raw = path.read_bytes()
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(raw[:33] + chunk + raw[33:])
    return path


def smooth(white, size=200):
    y, x = np.mgrid[:size, :size] / size
    return np.rint((0.45 + 0.4 * np.sin(5 * x) * np.cos(4 * y)) * white)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("highest", [0, 1, 7, 300, 65535])
def test_a_few_pixels_above_white_change_nothing(tmp_path, bits, highest):
    white = 2**bits - 1
    values = smooth(white)
    plain = read_image(save(tmp_path / "plain.png", values)).pixels
    values[0, :3] = min(white + highest, 65535)
    image = read_image(save(tmp_path / "odd.png", values))
    assert image.info["bits"] == bits
    assert np.array_equal(image.pixels[1:], plain[1:])
    assert image.pixels.max() == 1


@pytest.mark.parametrize("scale", [0.37, 1.4, 2.3])
@pytest.mark.parametrize("kind", [Image.Resampling.LANCZOS, Image.Resampling.BICUBIC])
@pytest.mark.parametrize("bits", [10, 12])
def test_resampled_edges_overshoot(scale, kind, bits):
    white = 2**bits - 1
    drawn = Image.new("L", (300, 300))
    pen = ImageDraw.Draw(drawn)
    pen.rectangle([0, 0, 30, 300], fill=255)
    for y in range(20, 280, 40):
        pen.text((100, y), "PORTABLE AP ERECT 80 kV", fill=255)
    values = np.where(np.asarray(drawn) > 127, white, smooth(white, 300)).astype(np.float32)
    size = (round(300 * scale),) * 2
    resampled = np.asarray(Image.fromarray(values).resize(size, kind)).clip(0, 65535).round()
    assert resampled.max() > white
    assert bits_used(resampled) == bits


@pytest.mark.parametrize("factor", [1.0, 1.0003, 1.015])
def test_a_wide_white_area_may_be_a_little_too_bright(factor):
    values = smooth(4095)
    values[:, :60] = 4095 * factor
    assert bits_used(values) == 12


@pytest.mark.parametrize("bits", DEPTHS)
def test_a_depth_that_is_filled_is_found(bits):
    assert bits_used(np.linspace(0, 2**bits - 1, 999)) == bits
    assert bits_used(np.linspace(0, 2 ** (bits - 1) * 1.3, 999)) == bits


def test_small_bright_things_on_black_count(tmp_path):
    values = np.zeros((100, 100))
    values[3, 4] = 65535
    assert bits_used(values) == 16
    assert bits_used(np.zeros((3, 3))) == 8
    assert read_image(save(tmp_path / "x.png", values)).pixels.sum() == 1


def test_what_the_file_says_of_its_depth(tmp_path):
    dark = smooth(900)
    assert significant_bits(save(tmp_path / "x.png", dark)) is None
    assert read_image(tmp_path / "x.png").info["bits"] == 10
    with_chunk(tmp_path / "x.png", b"sBIT", b"\x0c")
    assert significant_bits(tmp_path / "x.png") == 12
    assert np.allclose(read_image(tmp_path / "x.png").pixels, dark / 4095, atol=1e-6)
    moved = with_chunk(save(tmp_path / "y.png", dark * 16), b"sBIT", b"\x0c")
    assert np.allclose(read_image(moved).pixels, dark * 16 / 65535, atol=1e-6)


def test_the_depth_of_an_archive_goes_before_the_pictures_own(tmp_path, ramp):
    dark = smooth(900)
    assert np.allclose(read_image(save(tmp_path / "x.png", dark), bits=12).pixels, dark / 4095, atol=1e-6)
    assert read_image(save(tmp_path / "y.png", smooth(65535)), bits=12).pixels.max() == 1
    Image.fromarray(ramp).save(tmp_path / "8.png")
    assert np.array_equal(read_image(tmp_path / "8.png", bits=12).pixels * 255, ramp)


def test_depths_of_some_files(tmp_path, ramp):
    files = [save(tmp_path / f"{i}.png", smooth(2**bits - 1)) for i, bits in enumerate((10, 12, 12, 14))]
    Image.fromarray(ramp).save(tmp_path / "8.png")
    (tmp_path / "text.png").write_text("no picture")
    assert sample_depths([*files, tmp_path / "8.png", tmp_path / "text.png", tmp_path / "none.png"]) == {
        10: 1,
        12: 2,
        14: 1,
    }


def wide_colour(path, values):
    """A PNG of 16 bits per channel, which Pillow does not write."""
    height, width = values.shape
    rows = b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in values)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def test_colour_of_16_bits_that_holds_12_is_refused_not_black(tmp_path):
    full = read_image(wide_colour(tmp_path / "full.png", smooth(65535).astype(np.uint16)))
    assert np.allclose(full.pixels, smooth(65535) / 65535, atol=1 / 128)
    with pytest.raises(
        ImageError, match=r"12.png: has 16-bit colour that does not fill its depth.*save it as 16-bit grey"
    ):
        read_image(wide_colour(tmp_path / "12.png", smooth(4095).astype(np.uint16)))
