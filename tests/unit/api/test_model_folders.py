"""Model cards from a real run and real results, as the Hub's own reader reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

import lgdea
from lgdea.errors import DataError, UsageError
from lgdea.records.archive import Archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return lgdea.build_archive("phantom", "default", tmp_path_factory.mktemp("card") / "archive", studies=40, size=64)


@pytest.fixture(scope="module")
def run(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("card") / "run"
    lgdea.pretrain(
        archive,
        lgdea.extract(archive),
        lgdea.make_pairing(archive, fraction=0.25),
        out,
        image={"tower": "test_efficientnet", "size": 64},
        text={"hidden": 32, "layers": 1},
        data={"batch_size_per_device": 8, "cache_workers": 1},
        trainer={"max_steps": 2, "accelerator": "cpu", "precision": "32-true", "logger": "tensorboard"},
    )
    return out


def test_a_card_says_where_a_model_comes_from_and_how_good_it_was(run: Path, archive: Archive, tmp_path: Path) -> None:
    model = run / "model"
    results = lgdea.evaluate(
        str(model), archive, tasks=["retrieval"], out=tmp_path / "results", bootstrap_replicates=20
    )
    before = (model / "config.json").read_bytes()
    text = lgdea.write_model_card(
        model, license="cc-by-nc-4.0", results=[tmp_path / "results"], tags=["phantom"]
    ).read_text()
    assert (model / "config.json").read_bytes() == before
    assert lgdea.verify_folder(run).problems == []
    hashes = json.loads((run / "run.json").read_text())["input_hashes"]
    for digest in hashes.values():
        assert digest in text
    for part in ("linked share of the images", "| objective | lgdea |", "rules 0.", "Not for diagnosis", "no medical"):
        assert part in text
    assert str(run.parent) not in text  # no place of this machine
    assert str(archive.folder.parent) not in text
    assert "tensorboard" not in text
    head = ModelCard(text).data
    assert head.license == "cc-by-nc-4.0"
    assert "phantom" in (head.tags or [])
    assert head.eval_results is not None
    told = {r.metric_type: (r.metric_value, r.metric_args) for r in head.eval_results}
    for name, value in results["retrieval"].metrics.items():
        if value.value == value.value:
            assert told[name][0] == pytest.approx(value.value)
            assert told[name][1]["n"] == value.n
    assert all(r.dataset_name == archive.name and r.dataset_split == "test" for r in head.eval_results)


def test_a_licence_stays_and_none_is_invented(run: Path, tmp_path: Path) -> None:
    model = lgdea.save_model(lgdea.load_model(run / "model"), tmp_path / "copy")
    assert "None has been given yet" in (model / "README.md").read_text()
    assert "license:" not in (model / "README.md").read_text()
    lgdea.write_model_card(model, license="mit", tags=["mine"])
    text = lgdea.write_model_card(model).read_text()
    assert "license: mit" in text
    assert "- mine" in text
    assert "| objective | lgdea |" in text  # kept through loading and saving


def test_a_card_changed_by_hand_is_not_replaced(run: Path, tmp_path: Path) -> None:
    model = lgdea.save_model(lgdea.load_model(run / "model"), tmp_path / "copy")
    card = model / "README.md"
    card.write_text(card.read_text().replace("Image-text model", "My image-text model"))
    lgdea.load_model(model)
    with pytest.raises(UsageError, match=r"README\.md: was changed by hand; --out FILE"):
        lgdea.write_model_card(model)
    other = lgdea.write_model_card(model, out=tmp_path / "card.md")
    assert "My image" not in other.read_text()
    assert "My image" in card.read_text()
    lgdea.write_model_card(model, force=True)
    assert "My image" not in card.read_text()


def test_results_of_another_model_are_refused(run: Path, archive: Archive, tmp_path: Path) -> None:
    other = lgdea.save_model(
        lgdea.create_model("test_efficientnet", texts=["Clear."], image_size=64, hidden=32), tmp_path / "other"
    )
    lgdea.evaluate(str(other), archive, tasks=["retrieval"], out=tmp_path / "results", bootstrap_replicates=0)
    with pytest.raises(UsageError, match=r"the retrieval result is of another model \(other\)"):
        lgdea.write_model_card(run / "model", results=[tmp_path / "results"])


def test_an_older_models_card_is_made_from_its_run_folder(run: Path) -> None:
    told = lgdea.describe_model(run / "model")["card"]
    (run / "model" / "provenance.json").rename(run / "kept.json")
    try:
        found = lgdea.describe_model(run / "model")["card"]
    finally:
        (run / "kept.json").rename(run / "model" / "provenance.json")
    assert found == told


def test_a_provenance_that_was_changed_is_refused(run: Path, tmp_path: Path) -> None:
    model = lgdea.save_model(lgdea.load_model(run / "model"), tmp_path / "copy")
    file = model / "provenance.json"
    file.write_text(file.read_text().replace("phantom", "MIMIC"))
    with pytest.raises(DataError, match=r"provenance\.json: the model's provenance is not as it was written"):
        lgdea.load_model(model)
