"""Image-text models of transformers and open_clip: embeddings, heat maps, tasks."""

import json
from functools import partial

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image as Picture
from transformers import (
    AutoTokenizer,
    CLIPModel,
    ConvNextV2Config,
    ConvNextV2Model,
    SiglipModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from lgdea.errors import UsageError
from lgdea.evaluation.embed import read_embeddings
from lgdea.evaluation.encoders.protocol import EvaluableModel
from lgdea.evaluation.encoders.registry import ExternalImageEncoder, ExternalVLModel, load_encoder
from lgdea.evaluation.tasks import grounding, retrieval, zero_shot
from lgdea.records.archive import write_archive
from lgdea.records.schema import Box, Image, Label, Report, Study
from lgdea.vocabulary.phrases import canonical_phrase
from tests.helpers import tiny_encoders
from tests.helpers.command_line import run_lgdea

PHRASE = canonical_phrase("pleural_effusion")
LONG = "effusion " * 200


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for kind in ("clip", "siglip", "native", "biomed"):
        getattr(tiny_encoders, kind)(root / kind)
    return root


@pytest.fixture(scope="module", params=["clip", "siglip", "native", "biomed"])
def named(request, folders):
    library = "hf:" if request.param in ("clip", "siglip") else "open_clip:local-dir:"
    return f"{library}{folders / request.param}"


@pytest.fixture(scope="module")
def model(named) -> ExternalVLModel:
    return load_encoder(named, device="cpu")


@pytest.fixture(scope="module")
def pixels():
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 256, size) / 255).astype(np.float32) for size in ((50, 77), (66, 40))]


def own_embeddings(model, pixels, texts):
    """What the library gives when it is called as its own documentation does."""
    library, _, folder = model.name.partition(":")
    with torch.no_grad():
        if library == "open_clip":
            net, _, transform = open_clip.create_model_and_transforms(folder, pretrained_text=False)
            images = torch.stack([transform(Picture.fromarray(np.rint(p * 255).astype(np.uint8))) for p in pixels])
            said = net.eval().encode_text(open_clip.get_tokenizer(folder)(texts))
            return [F.normalize(x, dim=-1).numpy() for x in (net.encode_image(images), said)]
        net = (SiglipModel if folder.endswith("/siglip") else CLIPModel).from_pretrained(folder).eval()
        # Its own processor's pixels differ by parts of a grey level; test_recipe compares those.
        images = model.images.components.preprocessing.batch(pixels)
        options = {"padding": "max_length"} if folder.endswith("/siglip") else {"padding": True}
        tokens = AutoTokenizer.from_pretrained(folder)(
            texts, truncation=True, max_length=24, return_tensors="pt", **options
        )
        masks = {} if folder.endswith("/siglip") else {"attention_mask": tokens["attention_mask"]}
        both = net.get_image_features(pixel_values=images), net.get_text_features(tokens["input_ids"], **masks)
        both = [x if isinstance(x, torch.Tensor) else x.pooler_output for x in both]
    return [F.normalize(x, dim=-1).numpy() for x in both]


def test_embeddings_are_those_of_the_library(model, named, pixels):
    texts = ["left pleural effusion", "Study 3: cardiomegaly.", LONG]
    images, said = own_embeddings(model, pixels, texts)
    np.testing.assert_allclose(model.encode_images(pixels), images, atol=1e-5)
    np.testing.assert_allclose(model.encode_texts(texts), said, atol=1e-5)
    np.testing.assert_allclose(model.encode_texts(texts[:1]), said[:1], atol=1e-5)  # alone, without padding
    np.testing.assert_allclose(model.score_phrases(pixels, texts), images @ said.T, atol=1e-5)
    assert isinstance(model, EvaluableModel)
    assert (model.name, model.scoring) == (named, "global")


