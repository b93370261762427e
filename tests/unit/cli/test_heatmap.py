import json

import numpy as np
import pytest
from PIL import Image

from lgdea.models.serialization import save_model
from lgdea.records.archive import write_archive
from lgdea.records.schema import Box, Study
from lgdea.records.schema import Image as ImageRow
from tests.helpers.command_line import run_lgdea


def _run(capsys, *arguments):
    return run_lgdea(capsys, "heatmap", *arguments)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    import torch

    from lgdea.imaging.transforms import Preprocess
    from lgdea.models.image_tower import build_image_tower
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.models.text_tower import build_text_tower, train_tokenizer

    torch.manual_seed(0)
    tokenizer = train_tokenizer(["left pleural effusion", "the heart is enlarged"], 200)
    towers = (
        build_image_tower("test_resnet", False, 64, 16),
        build_text_tower("small-bert", False, tokenizer, hidden=32),
    )
    model = LgdeaModel(*towers, tokenizer, preprocess=Preprocess(64), dim=16, prototypes=4, lesion_queries=2)
    return save_model(model, tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (70, 90)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "chest.png")
    return tmp_path / "chest.png"


def test_an_image_and_phrases(capsys, model, picture, tmp_path):
    out = tmp_path / "maps"
    code, text, _ = _run(capsys, model, picture, "left pleural effusion", "enlarged heart", "--out", out, "--json")
    assert code == 0
    entries = json.loads(text)["result"]["heat_maps"]
    assert [e["phrase"] for e in entries] == ["left pleural effusion", "enlarged heart"]
    for entry in entries:
        heat = np.load(out / "maps" / f"{entry['key']}.npy")
        assert heat.shape == (70, 90)
        assert (entry["low"], entry["high"]) == (np.nanmin(heat), np.nanmax(heat))
        assert Image.open(out / "overlays" / f"{entry['key']}.png").height >= 70
    code, text, _ = _run(capsys, model, picture, "left pleural effusion", "enlarged heart", "--out", out)
    assert code == 0
    assert "2 heat maps" in text


def test_maps_by_occlusion_are_others(capsys, model, picture, tmp_path):
    heats = []
    for name, flags in (("own", ()), ("occlusion", ("--occlusion",))):
        code, text, _ = _run(capsys, model, picture, "enlarged heart", *flags, "--out", tmp_path / name, "--json")
        assert code == 0
        key = json.loads(text)["result"]["heat_maps"][0]["key"]
        heats.append(np.load(tmp_path / name / "maps" / f"{key}.npy"))
    assert (np.isnan(heats[0]) == np.isnan(heats[1])).all()
    assert not np.allclose(*heats, equal_nan=True)
    code, _, text = _run(capsys, model, picture, "enlarged heart", "--occlusion", "--out", tmp_path / "own")
    assert code == 2  # the folder holds maps of the other kind
    assert "occlusion" in text


def test_an_archive(capsys, model, picture, tmp_path):
    tables = {
        "studies": [Study(study_id="t:1", patient_id="t:p", dataset="t", split="test")],
        "images": [ImageRow(image_id="t:1-a", study_id="t:1", path=picture.name, width=90, height=70)],
        "boxes": [
            Box(box_id="b", image_id="t:1-a", finding="edema", label="edema", x_min=1, y_min=2, x_max=30, y_max=40)
        ],
    }
    write_archive(tmp_path / "archive", "t", tables, picture.parent, {})
    arguments = (model, "--archive", tmp_path / "archive", "--no-maps", "--out", tmp_path / "maps", "--json")
    code, text, _ = _run(capsys, *arguments)
    assert code == 0
    assert [e["image_id"] for e in json.loads(text)["result"]["heat_maps"]] == ["t:1-a"]
    assert not (tmp_path / "maps" / "maps").exists()
    assert len(list((tmp_path / "maps" / "overlays").iterdir())) == 1


def test_nothing_to_draw_is_one_line(capsys, model, picture, tmp_path):
    code, _, error = _run(capsys, model, picture, "--out", tmp_path / "maps")
    assert code == 2
    assert "give an image and phrases, or --archive" in error
