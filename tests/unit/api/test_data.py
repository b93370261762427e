"""``lgdea.data``: items and batches, what a pairing hides, worker processes, and a training loop of one's own."""

from __future__ import annotations

import pickle
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

import lgdea
from lgdea.api.extraction import load_evidence
from lgdea.data import ArchiveDataModule, ArchiveDataset, collate
from lgdea.errors import DataError, UsageError
from lgdea.imaging.transforms import Preprocess
from lgdea.records.archive import Archive
from lgdea.records.pairing import make_pairing, write_pairing


def test_an_item_is_an_image_with_the_report_of_its_study(archive: Archive, evidence_folder: Path) -> None:
    evidence = load_evidence(evidence_folder)
    dataset = ArchiveDataset(archive, "train", evidence=evidence, image_size=32)
    images = archive.images.merge(archive.studies).query("split == 'train'")
    assert len(dataset) == len(images)
    texts = archive.reports.set_index("study_id")["text"]
    reports = archive.reports.set_index("study_id")["report_id"]
    labels = evidence.findings()
    assert dataset.findings == list(labels.columns)
    preprocess = Preprocess(size=32)
    from lgdea.imaging.read import read_image

    for index in (0, len(dataset) - 1):
        item = dataset[index]
        assert item["text"] == texts[item["study_id"]]
        assert item["report_id"] == reports[item["study_id"]]
        assert (item["linked"], item["has_image"], item["has_text"], item["split"]) == (True, True, True, "train")
        expected, _ = preprocess(read_image(archive.image_path(item["image_id"])))
        torch.testing.assert_close(item["image"], expected)
        assert all(text.quote == item["text"][text.start : text.end] for text in item["units"])
        assert [u.unit_id for u in item["units"]] == [u.unit_id for u in evidence.for_report(item["report_id"])]
        np.testing.assert_array_equal(item["findings"].numpy(), labels.loc[item["report_id"]].to_numpy(np.float32))


@pytest.mark.parametrize("per", ["image", "study"])
def test_no_item_holds_a_hidden_pair_and_nothing_is_lost(archive: Archive, tmp_path: Path, per: str) -> None:
    pairing = make_pairing(archive, 0.4)
    write_pairing(pairing, tmp_path / "pairing.parquet")
    dataset = ArchiveDataset(archive, pairing=tmp_path / "pairing.parquet", per=per, image_size=32)
    state = pairing.set_index("study_id")["state"]
    items = dataset._items
    both = (items["image_id"] != "") & (items["report_id"] != "")
    assert set(items.loc[both, "study_id"]) == set(state.index[state == "paired"])
    assert (both == items["linked"]).all()
    assert set(items["report_id"]) - {""} == set(archive.reports["report_id"])
    images = archive.images if per == "image" else archive.images.drop_duplicates("study_id")
    assert sorted(set(items["image_id"]) - {""}) == sorted(images["image_id"])
    alone = dataset[int(np.flatnonzero(~both & (items["image_id"] == ""))[0])]
    assert (alone["has_image"], alone["linked"]) == (False, False)
    assert torch.equal(alone["image"], torch.zeros(1, 32, 32))
    kept = [ArchiveDataset(archive, pairing=pairing, per=per, linked=linked, image_size=32) for linked in (True, False)]
    assert [len(part) for part in kept] == [both.sum(), (~both).sum()]


def test_a_cache_gives_the_same_images_and_leaves_out_what_cannot_be_read(archive: Archive, tmp_path: Path) -> None:
    images = archive.images.copy()
    images.loc[3, "path"] = "missing.png"
    part = archive.with_tables(images=images)
    part.__dict__.pop("_paths", None)
    cached = ArchiveDataset(part, image_size=32, cache=tmp_path / "cache", cache_workers=1)
    direct = ArchiveDataset(archive, image_size=32)
    assert len(cached) == len(direct) - 1
    assert images["image_id"][3] not in set(cached._items["image_id"])
    by_id = {item["image_id"]: item["image"] for item in (direct[i] for i in range(6))}
    for index in range(5):
        item = cached[index]
        torch.testing.assert_close(item["image"], by_id[item["image_id"]], atol=0.02, rtol=0)


