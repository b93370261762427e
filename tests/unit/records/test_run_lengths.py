from __future__ import annotations

import numpy as np
import pytest

from lgdea.records.adapters.run_lengths import component_boxes, decode


def slowly(text: str, width: int, height: int) -> np.ndarray:
    """Pixel by pixel down the columns, each skip counted from the end of the run before."""
    mask = np.zeros((height, width), dtype=bool)
    numbers, place = [int(word) for word in text.split()], 0
    for skip, length in zip(numbers[::2], numbers[1::2], strict=True):
        place += skip
        for _ in range(length):
            column, row = divmod(place, height)
            mask[row, column] = True
            place += 1
    return mask


def encode(mask: np.ndarray) -> str:
    words, last, flat = [], 0, mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(int), [0]])))
    for start, end in edges.reshape(-1, 2):
        words += [str(start - last), str(end - start)]
        last = end
    return " ".join(words)


@pytest.mark.parametrize(
    ("text", "width", "height", "pixels"),
    [
        ("1 2", 3, 4, [(1, 0), (2, 0)]),  # down the first column
        ("3 2", 3, 4, [(3, 0), (0, 1)]),  # and on at the top of the second
        ("1 1 2 1", 3, 4, [(1, 0), (0, 1)]),  # the second skip counts from the end of the first run
        ("11 1", 3, 4, [(3, 2)]),
        ("0 1 0 1", 3, 4, [(0, 0), (1, 0)]),
        ("2 0 1 1", 3, 4, [(3, 0)]),
        ("", 3, 4, []),
    ],
)
def test_columns_first_and_relative(text, width, height, pixels):
    mask = decode(text, width, height)
    assert mask.shape == (height, width)
    assert list(zip(*np.nonzero(mask), strict=True)) == sorted(pixels)


@pytest.mark.parametrize("seed", range(8))
def test_it_decodes_as_the_slow_loop_does_and_undoes_encoding(seed):
    rng = np.random.default_rng(seed)
    width, height = rng.integers(1, 30, 2)
    mask = rng.random((height, width)) < rng.choice([0.05, 0.5, 0.95])
    code = encode(mask)
    assert np.array_equal(decode(code, width, height), mask)
    assert np.array_equal(slowly(code, width, height), mask)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1", "1 numbers, not pairs"), ("a 1", "'a' is no whole number"), ("-1 2", "'-1' is no whole"),
        ("1.5 2", "'1.5' is no whole"), ("0 13", "leaves the image of 3x4"), ("12 1", "leaves the image"),
        ("9 2 1 1", "leaves the image"), ("9" * 18 + " " + "9" * 18, "leaves the image"), ("9" * 40 + " 1", "no whole"),
    ],
)  # fmt: skip
def test_what_is_no_code_of_the_image(text, message):
    with pytest.raises(ValueError, match=message):
        decode(text, 3, 4)


def test_boxes_of_components_are_half_open_and_join_at_corners():
    mask = np.zeros((8, 10), dtype=bool)
    mask[1, 1] = mask[2, 2] = mask[2, 3] = True
    mask[5:8, 9] = True
    assert component_boxes(mask) == [(1, 1, 4, 3), (9, 5, 10, 8)]
    assert component_boxes(np.zeros((3, 3), dtype=bool)) == []
    assert component_boxes(np.ones((2, 3), dtype=bool)) == [(0, 0, 3, 2)]