def test_texts_that_are_cut_are_counted_once(named):
    fresh = load_encoder(named, device="cpu")
    limit = 16 if "native" in named else 24
    fresh.encode_texts(["short", "are " * (limit - 2)])  # with its two marks as long as the model reads
    assert fresh.notes == []
    fresh.encode_texts([LONG, "short", "are " * (limit - 1)])
    fresh.encode_texts([LONG])
    assert fresh.notes == [f"2 texts were cut to the {limit} tokens that the model reads"]


def test_heat_maps_are_source_pixels_and_nan_outside_the_crop(model, named, pixels):
    maps = model.heat_maps(pixels[0], [PHRASE, "no pneumothorax"])
    assert [heat.shape for heat in maps] == [(50, 77)] * 2
    expected = np.zeros((50, 77), bool)
    if "siglip" not in named:  # the others cut the middle
        expected[:, :13], expected[:, 64:] = True, True
    for heat in maps:
        assert (np.isnan(heat) != expected).mean() < 0.02
        assert np.nanmax(np.abs(heat)) <= 1 + 1e-5
    assert not np.allclose(*maps, equal_nan=True)


def planted(folder, kind):
    """A model of idle layers whose patches point along ``PHRASE`` where they are bright, else the other way."""
    net = getattr(tiny_encoders, kind)(folder, layers=int(kind == "native"))
    name = f"hf:{folder}" if kind == "clip" else f"open_clip:local-dir:{folder}"
    phrase = torch.from_numpy(load_encoder(name, device="cpu").encode_texts([PHRASE])[0])
    vision = net.vision_model if kind == "clip" else net.visual
    kernel = vision.embeddings.patch_embedding.weight if kind == "clip" else vision.conv1.weight
    places = vision.embeddings.position_embedding.weight if kind == "clip" else vision.positional_embedding
    through = torch.zeros(32)
    through[0], through[1] = 1, -1
    with torch.no_grad():
        for weight in (kernel, places):
            weight.zero_()
        kernel[0], kernel[1] = 1, -1
        if kind == "clip":
            net.visual_projection.weight.copy_(phrase[:, None] * through)
        else:
            vision.proj.copy_(through[:, None] * phrase)
            for layer in (vision.transformer.resblocks[0].attn.out_proj, vision.transformer.resblocks[0].mlp.c_proj):
                layer.weight.zero_()
                layer.bias.zero_()
    if kind == "clip":
        net.save_pretrained(folder)
    else:
        tiny_encoders.save_weights(net, folder)
    return load_encoder(name, device="cpu")


@pytest.fixture(scope="module", params=["clip", "native"])
def pointing(request, tmp_path_factory):
    return planted(tmp_path_factory.mktemp(request.param), request.param)


def bright(size, box):
    picture = np.full(size, 0.1, np.float32)
    picture[box[1] : box[3], box[0] : box[2]] = 1.0
    return picture


@pytest.mark.parametrize(("size", "box"), [((64, 96), (56, 16, 72, 32)), ((120, 64), (16, 76, 32, 92))])
def test_a_planted_patch_is_warm_where_it_was_planted(pointing, size, box):
    heat = pointing.heat_maps(bright(size, box), [PHRASE])[0]
    x, y = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    assert heat[y, x] == pytest.approx(1, abs=0.1)  # its own pixel centres lie beside the patch's
    hot = heat > 0
    rows, columns = np.nonzero(hot)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    np.testing.assert_allclose(found, box, atol=8)  # half a patch of 16 source pixels


