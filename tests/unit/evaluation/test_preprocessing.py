import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from transformers import (
    BlipImageProcessor,
    CLIPImageProcessor,
    ConvNextImageProcessor,
    SiglipImageProcessor,
    ViTImageProcessor,
)

from lgdea.evaluation.encoders.huggingface import OpaqueProcessor, read_preprocessing
from lgdea.evaluation.encoders.preprocessing import Preprocessing
from lgdea.imaging.read import read_image

GREY = {"mean": (0.48, 0.46, 0.41), "std": (0.27, 0.26, 0.28)}
SIZES = [(50, 77), (91, 64), (40, 40), (301, 200)]


@pytest.fixture(scope="module", params=SIZES, ids=str)
def picture(request, tmp_path_factory):
    """A grey PNG as Pillow and as lgdea read it."""
    file = tmp_path_factory.mktemp("grey") / "grey.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, request.param, np.uint8)).save(file)
    return Image.open(file), read_image(file).pixels


@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 1.0])
@pytest.mark.parametrize(("mode", "resize"), [("center", "shortest"), ("squash", "squash"), ("border", "longest")])
@pytest.mark.parametrize("size", [(48, 48), (40, 56)], ids=str)
def test_pixels_are_those_of_timm(picture, mode, resize, crop_pct, size):
    theirs = create_transform((3, *size), crop_pct=crop_pct, crop_mode=mode, interpolation="bicubic", **GREY)
    fill = tuple(round(255 * m) for m in GREY["mean"]) if mode == "border" else None
    edges = (int(size[0] // crop_pct), int(size[1] // crop_pct))
    ours = Preprocessing(size, resize, edges, "bicubic", **GREY, fill=fill).batch([picture[1]])[0]
    torch.testing.assert_close(ours, theirs(picture[0].convert("RGB")), atol=1e-5, rtol=0)


@pytest.mark.parametrize("resize", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_pixels_are_those_of_open_clip(picture, resize, interpolation):
    theirs = open_clip.image_transform(
        48, is_train=False, resize_mode=resize, interpolation=interpolation, fill_color=9, **GREY
    )
    ours = Preprocessing((48, 48), resize, (48, 48), interpolation, **GREY, fill=(9, 9, 9)).batch([picture[1]])[0]
    torch.testing.assert_close(ours, theirs(picture[0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "processor",
    [
        CLIPImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 40, "width": 40}),
        CLIPImageProcessor(size={"shortest_edge": 44}, crop_size={"height": 39, "width": 37}),
        SiglipImageProcessor(size={"height": 48, "width": 48}),
        BlipImageProcessor(size={"height": 48, "width": 40}),
        ViTImageProcessor(size={"height": 48, "width": 48}, do_normalize=False),
    ],
    ids=["clip", "clip-odd", "siglip", "blip", "vit"],
)
def test_pixels_are_those_of_transformers(picture, processor):
    preprocessing = read_preprocessing(processor)
    assert isinstance(preprocessing, Preprocessing)
    theirs = processor(images=[picture[0].convert("RGB")], return_tensors="pt")["pixel_values"][0]
    # Its filter runs on bytes in torch and rounds otherwise: on noise by half a grey level, at the most by four.
    away = (preprocessing.batch([picture[1]])[0] - theirs).abs() * 255 * min(preprocessing.std)
    assert away.mean() < 0.5
    assert away.max() < 4.01


def test_a_processor_that_does_more_than_it_says_is_called_itself(picture):
    processor = ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875)
    preprocessing = read_preprocessing(processor)
    assert isinstance(preprocessing, OpaqueProcessor)
    theirs = processor(images=[picture[0].convert("RGB")], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(preprocessing.batch([picture[1]]), theirs, atol=0, rtol=0)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    ("resize", "frame", "edges"),
    [
        ("shortest", (64, 64), (73, 73)),
        ("shortest", (64, 48), (64, 48)),
        ("longest", (64, 64), (64, 64)),
        ("squash", (64, 80), (64, 80)),
        ("squash", (60, 60), (70, 70)),
    ],
)
def test_the_way_back_leads_to_where_a_pixel_came_from(size, resize, frame, edges):
    preprocessing = Preprocessing(frame, resize, edges, "bilinear", (0.0,) * 3, (1.0,) * 3)
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32) + 0.5
    for place, length in ((rows, size[0]), (columns, size[1])):
        ramp = (place / length).astype(np.float32)  # a picture whose grey value says where it is
        back = preprocessing.crop_geometry(*size).map_to_source(preprocessing.prepare(ramp)[0] / 255)
        assert back.shape == size
        inner = np.isfinite(back)
        edge = int(np.ceil(max(size) / min(frame)))  # one pixel of the frame, where bars mix in
        inner[:edge] = inner[-edge:] = inner[:, :edge] = inner[:, -edge:] = False
        pixel = max(size) / min(frame) / length  # filters pull the outermost places inwards by less than a pixel
        assert np.abs(back - ramp)[inner].max() < max(pixel, 1.5 / length) + 1 / 255
    left_out = {"longest": 0.0, "squash": 1 - (frame[0] * frame[1]) / (edges[0] * edges[1])}
    if resize in left_out:
        assert np.isnan(back).mean() == pytest.approx(left_out[resize], abs=0.05)


def test_a_cut_picture_is_nan_outside_the_crop_to_the_pixel():
    preprocessing = Preprocessing((32, 32), "shortest", (32, 32), "bicubic", (0.5,) * 3, (0.5,) * 3)
    back = preprocessing.crop_geometry(64, 96).map_to_source(np.ones((4, 4)))
    assert np.isnan(back[:, :16]).all()
    assert np.isnan(back[:, 80:]).all()
    assert (back[:, 16:80] == 1).all()


def test_what_lies_beyond_the_last_whole_patch_was_not_seen():
    preprocessing = Preprocessing((32, 32), "squash", (32, 32), "bicubic", (0.5,) * 3, (0.5,) * 3)
    back = preprocessing.crop_geometry(64, 64).map_to_source(np.ones((2, 2)), (15, 15))
    assert np.isnan(back[60:]).all()
    assert (back[:60, :60] == 1).all()
