from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from lgdea.errors import DataError, UsageError
from lgdea.imaging.cache import build_cache
from lgdea.imaging.read import PixelImage
from lgdea.imaging.transforms import Augment, Preprocess, _grid, undo_affine

STILL = {"rotate_degrees": 0, "scale": 0, "translate": 0, "brightness": 0, "contrast": 0, "noise": 0, "erase": 0}


def only(**strengths: float) -> Augment:
    return Augment(**{**STILL, **strengths})


@pytest.fixture
def blob() -> torch.Tensor:
    """(32, 1, 64, 64): a smooth blob off the centre."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    return torch.exp(-((x - 44) ** 2 + (y - 28) ** 2) / 60)[None, None].repeat(32, 1, 1, 1)


def test_preprocess_is_stored_and_comes_back():
    preprocess = Preprocess(size=48, mean=0.4, std=0.2, mode="center_crop")
    assert Preprocess.from_dict(preprocess.to_dict()) == preprocess
    with pytest.raises(DataError, match=r"preprocess.json: does not describe preprocessing"):
        Preprocess.from_dict({"size": 48, "colour": True})
    with pytest.raises(UsageError, match="makes no sense"):
        Preprocess(size=48, std=0)


def test_fresh_cached_float_and_uint8_pixels_agree(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (50, 70), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    preprocess = Preprocess(size=32)
    cache = build_cache([("x", tmp_path / "x.png")], tmp_path / "cache", 32, 1)
    fresh, geometry = preprocess(pixels)
    assert fresh.shape == (1, 32, 32)
    assert fresh.dtype == torch.float32
    assert torch.equal(preprocess(PixelImage(pixels.astype(np.float32) / 255))[0], fresh)
    assert torch.equal(preprocess.normalise(torch.from_numpy(cache[0].copy())[None]), fresh)
    assert geometry == cache.geometry(0)
    assert float(preprocess.normalise(torch.tensor(255, dtype=torch.uint8))) == pytest.approx(2)


def test_no_strength_no_change(blob):
    assert torch.equal(only()(blob), blob)
    bytes_in = (blob * 255).byte()
    assert torch.equal(only()(bytes_in), bytes_in.float() / 255)


def test_samples_differ_and_the_seed_decides(blob):
    augment = Augment()
    one = augment(blob, torch.Generator().manual_seed(1))
    assert torch.equal(one, augment(blob, torch.Generator().manual_seed(1)))
    assert not torch.equal(one, augment(blob, torch.Generator().manual_seed(2)))
    assert (one[0] - one[1]).abs().max() > 0.1
    assert one.min() >= 0
    assert one.max() <= 1
    assert one.shape == blob.shape


def test_the_patients_left_stays_left(blob):
    strong = only(rotate_degrees=15, scale=0.2, translate=0.1)
    assert (strong(blob)[..., 32:].sum((1, 2, 3)) > strong(blob)[..., :32].sum((1, 2, 3))).all()


def centre(images: torch.Tensor) -> torch.Tensor:
    weight = images / images.sum((2, 3), keepdim=True)
    axis = torch.arange(64.0)
    return torch.stack([(weight.sum(2) * axis).sum(-1), (weight.sum(3) * axis).sum(-1)], -1)[:, 0]


def test_strengths_mean_what_they_say(blob):
    torch.manual_seed(0)
    shift = (centre(only(translate=0.1)(blob)) - centre(blob)).abs()
    assert 3 < shift.max() <= 6.4 + 0.1  # 10% of 64 pixels
    middle = torch.tensor([31.5, 31.5])
    before, after = centre(blob) - middle, centre(only(rotate_degrees=20)(blob)) - middle
    assert torch.allclose(before.norm(dim=1), after.norm(dim=1), atol=0.1)
    turned = torch.rad2deg(torch.atan2(after[:, 1], after[:, 0]) - torch.atan2(before[:, 1], before[:, 0]))
    assert 10 < turned.abs().max() <= 20.1
    zoom = (centre(only(scale=0.2)(blob)) - middle).norm(dim=1) / before.norm(dim=1)
    assert 0.79 < zoom.min() < 0.9
    assert 1.1 < zoom.max() < 1.21
    grey = torch.full((64, 1, 8, 8), 0.5)
    assert 0.05 < (only(brightness=0.1)(grey) - 0.5).abs().max() <= 0.1
    assert torch.allclose(only(contrast=0.3)(grey), grey)
    assert only(noise=0.1)(grey.repeat(1, 1, 8, 8)).std(dim=(1, 2, 3)).max() < 0.105
    assert torch.equal(only(erase=0.5)(grey), grey)


def test_erase_takes_a_rectangle_from_about_its_share_of_samples():
    images = torch.zeros(400, 1, 40, 40)
    images[..., ::2] = 1
    changed = only(erase=0.25)(images, torch.Generator().manual_seed(0)) != images
    share = changed.float().mean((1, 2, 3))
    assert 0.18 < (share > 0).float().mean() < 0.32
    assert share.max() < 0.2
    assert share[share > 0].min() > 0.005


def test_maps_come_back_to_where_they_were(blob):
    torch.manual_seed(0)
    moved, affine = only(rotate_degrees=15, scale=0.2, translate=0.1).with_affine(blob)
    back = undo_affine(moved, affine)
    known = back.isfinite()
    assert 0.5 < known.float().mean() < 1
    assert (back - blob)[known].abs().mean() < 0.005
    assert (moved - blob).abs().mean() > 0.02
    patches = undo_affine(torch.nn.functional.avg_pool2d(moved, 8), affine).nan_to_num()
    spread = torch.nn.functional.interpolate(patches, size=64)
    assert (centre(spread) - centre(blob)).norm(dim=1).mean() < 3


def test_frames_need_not_be_square():
    wide = torch.zeros(16, 1, 40, 80)
    wide[:, :, 18:22, 60:64] = 1  # 22 pixels right of the centre
    turned = only(rotate_degrees=45)(wide, torch.Generator().manual_seed(0))
    axis_y, axis_x = torch.arange(40.0) - 19.5, torch.arange(80.0) - 39.5
    weight = turned / turned.sum((2, 3), keepdim=True)
    radius = torch.hypot((weight.sum(3) * axis_y).sum(-1), (weight.sum(2) * axis_x).sum(-1))
    assert torch.allclose(radius, torch.full_like(radius, 22.0), atol=0.7)


def test_the_grid_is_torchs_own():
    affine = torch.randn(5, 2, 3)
    like = torch.zeros(5, 1, 7, 11)
    expected = torch.nn.functional.affine_grid(affine, [5, 1, 7, 11], align_corners=False)
    assert torch.allclose(_grid(affine, like), expected, atol=1e-6)


def test_senseless_strengths():
    with pytest.raises(UsageError, match="augmentation strengths"):
        Augment(scale=1.5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_it_is_fast(dtype):
    """At least 2,000 images of 96 pixels per second on one core; the bound leaves room for a busy machine."""
    images = torch.randint(0, 255, (256, 1, 96, 96), dtype=torch.uint8).to(dtype)
    images = images if dtype == torch.uint8 else images / 255
    augment = Augment(erase=0.25)
    augment(images[:8])
    start = time.process_time()
    for _ in range(3):
        augment(images)
    assert 3 * len(images) / (time.process_time() - start) > 1000
