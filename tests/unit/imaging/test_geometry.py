from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgdea.imaging.geometry import center_crop, fit, geometry, letterbox

sides = st.integers(1, 3000)
modes = st.sampled_from(["letterbox", "center_crop"])


@given(sides, sides, st.integers(1, 512), modes, st.lists(st.floats(-4000, 4000), min_size=4, max_size=4))
def test_a_box_goes_there_and_back(width, height, size, mode, box):
    frame = geometry(width, height, size, mode)
    assert np.allclose(frame.to_source_box(frame.to_model_box(box)), box, atol=1e-6)


@given(sides, sides, st.integers(1, 512))
def test_the_frame_holds_all_of_a_letterbox_and_is_filled_by_a_crop(width, height, size):
    x_min, y_min, x_max, y_max = letterbox(width, height, size).to_model_box([0, 0, width, height])
    assert min(x_min, y_min) >= -1e-9
    assert max(x_max, y_max) <= size + 1e-6
    x_min, y_min, x_max, y_max = center_crop(width, height, size).to_model_box([0, 0, width, height])
    assert max(x_min, y_min) <= 1e-9
    assert min(x_max, y_max) >= size - 1e-6


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 96), modes, st.integers(1, 12))
def test_a_map_is_nan_exactly_outside_the_frame(width, height, size, mode, cells):
    frame = geometry(width, height, size, mode)
    result = frame.map_to_source(np.ones((cells, cells)))
    assert result.shape == (height, width)
    x = (np.arange(width) + 0.5) * frame.scale + frame.offset_x
    y = (np.arange(height) + 0.5) * frame.scale + frame.offset_y
    inside = ((y >= 0) & (y <= size))[:, None] & ((x >= 0) & (x <= size))
    assert np.array_equal(np.isfinite(result), inside)
    assert np.all(result[inside] == 1)
    if mode == "letterbox":
        assert inside.all()


@pytest.mark.parametrize("mode", ["letterbox", "center_crop"])
@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (251, 250), (64, 64), (97, 331)])
def test_pixels_move_as_boxes_do(mode, width, height):
    """A bright rectangle lands where to_model_box says, to a fraction of a pixel."""
    side, x, y = min(width, height), width / 2, height / 2
    box = np.array([x - 0.1 * side, y - 0.3 * side, x + 0.2 * side, y + 0.1 * side]).round()
    pixels = np.zeros((height, width), dtype=np.float32)
    x_min, y_min, x_max, y_max = box.astype(int)
    pixels[y_min:y_max, x_min:x_max] = 1
    image, frame = fit(pixels, 64, mode)
    weight = image / image.sum()
    centre = [(weight * (np.arange(64) + 0.5)).sum(), (weight * (np.arange(64) + 0.5)[:, None]).sum()]
    expected = frame.to_model_box(box)
    assert centre == pytest.approx([(expected[0] + expected[2]) / 2, (expected[1] + expected[3]) / 2], abs=0.05)
    assert image.sum() / 255 == pytest.approx(np.prod(expected[2:] - expected[:2]), rel=0.02)


@pytest.mark.parametrize("mode", ["letterbox", "center_crop"])
def test_a_map_peaks_where_the_picture_does(mode):
    pixels = np.zeros((160, 240), dtype=np.float32)
    pixels[60:80, 100:120] = 1
    image, frame = fit(pixels, 96, mode)
    back = frame.map_to_source(image.reshape(24, 4, 24, 4).mean((1, 3)))
    y, x = np.unravel_index(np.nanargmax(back), back.shape)
    assert 58 <= y <= 82
    assert 98 <= x <= 122


def test_bilinear_values_between_cell_centres():
    frame = letterbox(8, 8, 8)
    row = frame.map_to_source(np.array([[0.0, 1.0], [0.0, 1.0]]))[0]
    assert np.allclose(row, [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])


def test_a_square_image_of_the_right_size_is_untouched(ramp):
    square = np.tile(ramp, (2, 2))[:40, :40]
    for mode in ("letterbox", "center_crop"):
        assert np.array_equal(fit(square, 40, mode)[0], square)
