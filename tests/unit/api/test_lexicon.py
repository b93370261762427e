"""A finding of a site's own, given once at extraction: scores, training, a model and zero-shot classes know it."""

from pathlib import Path

import pandas as pd
import pytest

import lgdea
from lgdea.errors import UsageError
from lgdea.evaluation.encoders.protocol import LgdeaEvaluable
from lgdea.records.archive import Archive, write_archive
from lgdea.records.pairing import make_pairing
from lgdea.vocabulary import load_vocabulary
from tests.helpers.command_line import run_lgdea
from tests.unit.api.test_training import SETTINGS

LEXICON = """
abbreviations: {emphysema: sponge_sign}
findings:
  - id: sponge_sign
    name: sponge sign
    parents: [emphysema]
    anatomy: lung
    present: [lungs like a sponge]
    absent: [no lungs like a sponge]
"""


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("site") / "site.yaml"
    file.write_text(LEXICON)
    return file


@pytest.fixture(scope="module")
def evidence(archive: Archive, lexicon, tmp_path_factory):
    return lgdea.extract(archive, out=tmp_path_factory.mktemp("own") / "evidence", lexicon=lexicon)


@pytest.fixture
def labelled(archive: Archive, tmp_path) -> Archive:
    """The archive with labels of the new finding beside its own."""
    labels = archive.labels[archive.labels["finding"] == "emphysema"].assign(finding="sponge_sign")
    labels["value"] = [float(n % 2) for n in range(len(labels))]
    tables = {
        "studies": archive.studies, "images": archive.images, "reports": archive.reports, "boxes": archive.boxes,
        "labels": pd.concat([archive.labels, labels]),
    }  # fmt: skip
    return write_archive(tmp_path / "labelled", "phantom", tables, image_root=archive.image_root)


def test_scores_count_it_as_a_kind_of_its_parent(archive, evidence, evidence_folder):
    assert "sponge_sign" in set(evidence.to_frame()["finding"])
    own, shipped = evidence.score("phantom"), lgdea.load_evidence(evidence_folder).score("phantom")
    assert "sponge_sign" in own.to_frame().index or "emphysema" in own.to_frame().index
    assert own.micro.f1 > 0.5
    assert "sponge_sign" not in shipped.to_frame().index


def test_a_model_trained_on_it_knows_it_also_when_loaded_elsewhere(
    archive, labelled, evidence, evidence_folder, tmp_path, monkeypatch
):
    settings = {**SETTINGS, "trainer": {**SETTINGS["trainer"], "max_steps": 2}}
    model = lgdea.pretrain(archive, evidence.folder, make_pairing(archive, 0.5), tmp_path / "run", **settings)
    assert "sponge_sign" in model.findings
    assert (tmp_path / "run" / "model" / "lexicon.yaml").is_file()
    loaded = lgdea.load_model(tmp_path / "run" / "model")
    assert loaded.vocabulary.findings["sponge_sign"].name == "sponge sign"
    shown = loaded.evidence(archive.image_path(archive.images["image_id"].iloc[0]), top=99)
    assert any(item["phrase"].endswith("sponge sign") for item in shown)
    asked: list[str] = []
    score = LgdeaEvaluable.score_phrases
    monkeypatch.setattr(
        LgdeaEvaluable, "score_phrases", lambda self, pixels, texts: asked.extend(texts) or score(self, pixels, texts)
    )
    chosen = {"zero-shot": {"classes": ["sponge_sign"], "min_positive": 1, "texts": "pair"}}
    results = lgdea.evaluate(tmp_path / "run" / "model", labelled, ["zero-shot"], settings=chosen)
    assert "sponge_sign" in str(results["zero-shot"].per_class)
    assert {"lungs like a sponge", "no lungs like a sponge"} <= set(asked)
    # A run beside it, without the lexicon, knows nothing of it.
    assert "sponge_sign" not in load_vocabulary().findings
    other = lgdea.pretrain(archive, evidence_folder, make_pairing(archive, 0.5), tmp_path / "other", **settings)
    assert "sponge_sign" not in other.findings
    assert not (tmp_path / "other" / "model" / "lexicon.yaml").exists()
    with pytest.raises(UsageError, match="sponge_sign"):
        lgdea.evaluate(tmp_path / "other" / "model", labelled, ["zero-shot"], settings=chosen)


def test_pages_reviews_and_corrections_know_it(archive, evidence, lexicon, tmp_path, capsys):
    folder = evidence.folder
    common = [folder, "--archive", archive.folder]
    assert run_lgdea(capsys, "extract", "page", *common, "--out", tmp_path / "page.html")[0] == 0
    assert "sponge sign" in (tmp_path / "page.html").read_text()
    assert run_lgdea(capsys, "extract", "diff", folder, *common)[0] == 0
    assert run_lgdea(capsys, "extract", "review", *common, "--out", tmp_path / "review.csv", "--n", "3")[0] == 0
    table = pd.read_csv(tmp_path / "review.csv", dtype=str, keep_default_na=False)
    table.loc[table["row"] == "report", "verdict"] = "others_correct"
    table.to_csv(tmp_path / "review.csv", index=False)
    given = ["extract", "corrections", tmp_path / "review.csv", "--archive", archive.folder, "--out", tmp_path / "c"]
    code, _, err = run_lgdea(capsys, *given, "--lexicon", lexicon)
    assert code == 0, err
    assert evidence.score(tmp_path / "c").micro.f1 == 1
