"""Names, image-only encoders, and what is refused."""

import json
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from lgdea.errors import UsageError
from lgdea.evaluation.embed import read_embeddings
from lgdea.evaluation.encoders.protocol import EvaluableModel, ImageEncoder, as_evaluable
from lgdea.evaluation.encoders.registry import load_encoder, local_folder
from lgdea.evaluation.tasks import grounding, retrieval, zero_shot
from tests.helpers.command_line import run_lgdea
from tests.helpers.mini_archive import STUDIES, Oracle


@pytest.fixture
def pixels():
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 256, size) / 255).astype(np.float32) for size in ((50, 77), (210, 180), (33, 33))]


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_embeddings_are_those_of_timm(name, pixels):
    encoder = load_encoder(f"timm:{name}@random", device="cpu")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = timm.create_model(name, num_classes=0).eval()
    transform = create_transform(**resolve_model_data_config(theirs))
    with torch.no_grad():
        batch = torch.stack(
            [transform(Image.fromarray(np.rint(p * 255).astype(np.uint8)).convert("RGB")) for p in pixels]
        )
        expected = torch.nn.functional.normalize(theirs(batch), dim=-1).numpy()
    np.testing.assert_allclose(encoder.encode_images(pixels), expected, atol=1e-5)
    assert encoder.name == f"timm:{name}@random"
    assert isinstance(encoder, ImageEncoder)
    assert not isinstance(encoder, EvaluableModel)


def test_a_batch_gives_what_single_images_give(pixels):
    encoder = load_encoder("timm:test_vit@random")
    many = pixels * 30  # more than go through the model at a time
    singly = np.concatenate([encoder.encode_images([p]) for p in pixels])
    np.testing.assert_allclose(encoder.encode_images(many), np.tile(singly, (30, 1)), atol=1e-5)


def test_random_weights_are_always_the_same_and_leave_other_random_numbers_alone(pixels):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = load_encoder("timm:test_vit@random").encode_images(pixels)
    torch.testing.assert_close(torch.rand(3), expected, atol=0, rtol=0)
    np.testing.assert_array_equal(load_encoder("timm:test_vit@random").encode_images(pixels), first)


@pytest.mark.parametrize("task", [zero_shot, retrieval, grounding])
def test_tasks_with_texts_refuse_an_image_encoder_in_one_line(task, mini):
    with pytest.raises(UsageError, match=r"^timm:test_vit@random has no text side; "):
        task(load_encoder("timm:test_vit@random"), mini)


def test_the_command_line_says_so_too(mini, tmp_path, capsys):
    code, _, error = run_lgdea(
        capsys, "eval", "zero-shot", "timm:test_vit@random", mini.folder, "--out", tmp_path / "r"
    )
    assert code == 2
    assert error.strip().splitlines() == [
        "lgdea: timm:test_vit@random has no text side; this task needs a model of images and texts"
    ]


def test_an_image_encoder_embeds_an_archive_without_its_reports(mini, tmp_path, capsys):
    out = tmp_path / "e"
    assert run_lgdea(capsys, "embed", "timm:test_resnet@random", mini.folder, "--out", out)[0] == 0
    vectors, ids = read_embeddings(out, "image")
    assert vectors.shape == (STUDIES, 96)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert len(ids) == STUDIES
    assert sorted(file.name for file in out.glob("*.npy")) == ["images.npy"]
    assert set(json.loads((out / "run.json").read_text())["not_embedded"]) == {"images"}
    with pytest.raises(UsageError, match="holds no report embeddings"):
        read_embeddings(out, "report")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no/such/folder", "no such model folder"),
        ("tim:resnet18", "or write ORG/NAME of the Hub, timm:NAME"),
        ("timm:resnet1818@random", r"timm:resnet1818@random cannot be loaded \(Unknown model"),
        ("open_clip:ViT-B-32", "names no weights; write open_clip:ViT-B-32/TAG .*openai.*@random"),
        ("open_clip:no-such-model@random", "cannot be loaded"),
        ("open_clip:local-dir:/no/such", "cannot be loaded"),
        ("hf:/no/such", "no such folder of the model"),
        ("python:numpy", "cannot be imported"),
        ("python:no_such_package.x:y", "cannot be imported .*PYTHONPATH"),
        ("python:numpy:zeros_like_nothing", "cannot be imported"),
        ("python:builtins:list", "gave a list without encode_images"),
    ],
)
def test_a_wrong_name_is_one_line(name, says):
    with pytest.raises(UsageError, match=says) as raised:
        load_encoder(name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "module", "remedy"),
    [
        ("open_clip:ViT-S-32-alt@random", "open_clip", r"open_clip_torch; pip install 'lgdea\[encoders\]'"),
        ("hi-ml:biovil_t", "health_multimodal", "hi-ml-multimodal; pip install hi-ml-multimodal"),
    ],
)
def test_a_missing_package_is_named_with_its_command(name, module, remedy, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=f"needs the package {remedy}"):
        load_encoder(name)


def test_a_factory_gives_any_model(mini, tmp_path, monkeypatch, capsys):
    (tmp_path / "somebodys.py").write_text("from tests.helpers.mini_archive import Oracle as make\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(load_encoder("python:somebodys:make"), Oracle)
    code, out, _ = run_lgdea(
        capsys, "eval", "zero-shot", "python:somebodys:make", mini.folder, "--out", tmp_path / "r", "--json"
    )
    assert code == 0
    assert json.loads(out)["result"]["metrics"]["auroc_macro"]["value"] == 1.0


def test_local_models_are_found_for_hashing(tmp_path):
    for name in (f"{tmp_path}", f"hf:{tmp_path}", f"hf:{tmp_path}@random", f"open_clip:local-dir:{tmp_path}"):
        assert local_folder(name) == tmp_path
    for name in ("timm:resnet18", "hf:org/name", f"{tmp_path}/nothing", "python:a:b"):
        assert local_folder(name) is None


def test_what_has_no_text_side_is_refused_whoever_made_it():
    class Embeds:
        name = "embeds"

        def encode_images(self, images):
            return np.ones((len(images), 2))

    with pytest.raises(UsageError, match="embeds has no text side"):
        as_evaluable(Embeds())
