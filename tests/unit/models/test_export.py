"""Exported graphs beside the model, run by onnxruntime and torch alone, and the example that needs no lgdea."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lgdea
from lgdea.errors import UsageError
from lgdea.imaging.transforms import Preprocess
from lgdea.models.lgdea_model import LgdeaModel
from tests.helpers.command_line import uncounted_environment

EXAMPLE = Path(__file__).parents[3] / "examples" / "onnx_without_lgdea.py"
TEXTS = ["Small left pleural effusion.", "No pneumothorax."]
PHRASES = ["left pleural effusion", "cardiomegaly", "no pneumothorax"]


def make(tower: str, size: int, **settings: str) -> LgdeaModel:
    torch.manual_seed(0)
    findings = ["cardiomegaly", "pleural_effusion"]
    model = lgdea.create_model(
        tower, texts=TEXTS, image_size=size, hidden=32, layers=1, dim=16, findings=findings, **settings
    )
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize(("tower", "size"), [("test_efficientnet", 64), ("test_vit", 160)])
def test_onnx_gives_what_the_model_gives(tower: str, size: int, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = make(tower, size)
    assert model.preprocess is not None
    folder = lgdea.export_model(model, tmp_path / "exported")
    about = json.loads((folder / "export.json").read_text())
    assert lgdea.verify_folder(folder).problems == []
    assert {entry["laterality"] for entry in about["classes"]} == {"unspecified", "left", "right"}
    session = onnxruntime.InferenceSession(folder / "image_tower.onnx", providers=["CPUExecutionProvider"])
    pictures = [np.random.default_rng(i).random((90 + 20 * i, 70)).astype(np.float32) for i in range(5)]
    images = torch.stack([model.preprocess(picture)[0] for picture in pictures])
    for count in (1, 5):
        found = dict(zip(about["image_outputs"], session.run(None, {"images": images[:count].numpy()}), strict=True))
        with torch.no_grad():
            wanted = model.forward_image(images[:count])
        for name in ("pooled", "patches", "lesions"):
            np.testing.assert_allclose(found[name], wanted[name].numpy(), atol=1e-4)
        np.testing.assert_allclose(found["embedding"], model.encode_image(pictures[:count]), atol=1e-4)
    classes = np.load(folder / "classes.npz", allow_pickle=False)
    maps = found["map_patches"] @ classes["map_phrases"].T
    phrases = [entry["phrase"] for entry in about["classes"]]
    expected = model.phrase_maps(images, phrases).flatten(2).transpose(1, 2).numpy()
    np.testing.assert_allclose(maps, expected, atol=1e-4)
    assert np.ptp(expected) > 1e-2

    # The example, in a process that must not import lgdea or torch.
    pixels = (pictures[4] * 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "chest.png")
    watched = f"import sys, runpy; sys.argv = ['x', {str(folder)!r}, {str(tmp_path / 'chest.png')!r}]\n"
    watched += (
        f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')\nassert not {{'lgdea', 'torch'}} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", watched], env=uncounted_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = [line.split(maxsplit=1) for line in done.stdout.splitlines()[:-1]]
    scores = model.score_phrases(model.preprocess(pixels)[0][None], phrases)[0]
    for value, phrase in printed:
        assert float(value) == pytest.approx(float(scores[phrases.index(phrase)]), abs=2e-4)
    assert printed[0][1] == phrases[int(scores.argmax())]


@pytest.mark.parametrize("scoring", ["presence", "global", "local"])
def test_torch_export_gives_every_kind_of_score(scoring: str, tmp_path: Path) -> None:
    model = make("test_efficientnet", 64, scoring=scoring)
    assert model.preprocess is not None
    folder = lgdea.export_model(model, tmp_path / "exported", formats=["torch"], phrases=PHRASES)
    about, classes = json.loads((folder / "export.json").read_text()), np.load(folder / "classes.npz")
    images = torch.stack([model.preprocess(np.random.default_rng(i).random((80, 60)))[0] for i in range(4)])
    found = dict(
        zip(about["image_outputs"], torch.export.load(folder / "image_tower.pt2").module()(images), strict=True)
    )
    given = [found[n] if n in found else torch.from_numpy(classes[n]) for n in about["score_inputs"]]
    scores = torch.export.load(folder / "scores.pt2").module()(*given)
    torch.testing.assert_close(scores, model.score_phrases(images, PHRASES), atol=1e-5, rtol=0)
    maps = found["map_patches"] @ torch.from_numpy(classes["map_phrases"]).T
    wanted = model.phrase_maps(images, PHRASES).flatten(2).transpose(1, 2)
    torch.testing.assert_close(maps, wanted, atol=1e-5, rtol=0)
    assert (folder / "scores.pt2").stat().st_size < 2e5  # no weights that scores do not need


@pytest.mark.parametrize("mode", ["letterbox", "center_crop"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (101, 64), (64, 101), (63, 200), (7, 300), (301, 300)])
def test_the_example_prepares_pictures_as_the_model_does(mode: str, height: int, width: int, tmp_path: Path) -> None:
    try:
        example = runpy.run_path(str(EXAMPLE))
    except ModuleNotFoundError:
        pytest.skip("needs onnxruntime")
    pixels = np.random.default_rng(height + width).integers(0, 256, (height, width)).astype(np.uint8)
    settings = Preprocess(64, mean=0.45, std=0.31, mode=mode)  # type: ignore[arg-type]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = example["preprocess"](example["read_grey"](tmp_path / "a.png"), **settings.to_dict())
    np.testing.assert_allclose(found[0], settings(pixels)[0].numpy(), atol=1e-6)


def test_a_wrong_request_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    model = make("test_efficientnet", 64)
    for options, says in (
        ({"formats": ["tflite"]}, "no such format in tflite; choose onnx, torch"),
        ({"formats": []}, "no such format in none"),
        ({"phrases": ["", "nodule"]}, "a phrase is empty"),
        ({"phrases": []}, "a phrase is empty"),
    ):
        with pytest.raises(UsageError, match=says):
            lgdea.export_model(model, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(UsageError, match="full: is there already"):
        lgdea.export_model(model, tmp_path / "full")