@pytest.mark.parametrize("kind", ["siglip", "biomed"])
def test_a_patch_goes_the_way_of_the_pooled_token(kind, tmp_path):
    """A picture of one grey level has equal patches, so that each is what the whole picture is."""
    net = tiny_encoders.siglip(tmp_path) if kind == "siglip" else tiny_encoders.biomed(tmp_path, pool="avg")
    if kind == "biomed":
        net.visual.trunk.pos_embed.data.zero_()
        for block in net.visual.trunk.blocks:  # the class token would be mixed in
            for layer in (block.attn.proj, block.mlp.fc2):
                layer.weight.data.zero_()
                layer.bias.data.zero_()
        tiny_encoders.save_weights(net, tmp_path)
    name = f"hf:{tmp_path}" if kind == "siglip" else f"open_clip:local-dir:{tmp_path}"
    model = load_encoder(name, device="cpu")
    dark, light = np.full((64, 96), 0.1, np.float32), np.full((64, 96), 0.9, np.float32)
    wanted = model.score_phrases([dark, light], [PHRASE])[:, 0]
    assert abs(wanted[0] - wanted[1]) > 0.01
    for picture, score in zip((dark, light), wanted, strict=True):
        heat = model.heat_maps(picture, [PHRASE])[0]
        np.testing.assert_allclose(heat[np.isfinite(heat)], score, atol=1e-4)


def test_patches_of_a_model_built_as_biomedclip_pass_its_norm_and_projection(folders, pixels):
    model = load_encoder(f"open_clip:local-dir:{folders / 'biomed'}", device="cpu")
    net = open_clip.create_model(f"local-dir:{folders / 'biomed'}", pretrained_text=False).eval()
    with torch.no_grad():
        tokens = net.visual.trunk.forward_features(
            model.images.components.preprocessing.batch(pixels[:1])
        )  # after its last norm
        expected = F.normalize(net.visual.head(tokens[:, 1:]), dim=-1)[0].reshape(10, 10, -1)
    torch.testing.assert_close(model.images.encode_patches(pixels[0]), expected, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def spots(tmp_path_factory):
    """Studies of which every second has a bright square, its box, label and report."""
    folder = tmp_path_factory.mktemp("spots")
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(0)
    tables = {name: [] for name in ("studies", "images", "reports", "boxes", "labels")}
    for i in range(40):
        study, image, finding = f"spots:{i}", f"spots:{i}-a", "pleural_effusion"
        x, y = 16 * int(rng.integers(0, 4)), 16 * int(rng.integers(1, 5))  # on one patch of the planted models
        box = (x, y, x + 16, y + 16)
        pixels = bright((96, 64), box if i % 2 else (0, 0, 0, 0))
        Picture.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(folder / "pictures" / f"{i}.png")
        split = "val" if i < 8 else "test"
        tables["studies"].append(Study(study_id=study, patient_id=f"spots:p{i}", dataset="spots", split=split))
        tables["images"].append(Image(image_id=image, study_id=study, path=f"{i}.png", width=64, height=96))
        tables["reports"].append(Report(report_id=f"{study}-r", study_id=study, text=f"Study {i}: {PHRASE}."))
        tables["labels"].append(Label(study_id=study, finding=finding, value=float(i % 2), labeller="truth"))
        if i % 2:
            corners = dict(zip(("x_min", "y_min", "x_max", "y_max"), box, strict=True))
            tables["boxes"].append(Box(box_id=f"{study}-b", image_id=image, finding=finding, label=finding, **corners))
    return write_archive(folder / "archive", "spots", tables, folder / "pictures", {})


@pytest.fixture(scope="module")
def shuffled(spots, tmp_path_factory):
    """The same archive with the pictures in another order."""
    images = spots.images.copy()
    images["path"] = np.random.default_rng(1).permutation(images["path"].to_numpy())
    tables = {name: getattr(spots, name) for name in ("studies", "reports", "boxes", "labels")} | {"images": images}
    return write_archive(tmp_path_factory.mktemp("shuffled") / "archive", "spots", tables, spots.image_root, {})


def test_grounding_finds_the_spots_and_not_those_of_other_images(pointing, spots, shuffled):
    right, wrong = (grounding(pointing, archive, bootstrap_replicates=0).metrics for archive in (spots, shuffled))
    assert right["pointing_micro"].value == 1.0
    assert right["miou_micro"].value > 0.3
    assert wrong["miou_micro"].value < 0.15
    assert wrong["pointing_micro"].value < 0.3


def test_zero_shot_tells_the_spots_apart_and_is_at_chance_when_shuffled(folders, spots, shuffled):
    model = load_encoder(f"hf:{folders / 'siglip'}", device="cpu")
    right, wrong = (zero_shot(model, a, bootstrap_replicates=0).metrics["auroc_macro"].value for a in (spots, shuffled))
    assert abs(right - 0.5) > 0.3  # nobody has taught it which of the two is the effusion
    assert wrong == pytest.approx(0.5, abs=0.25)


@pytest.mark.parametrize("task", [zero_shot, retrieval, grounding])
def test_an_untrained_model_is_near_chance_on_every_task(model, mini, task):
    result = partial(task, bootstrap_replicates=50)(model, mini)
    name, chance = {
        "zero-shot": ("auroc_macro", 0.5),
        "retrieval": ("report_to_image/recall@1", 0.1),
        "grounding": ("pointing_macro", 0.05),
    }[result.task]
    assert result.metrics[name].value == pytest.approx(chance, abs=0.25)
    assert result.model == model.name


def test_what_was_cut_is_in_the_result(folders, mini, tmp_path):
    reports = mini.reports.assign(text=mini.reports["text"] + " " + LONG)
    tables = {name: getattr(mini, name) for name in ("studies", "images", "boxes", "labels")} | {"reports": reports}
    archive = write_archive(tmp_path / "long", "mini", tables, mini.image_root, {})
    result = retrieval(load_encoder(f"hf:{folders / 'clip'}"), archive, bootstrap_replicates=0)
    assert any("texts were cut to the 24 tokens" in note for note in result.notes)


def test_one_command_evaluates_and_embeds(folders, mini, tmp_path, capsys):
    name = f"open_clip:local-dir:{folders / 'biomed'}"
    code, out, error = run_lgdea(capsys, "eval", "grounding", name, mini.folder, "--out", tmp_path / "r", "--json")
    assert code == 0, error
    assert json.loads(out)["result"]["model"] == name
    assert run_lgdea(capsys, "embed", name, mini.folder, "--out", tmp_path / "e")[0] == 0
    assert read_embeddings(tmp_path / "e", "report")[0].shape == (len(mini.reports), 16)


def test_a_built_in_architecture_with_random_weights(pixels):
    model = load_encoder("open_clip:ViT-S-32-alt@random", device="cpu")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = open_clip.create_model("ViT-S-32-alt").eval()
    transform = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**net.visual.preprocess_cfg), False
    )
    picture = Picture.fromarray(np.rint(pixels[0] * 255).astype(np.uint8))
    with torch.no_grad():
        expected = F.normalize(net.encode_image(transform(picture)[None]), dim=-1).numpy()
    np.testing.assert_allclose(model.encode_images(pixels[:1]), expected, atol=1e-5)
    assert "random" in model.name


