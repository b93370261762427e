import numpy as np
import pytest

from lgdea.errors import ConfigError
from lgdea.evaluation.config import FeaturesConfig
from lgdea.evaluation.markers import MARKERS, Marker, burn
from lgdea.evaluation.tasks.common import resolve


def changed(pixels, marker):
    rows, columns = np.nonzero(burn(pixels, marker) != pixels)
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


@pytest.mark.parametrize("marker", MARKERS, ids=lambda m: m.text)
def test_a_marker_stands_in_its_corner_at_its_size(marker):
    pixels = np.full((1000, 800), 0.25, np.float32)
    top, bottom, left, right = changed(pixels, marker)
    assert bottom - top == pytest.approx(1000 * marker.height, abs=4 if ":" not in marker.text else 8)
    assert (top < 100) == marker.corner.startswith("top")
    assert (bottom > 900) == marker.corner.startswith("bottom")
    assert (left < 100) == marker.corner.endswith("left")
    assert (right > 700) == marker.corner.endswith("right")
    assert burn(pixels, marker).max() == 1.0
    assert (pixels == 0.25).all()


def test_a_white_corner_hides_the_marker():
    assert (burn(np.ones((50, 50), np.float32), MARKERS[0]) == 1).all()


def test_a_long_text_is_set_smaller_in_a_narrow_picture():
    marker = Marker(text="A LONG LINE OF WORDS", corner="bottom left", height=0.1)
    top, bottom, left, right = changed(np.zeros((400, 120), np.float32), marker)
    assert right - left <= 0.46 * 120
    assert bottom - top < 40


@pytest.mark.parametrize("shape", [(20, 24), (5, 5), (1, 1), (3, 200)])
def test_tiny_pictures_take_what_fits(shape):
    for marker in MARKERS:
        result = burn(np.zeros(shape, np.float32), marker)
        assert result.shape == shape
        assert np.isfinite(result).all()
        assert result.max() > 0 or min(shape) < 5


def test_a_corner_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="corner"):
        resolve(FeaturesConfig, None, {"markers": [{"text": "L", "corner": "middle", "height": 0.1}]})
