from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lgdea.errors import ImageError, UsageError
from lgdea.models.inference import to_pixels
from lgdea.models.lgdea_model import LgdeaModel

Bright = Callable[[str], LgdeaModel]


def planted(width: int, height: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """A dark picture with a bright rectangle, uint8."""
    pixels = np.full((height, width), 30, dtype=np.uint8)
    x_min, y_min, x_max, y_max = box
    pixels[y_min:y_max, x_min:x_max] = 250
    return pixels


CASES = [
    (300, 200, (230, 30, 270, 70)),  # wide, upper right
    (300, 200, (60, 140, 100, 180)),  # wide, lower left
    (160, 320, (20, 90, 60, 130)),  # tall, upper left
    (160, 320, (100, 200, 140, 240)),  # tall, lower right
]


@pytest.mark.parametrize("mode", ["letterbox", "center_crop"])
@pytest.mark.parametrize(("width", "height", "box"), CASES)
def test_heat_map_peaks_in_the_planted_box_of_the_source(
    brightness_model: Bright, mode: str, width: int, height: int, box: tuple[int, int, int, int]
) -> None:
    model = brightness_model(mode)
    if mode == "center_crop":  # keep the square inside the crop
        middle = (width - 40) // 2 if width > height else box[0]
        upper = (height - 40) // 2 if height > width else box[1]
        box = ((middle + box[0]) // 2, (upper + box[1]) // 2, 0, 0)
        box = (box[0], box[1], box[0] + 40, box[1] + 40)
    heat = model.heat_map(planted(width, height, box), "opacity")
    assert heat.shape == (height, width)
    assert heat.dtype == np.float32
    row, column = np.unravel_index(np.nanargmax(heat), heat.shape)
    assert box[0] <= column < box[2]
    assert box[1] <= row < box[3]
    # The warm region covers the box and little else: registered to within one patch.
    warm = np.nan_to_num(heat, nan=-1) > (np.nanmax(heat) + np.nanmin(heat)) / 2
    truth = np.zeros_like(warm)
    truth[box[1] : box[3], box[0] : box[2]] = True
    assert (warm & truth).sum() / (warm | truth).sum() > 0.6


def test_heat_map_is_nan_exactly_outside_the_crop(brightness_model: Bright) -> None:
    heat = brightness_model("center_crop").heat_map(planted(300, 200, (120, 80, 160, 120)), "opacity")
    assert np.isnan(heat[:, :49]).all()
    assert np.isnan(heat[:, 251:]).all()
    assert not np.isnan(heat[:, 51:249]).any()
    assert not np.isnan(brightness_model("letterbox").heat_map(planted(300, 200, (9, 9, 60, 60)), "x")).any()


def test_mirroring_the_picture_mirrors_the_map(brightness_model: Bright) -> None:
    model = brightness_model("letterbox")
    pixels = planted(300, 200, (40, 30, 80, 70))
    heat, mirrored = model.heat_map(pixels, "x"), model.heat_map(pixels[:, ::-1], "x")
    np.testing.assert_allclose(mirrored, heat[:, ::-1], atol=0.02)


def test_evidence_boxes_lie_on_what_was_planted(brightness_model: Bright) -> None:
    model = brightness_model("letterbox")
    model.findings = ("pleural_effusion", "cardiomegaly")
    found = model.evidence(planted(300, 200, (230, 30, 270, 70)))
    assert {item["finding"] for item in found} == {"pleural_effusion", "cardiomegaly"}
    for item in found:
        assert 0 < item["probability"] < 1
        x_min, y_min, x_max, y_max = item["box"]
        assert abs(x_min - 230) < 26
        assert abs(x_max - 270) < 26
        assert abs(y_min - 30) < 26
        assert abs(y_max - 70) < 26


def test_evidence_lists_each_finding_once_most_probable_first(make_model: Callable[..., LgdeaModel]) -> None:
    model = make_model()
    found = model.evidence(np.random.default_rng(0).random((70, 80)), top=6)
    scores = [item["probability"] for item in found]
    assert len({item["finding"] for item in found}) == len(found) == 6
    assert scores == sorted(scores, reverse=True)
    assert set(found[0]) == {"finding", "phrase", "laterality", "probability", "box"}
    assert all(item["box"] is None for item in make_model(scoring="global").evidence(np.zeros((70, 80)), top=3))


def test_path_picture_and_array_give_the_same_embedding(make_model: Callable[..., LgdeaModel], tmp_path: Path) -> None:
    model = make_model()
    pixels = np.random.default_rng(0).integers(0, 256, size=(90, 70), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.png")
    forms = [tmp_path / "a.png", str(tmp_path / "a.png"), picture, pixels, pixels / 255]
    embeddings = model.encode_image(forms)
    assert embeddings.shape == (5, model.embedding_dim)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, np.repeat(embeddings[:1], 5, axis=0), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(model.encode_image(picture).shape, (1, model.embedding_dim))
    assert model.encode_image([]).shape == (0, model.embedding_dim)


def test_sixteen_bit_and_colour_pictures_are_scaled_as_from_a_file(tmp_path: Path) -> None:
    deep = (np.random.default_rng(0).random((20, 30)) * 4095).astype(np.uint16)
    deep[0, 0] = 4095
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_allclose(to_pixels(deep), to_pixels(tmp_path / "deep.png"), atol=1e-6)
    np.testing.assert_allclose(to_pixels(Image.open(tmp_path / "deep.png")), deep / 4095, atol=1e-6)
    colour = np.zeros((4, 5, 3), dtype=np.uint8)
    colour[..., 1] = 255
    np.testing.assert_allclose(to_pixels(colour), 0.587, atol=1e-6)
    clear = Image.new("RGBA", (5, 4), (255, 255, 255, 0))
    assert to_pixels(clear).max() == 0


def test_text_embeddings_do_not_depend_on_their_batch(make_model: Callable[..., LgdeaModel]) -> None:
    model = make_model()
    texts = ["No effusion.", "Moderate left pleural effusion with compressive atelectasis."]
    together = model.encode_text(texts * 40)
    assert together.shape == (80, model.embedding_dim)
    np.testing.assert_allclose(together[0], model.encode_text(texts[0])[0], atol=1e-5)
    assert model.encode_text([]).shape == (0, model.embedding_dim)


def test_what_is_no_image_is_one_clear_line(make_model: Callable[..., LgdeaModel], tmp_path: Path) -> None:
    model = make_model()
    with pytest.raises(ImageError, match=r"\(H, W\)"):
        model.encode_image(np.zeros((2, 3, 64, 64)))
    with pytest.raises(ImageError, match=r"in \[0, 1\]"):
        model.encode_image(np.full((64, 64), 3.0))
    with pytest.raises(ImageError, match=r"nothing\.png"):
        model.encode_image(tmp_path / "nothing.png")
    model.preprocess = None
    with pytest.raises(UsageError, match="no preprocessing"):
        model.heat_map(np.zeros((64, 64)), "opacity")


def test_training_mode_survives_the_questions(make_model: Callable[..., LgdeaModel]) -> None:
    model = make_model().train()
    first = model.encode_image(np.zeros((64, 64)))
    np.testing.assert_array_equal(first, model.encode_image(np.zeros((64, 64))))
    assert model.training
    assert torch.is_grad_enabled()