def test_a_convolutional_tower_has_no_heat_maps(pixels):
    # RN50 is large; its kind of image tower is known by its class.
    from lgdea.evaluation.encoders.load import _open_clip_patches

    assert _open_clip_patches(open_clip.modified_resnet.ModifiedResNet([1, 1, 1, 1], 16, 2, 32, 8)) == (None, None)


@pytest.mark.parametrize("kind", ["vit", "convnext"])
def test_plain_vision_models_embed_by_their_pooling(kind, tmp_path, pixels):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    if kind == "vit":
        net = ViTModel(ViTConfig(image_size=32, patch_size=8, **sizes))
    else:
        net = ConvNextV2Model(ConvNextV2Config(hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1]))
    net.eval().save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    encoder = load_encoder(f"hf:{tmp_path}", device="cpu")
    assert isinstance(encoder, ExternalImageEncoder)
    assert encoder.notes == []
    with torch.no_grad():
        out = net(pixel_values=encoder.components.preprocessing.batch(pixels))
    expected = F.normalize(out.pooler_output, dim=-1).numpy()
    np.testing.assert_allclose(encoder.encode_images(pixels), expected, atol=1e-5)


def test_a_pooling_that_was_never_trained_is_not_used(tmp_path, pixels):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    net = ViTModel(ViTConfig(image_size=32, patch_size=8, **sizes), add_pooling_layer=False).eval()
    net.save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    encoder = load_encoder(f"hf:{tmp_path}", device="cpu")
    with torch.no_grad():
        tokens = net(pixel_values=encoder.components.preprocessing.batch(pixels)).last_hidden_state
    np.testing.assert_allclose(encoder.encode_images(pixels), F.normalize(tokens[:, 0], dim=-1).numpy(), atol=1e-5)
    assert encoder.notes == []


