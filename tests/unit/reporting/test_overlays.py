from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from lgdea.reporting.overlays import MAX_ALPHA, data_uri, heat_layer, heat_rgba, overlay, photo
from lgdea.reporting.palette import BOX


def test_nan_is_transparent_and_the_maximum_is_most_opaque() -> None:
    heat = np.array([[np.nan, 0.0], [0.5, 1.0]], dtype=np.float32)
    alpha = heat_rgba(heat)[..., 3]
    assert alpha.tolist() == [[0, 0], [round(MAX_ALPHA * 0.25 * 255), round(MAX_ALPHA * 255)]]


@pytest.mark.parametrize("heat", [np.full((3, 4), 0.7), np.full((3, 4), np.nan), np.full((3, 4), np.inf)])
def test_a_map_without_contrast_is_transparent(heat: np.ndarray) -> None:
    assert heat_rgba(heat)[..., 3].max() == 0


def test_scaling_a_map_changes_no_colour() -> None:
    heat = np.random.default_rng(0).normal(size=(8, 8))
    assert np.array_equal(heat_rgba(heat), heat_rgba(5 * heat - 2))


def test_the_layer_is_a_small_png_of_the_same_shape() -> None:
    layer = Image.open(io.BytesIO(heat_layer(np.random.default_rng(0).random((512, 1024)), max_side=64)))
    assert layer.format == "PNG"
    assert layer.mode == "RGBA"
    assert layer.size == (64, 32)


def test_the_peak_stays_where_it_is() -> None:
    heat = np.zeros((400, 400))
    heat[300:320, 100:120] = 1
    layer = np.asarray(Image.open(io.BytesIO(heat_layer(heat, max_side=100))))[..., 3]
    y, x = np.unravel_index(layer.argmax(), layer.shape)
    assert (24 <= x < 31, 74 <= y < 81) == (True, True)


def test_a_box_frames_its_half_open_pixels() -> None:
    picture = np.asarray(overlay(np.zeros((64, 64)), boxes=[(16, 16, 48, 32)], max_side=64))
    blue = (picture == [int(BOX[i : i + 2], 16) for i in (1, 3, 5)]).all(-1)
    ys, xs = np.nonzero(blue)
    assert (xs.min(), xs.max() + 1, ys.min(), ys.max() + 1) == (16, 48, 16, 32)
    assert not blue[20:28, 20:44].any()


def test_boxes_scale_with_the_picture() -> None:
    picture = overlay(np.zeros((100, 50)), boxes=[(10, 20, 30, 40)], max_side=400)
    assert picture.size == (200, 400)
    assert np.asarray(picture)[80:160, 40:120].any()
    assert not np.asarray(picture)[200:].any()


def test_outside_the_crop_the_image_is_unchanged() -> None:
    pixels = np.full((32, 32), 0.5)
    heat = np.tile(np.linspace(0, 1, 32), (32, 1))
    heat[:, :8] = np.nan
    picture = np.asarray(overlay(pixels, heat=heat, max_side=32)).astype(int)
    assert np.abs(picture[:, :6] - 128).max() <= 1
    assert (picture[:, -1] != 128).any()


def test_data_uri_names_what_it_holds() -> None:
    pixels = np.random.default_rng(0).random((16, 16))
    assert data_uri(photo(pixels)).startswith("data:image/jpeg;base64,")
    uri = data_uri(heat_layer(pixels))
    assert uri.startswith("data:image/png;base64,")
    assert base64.b64decode(uri.split(",")[1]) == heat_layer(pixels)
