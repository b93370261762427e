import json

import pytest
import torch

from lgdea.cli import evaluate
from lgdea.errors import UsageError
from lgdea.imaging.transforms import Preprocess
from lgdea.models.image_tower import build_image_tower
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.serialization import save_model
from lgdea.models.text_tower import build_text_tower, train_tokenizer
from lgdea.phantom import generate
from lgdea.records.archive import Archive
from tests.helpers.command_line import run_lgdea


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two runs' models with other random weights."""
    tokenizer = train_tokenizer(["The heart is enlarged.", "No pneumothorax."])
    folders = []
    for seed, run in enumerate(("clip", "chest")):
        torch.manual_seed(seed)
        text = build_text_tower("small-bert", False, tokenizer, hidden=64)
        tower = build_image_tower("mobilenetv3_small_050", False, 64, 16)
        model = LgdeaModel(tower, text, tokenizer, dim=32, lesion_queries=4, prototypes=4, preprocess=Preprocess(64))
        folders.append(save_model(model, tmp_path_factory.mktemp("runs") / run / "model"))
    return folders


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("phantom") / "archive", studies=120, size=64).folder


def run(capsys, *arguments):
    return run_lgdea(capsys, "eval", *arguments)


def test_probe(archive, models, tmp_path, capsys):
    settings = ("-s", "draws=2", "-s", "costs=[0.1]", "-s", "bootstrap_replicates=20", "-s", "min_positive=1")
    code, out, err = run(capsys, "probe", models[1], archive, "--out", tmp_path, *settings, "--json")
    assert (code, err) == (0, "")
    shown = json.loads(out)["result"]
    assert (shown["task"], shown["model"]) == ("probe", "chest")
    assert {"linear@1%/auroc_macro", "knn@100%/auprc_macro"} <= set(shown["metrics"])
    assert (tmp_path / "probe.parquet").is_file()
    assert run(capsys, "probe", models[1], archive, "--out", tmp_path, "-s", "split=train")[0] == 2


def test_features(archive, models, tmp_path, capsys):
    settings = ("split=all", "umap=false", "bootstrap_replicates=20", "marked_images=5", "min_images=4", "costs=[0.1]")
    options = [word for setting in settings for word in ("-s", setting)]
    code, out, err = run(capsys, "features", *models, archive, "--out", tmp_path, *options)
    assert (code, err) == (0, "")
    assert "silhouette" in out
    assert {p.name for p in tmp_path.iterdir()} == {"clip", "chest"} | {
        f"features.{end}" for end in ("md", "csv", "html")
    }
    assert json.loads((tmp_path / "chest" / "features.json").read_text())["model"] == "chest"


def test_embed_says_what_it_could_not_read(models, tmp_path, capsys):
    folder = generate(tmp_path / "archive", studies=24, size=64).folder
    archive = Archive.open(folder)
    files = [archive.image_path(image) for image in archive.images["image_id"]]
    files[1].write_text("damaged")
    code, out, err = run_lgdea(capsys, "embed", models[0], folder, "--out", tmp_path / "e")
    assert (code, err) == (0, "")
    out = " ".join(out.split())
    assert f"1 of {len(files)} images could not be read" in out
    assert "is no PNG, JPEG or DICOM file" in out
    assert f"({len(files) - 1} of {len(files)} images)" in out
    files[2].write_text("damaged")
    code, _, err = run_lgdea(capsys, "embed", models[0], folder, "--out", tmp_path / "f")
    assert code == 3
    assert f"2 of {len(files)} images could not be read" in err
    for file in files:
        file.unlink(missing_ok=True)
    code, _, err = run_lgdea(capsys, "embed", models[0], folder, "--out", tmp_path / "g")
    assert code == 1
    assert f"none of {len(files)} images can be read" in err


def test_models_are_called_as_their_runs(tmp_path):
    (tmp_path / "chest" / "model").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    models = [str(tmp_path / "chest" / "model"), str(tmp_path / "other"), "timm:vit/x@random"]
    assert list(evaluate._labels(models)) == ["chest", "other", "timm-vit-x@random"]
    with pytest.raises(UsageError, match="two models are called other"):
        evaluate._labels([models[1], models[1]])