def test_weights_that_a_checkpoint_lacks_are_told(folders, tmp_path):
    net = CLIPModel.from_pretrained(folders / "clip")
    tiny_encoders.clip(tmp_path)
    state = {k: v for k, v in net.state_dict().items() if k != "visual_projection.weight"}
    net.save_pretrained(tmp_path, state_dict=state)
    assert load_encoder(f"hf:{tmp_path}").notes == [
        "1 of the model's weights are not in its checkpoint and random, e.g. visual_projection.weight"
    ]


def test_an_open_clip_folder_without_weights_is_refused_unless_random_ones_are_wanted(folders, tmp_path):
    (tmp_path / "open_clip_config.json").write_text((folders / "native" / "open_clip_config.json").read_text())
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_encoder(f"open_clip:local-dir:{tmp_path}")
    assert load_encoder(f"open_clip:local-dir:{tmp_path}@random").encode_texts(["a"]).shape == (1, 16)


def test_random_weights_of_a_saved_model(folders, pixels):
    trained, random = (load_encoder(f"hf:{folders / 'clip'}{end}") for end in ("", "@random"))
    again = load_encoder(f"hf:{folders / 'clip'}@random")
    np.testing.assert_array_equal(random.encode_images(pixels), again.encode_images(pixels))
    assert not np.allclose(random.encode_images(pixels), trained.encode_images(pixels), atol=1e-3)


@pytest.mark.parametrize(("name", "side"), [("biovil_t", 448), ("biovil", 480)])
def test_biovil_answers_as_its_own_package_does(name, side, monkeypatch):
    """With random weights and a small BERT; skipped without hi-ml-multimodal."""
    pytest.importorskip("health_multimodal")
    from health_multimodal.image.data.transforms import create_chest_xray_transform_for_inference
    from health_multimodal.text import utils
    from health_multimodal.text.model import CXRBertModel
    from health_multimodal.text.model.configuration_cxrbert import CXRBertConfig

    from lgdea.evaluation.encoders.hi_ml import _image_tower

    words = tiny_encoders.tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CXRBertConfig(vocab_size=len(words), max_position_embeddings=24, projection_size=128, **sizes)
    load = "get_biovil_t_bert" if name == "biovil_t" else "get_cxr_bert"
    monkeypatch.setattr(utils, load, lambda: (words, CXRBertModel(config)))
    model = load_encoder(f"hi-ml:{name}@random", device="cpu")
    grey = np.random.default_rng(0).integers(0, 256, (550, 700), np.uint8)
    pixels = (grey / 255).astype(np.float32)
    frame = create_chest_xray_transform_for_inference(512, side)(Picture.fromarray(grey))
    with torch.no_grad():
        expected = F.normalize(_image_tower(name, True).eval()(frame[None]).projected_global_embedding, dim=-1).numpy()
    np.testing.assert_allclose(model.encode_images([pixels]), expected, atol=1e-5)
    assert model.score_phrases([pixels], [PHRASE, LONG]).shape == (1, 2)
    assert np.isnan(model.heat_maps(pixels, [PHRASE])[0]).mean() == pytest.approx(
        1 - (side / 512) ** 2 * 550 / 700, abs=0.01
    )