def test_transforms_see_grey_values_between_0_and_1_before_they_are_normalised(archive: Archive) -> None:
    seen = []

    def invert(image: torch.Tensor) -> torch.Tensor:
        seen.append(image)
        return 1 - image

    preprocess = Preprocess(size=32, mean=0.3, std=0.2)
    plain = ArchiveDataset(archive, preprocess=preprocess)[0]["image"]
    inverted = ArchiveDataset(archive, preprocess=preprocess, transform=invert)[0]["image"]
    assert seen[0].shape == (1, 32, 32)
    assert 0 <= seen[0].min() < seen[0].max() <= 1
    torch.testing.assert_close(inverted * 0.2 + 0.3, 1 - (plain * 0.2 + 0.3))
    with pytest.raises(UsageError, match="preprocess says the size"):
        ArchiveDataset(archive, preprocess=preprocess, image_size=64)


def test_worker_processes_give_the_same_batches(archive: Archive, evidence_folder: Path, tmp_path: Path) -> None:
    dataset = ArchiveDataset(
        archive, "val", evidence=evidence_folder, image_size=32, cache=tmp_path / "cache", cache_workers=1
    )
    assert len(pickle.dumps(dataset)) < 1_000_000
    how = {"batch_size": 4, "collate_fn": collate}
    here = list(DataLoader(dataset, **how))
    there = list(DataLoader(dataset, num_workers=2, multiprocessing_context="spawn", **how))
    assert len(here) == len(there) > 1
    for first, second in zip(here, there, strict=True):
        assert torch.equal(first["image"], second["image"])
        assert torch.equal(first["findings"].nan_to_num(-1), second["findings"].nan_to_num(-1))
        assert (first["text"], first["units"]) == (second["text"], second["units"])


def test_the_data_module_has_three_parts_and_a_seeded_order(archive: Archive, evidence_folder: Path) -> None:
    def first_batch(seed: int) -> lgdea.data.Batch:
        data = ArchiveDataModule(archive, evidence=evidence_folder, pairing=0.5, batch_size=8, seed=seed, image_size=32)
        data.setup()
        assert data.train.findings == data.val.findings == data.test.findings
        assert not data.train._items["linked"].all()
        assert data.val._items["linked"].all()
        splits = [set(part._items["split"]) for part in (data.train, data.val, data.test)]
        assert splits == [{"train"}, {"val"}, {"test"}]
        assert sum(len(batch["text"]) for batch in data.test_dataloader()) == len(data.test)
        return next(iter(data.train_dataloader()))

    batch = first_batch(0)
    assert batch["image"].shape == (8, 1, 32, 32)
    assert batch["findings"].shape[0] == 8
    assert batch["linked"].dtype == torch.bool
    assert batch["image_id"] == first_batch(0)["image_id"] != first_batch(1)["image_id"]


def test_a_lightning_trainer_takes_the_data_module(archive: Archive, tmp_path: Path) -> None:
    class Mean(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(()))

        def training_step(self, batch: lgdea.data.Batch, _: int) -> torch.Tensor:
            return (batch["image"].mean() - self.bias).square()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    module, data = Mean(), ArchiveDataModule(archive, batch_size=8, image_size=32)
    trainer = L.Trainer(
        max_steps=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(module, data)
    assert float(module.bias.detach()) != 0


def test_a_pairing_or_evidence_of_another_archive_is_refused(
    archive: Archive, evidence_folder: Path, tmp_path: Path
) -> None:
    wrong = pd.DataFrame({"study_id": ["other:1"], "patient_id": ["p"], "state": ["paired"]})
    with pytest.raises(DataError, match=r"row other:1: the pairing names a study that .* lacks"):
        ArchiveDataset(archive, pairing=wrong)
    other = lgdea.build_archive("phantom", "default", tmp_path / "other", studies=5, size=64, seed=9)
    with pytest.raises(UsageError, match="other reports than this archive"):
        ArchiveDataset(other, evidence=evidence_folder)
    with pytest.raises(UsageError, match="other reports than this archive"):
        ArchiveDataset(other, evidence=lgdea.extract("No pneumothorax."))
    with pytest.raises(UsageError, match="choose image or study"):
        ArchiveDataset(archive, per="patient")  # type: ignore[arg-type]
