import json

import numpy as np
import pytest

from lgdea.cli import evaluate, main
from lgdea.errors import UsageError
from lgdea.phantom import generate


class Blocks:
    """Embeds an image as a small picture of itself."""

    def __init__(self, name):
        self.name, self.side = name, int(name.removeprefix("blocks"))

    def encode_images(self, images):
        rows = []
        for image in images:
            parts = [np.array_split(band, self.side, axis=1) for band in np.array_split(image, self.side)]
            rows.append([part.mean() for band in parts for part in band])
        return np.array(rows)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("phantom") / "archive", studies=120, size=64).folder


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main(["eval", *map(str, arguments)])
    captured = capsys.readouterr()
    return left.value.code, captured.out, captured.err


def test_probe(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "_load", Blocks)
    settings = ("-s", "draws=2", "-s", "costs=[0.1]", "-s", "bootstrap_replicates=20", "-s", "min_positive=1")
    code, out, err = run(capsys, "probe", "blocks4", archive, "--out", tmp_path, *settings, "--json")
    assert (code, err) == (0, "")
    shown = json.loads(out)
    assert shown["task"] == "probe"
    assert {"linear@1%/auroc_macro", "knn@100%/auprc_macro"} <= set(shown["metrics"])
    assert (tmp_path / "probe.parquet").is_file()
    assert run(capsys, "probe", "blocks4", archive, "--out", tmp_path, "-s", "split=train")[0] == 2


def test_features(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "_load", Blocks)
    settings = ("split=all", "umap=false", "bootstrap_replicates=20", "marked_images=5", "min_images=4", "costs=[0.1]")
    options = [word for setting in settings for word in ("-s", setting)]
    code, out, err = run(capsys, "features", "blocks2", "blocks4", archive, "--out", tmp_path, *options)
    assert (code, err) == (0, "")
    assert "silhouette" in out
    assert {p.name for p in tmp_path.iterdir()} == {"blocks2", "blocks4"} | {
        f"features.{end}" for end in ("md", "csv", "html")
    }
    assert json.loads((tmp_path / "blocks4" / "features.json").read_text())["model"] == "blocks4"


def test_models_are_called_as_their_runs(tmp_path):
    (tmp_path / "chest" / "model").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    models = [str(tmp_path / "chest" / "model"), str(tmp_path / "other"), "timm:vit/x@random"]
    assert list(evaluate._labels(models)) == ["chest", "other", "timm-vit-x@random"]
    with pytest.raises(UsageError, match="two models are called other"):
        evaluate._labels([models[1], models[1]])
