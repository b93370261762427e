"""The links benchmark in small: it measures, resumes, and plants wrong links as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.archive import PhantomSettings
from benchmarks.links import LinksBenchConfig, plant_wrong_links, run_links, summarise, to_markdown
from benchmarks.pairing import Variant
from lgdea.records.archive import Archive

SMALL = [
    *("image.size=32", "text.hidden=32", "text.layers=1", "model.dim=16", "trainer.max_steps=4"),
    *("data.batch_size_per_device=8", "validation.max_images=0"),
]


@pytest.fixture(scope="module")
def config() -> LinksBenchConfig:
    return LinksBenchConfig(
        phantom=PhantomSettings(studies=160, size=64, difficulty="easy"),
        pretrain="demo-lgdea",
        set=SMALL,
        variants={"lgdea": Variant()},
        fractions=[0.1],
        seeds=[0],
        probe_seeds=1,
        least_shown=4,
        trained=["both"],
        doubted=[1.0],
    )


@pytest.fixture(scope="module")
def folder(config: LinksBenchConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("links")
    said: list[str] = []
    run_links(config, out, say=said.append)
    assert len(said) == 5 + 2 + 1
    return out


def test_measurements_are_kept_and_not_made_again(config: LinksBenchConfig, folder: Path) -> None:
    said: list[str] = []
    results = run_links(config, folder, say=said.append, minutes=0)
    assert said == []
    assert {run["kind"] for run in results} == {"probe", "doubt", "train"}
    linked = {run["what"]: run["linked"] for run in results if run["kind"] != "doubt"}
    assert len(set(linked.values())) == 1, "all strategies link as many"
    table = summarise(results)
    assert table["mean"].between(0, 200).all()
    assert to_markdown(table).count("| both | 10.0% |") == 2


@pytest.mark.parametrize("within_block", [False, True])
def test_wrong_links_join_different_patients(folder: Path, within_block: bool) -> None:
    archive = Archive.open(folder / "archive")
    linked = set(archive.studies.loc[archive.studies["split"] == "train", "study_id"])
    planted, wrong = plant_wrong_links(archive, linked, 0.2, 0, within_block=within_block)
    studies = archive.studies.set_index("study_id")
    before = archive.reports.set_index("report_id")["study_id"]
    after = planted.reports.set_index("report_id")["study_id"]
    moved = before != after
    assert set(after[moved]) == set(before[moved]) == wrong
    assert abs(len(wrong) - 0.2 * len(linked)) <= 4
    ours, theirs = studies.loc[before[moved]], studies.loc[after[moved]]
    assert (ours["patient_id"].to_numpy() != theirs["patient_id"].to_numpy()).all()
    if within_block:
        assert (ours[["site", "sex"]].to_numpy() == theirs[["site", "sex"]].to_numpy()).all()
