"""Suggestions of links on a phantom."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lgdea
from lgdea.errors import LgdeaError
from lgdea.evaluation.embed import embed_archive
from lgdea.evaluation.encoders.protocol import as_image_encoder
from lgdea.linking.inputs import stated_findings, training_items
from lgdea.records.archive import Archive
from lgdea.records.links import pair_links

STRATEGIES = ["images", "k-centre", "rare", "both", "random"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_suggestions_are_unlinked_training_studies_of_different_patients(
    archive: Archive, evidence: Path, model, strategy: str
) -> None:
    pairing = lgdea.make_pairing(archive, 0.1)
    rows = lgdea.suggest_links(
        archive, 20, model=model, evidence=evidence, pairing=pairing, strategy=strategy
    )  # fmt: skip
    states = pairing.set_index("study_id")["state"]
    split = archive.studies.set_index("study_id")["split"]
    assert list(rows["rank"]) == list(range(1, 21))
    assert set(states[rows["study_id"]]) == {"unlinked"}
    assert set(split[rows["study_id"]]) == {"train"}
    assert rows["study_id"].is_unique
    # `both` chooses on either side by itself; elsewhere no patient comes twice before all have come once.
    assert rows["patient_id"].is_unique or strategy == "both"
    named = (rows["image_id"] != "").astype(int) + (rows["report_id"] != "")
    assert set(named) == {1}, "one side is the clerk's to fill in"
    assert rows["reason"].str.len().min() > 5


@pytest.mark.parametrize("strategy", ["images", "rare", "both"])
def test_a_choice_covers_more_than_chance(archive: Archive, evidence: Path, model, strategy: str) -> None:
    pairing = lgdea.make_pairing(archive, 0.05)
    rows = lgdea.suggest_links(
        archive, 10, model=model, evidence=evidence, pairing=pairing, strategy=strategy
    )  # fmt: skip
    row = rows.attrs["coverage"][0]
    assert row["after"] > row["random"] + row["random_sd"]
    assert row["after"] > row["before"]


def test_what_is_said_to_be_covered_is(archive: Archive, evidence: Path) -> None:
    pairing = lgdea.make_pairing(archive, 0.05)
    rows = lgdea.suggest_links(archive, 8, evidence=evidence, pairing=pairing)
    reports = training_items(archive, pairing).reports
    present = stated_findings(pd.read_parquet(evidence / "evidence.parquet"), reports["report_id"]).present.toarray()
    linked = reports["study_id"].isin([*rows["study_id"], *pairing.loc[pairing["state"] == "paired", "study_id"]])
    reached = ((present[linked].sum(axis=0) >= 1) & (present.sum(axis=0) >= 2)).sum()
    assert rows.attrs["coverage"][0]["after"] == reached


def test_embeddings_on_disk_choose_as_their_model_does(archive: Archive, model, tmp_path: Path) -> None:
    pairing = lgdea.make_pairing(archive, 0.0)
    folder = embed_archive(as_image_encoder(model), archive, tmp_path / "embedded")
    by_folder = lgdea.suggest_links(archive, 9, model=folder, pairing=pairing)
    by_model = lgdea.suggest_links(archive, 9, model=model, pairing=pairing)
    pd.testing.assert_frame_equal(by_folder, by_model)


def test_a_sheet_that_is_filled_in_becomes_links(archive: Archive, evidence: Path, model, tmp_path: Path) -> None:
    file = tmp_path / "links_to_make.csv"
    few = lgdea.make_pairing(archive, 0.05)
    rows = lgdea.suggest_links(archive, 6, model=model, evidence=evidence, pairing=few, out=file)
    with file.open(encoding="utf-8-sig", newline="") as stream:
        cells = list(csv.DictReader(stream))
    assert [row["study_id"] for row in cells] == rows["study_id"].tolist()
    partner = {key: table.set_index("study_id")[key] for key, table in
               (("image_id", archive.images), ("report_id", archive.reports))}  # fmt: skip
    for row in cells:
        for key in partner:
            row[key] = row[key] or partner[key][row["study_id"]]
    pd.DataFrame(cells).to_csv(file, index=False)
    pairing = pair_links(archive, [file])
    assert set(pairing.loc[pairing["state"] == "paired", "study_id"]) == set(rows["study_id"])


def test_images_and_reports_that_were_never_linked_get_linked(archive: Archive, tmp_path: Path) -> None:
    """The whole way of an archive whose two sides do not know each other."""
    images = archive.images.assign(study_id="i" + archive.images["study_id"])
    images = images.assign(path=[str(archive.image_path(i)) for i in images["image_id"]])[["study_id", "path"]]
    reports = archive.reports.assign(study_id="r" + archive.reports["study_id"])[["study_id", "text"]]
    apart = lgdea.build_archive("apart", images=images, reports=reports, out=tmp_path / "apart")
    found = lgdea.extract(apart).save(tmp_path / "evidence")
    file = tmp_path / "links_to_make.csv"
    rows = lgdea.suggest_links(apart, 12, evidence=found, out=file)
    assert set(rows["image_id"]) == {""}
    own = apart.images.set_index("study_id")["image_id"]
    split = apart.studies.set_index("study_id")["split"]
    filled = rows.assign(image_id=[own[f"apart:i{s.removeprefix('apart:r')}"] for s in rows["study_id"]])
    # A clerk cannot know the split; each side was split by patients of its own.
    fits = split[filled["image_id"].map(apart.images.set_index("image_id")["study_id"])].to_numpy() == "train"
    filled[fits].to_csv(file, index=False)
    linked = lgdea.link_archive(apart, file, tmp_path / "linked")
    both = set(linked.images["study_id"]) & set(linked.reports["study_id"])
    assert both == set(filled.loc[fits, "study_id"])
    again = lgdea.suggest_links(linked, 3, evidence=found)  # the evidence is still that of the reports
    assert not set(again["study_id"]) & both


def _frame(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"budget": 5}, "nothing to choose by; give a model, evidence or both"),
        ({"budget": 5, "strategy": "rare"}, "strategy rare reads evidence; give the evidence"),
        ({"budget": 5, "strategy": "images", "evidence": "own"}, "strategy images looks at images; give a model"),
        ({"budget": 5, "strategy": "k-center", "evidence": "own"}, "no such strategy 'k-center'; choose one of images"),
        ({"budget": 0, "evidence": "own"}, "a budget of 0 links chooses nothing"),
        ({"budget": 5000, "evidence": "own"}, "5,000 links of reports are asked for, 1"),
        (
            {"budget": 5, "evidence": "own", "pairing": None},
            "0 training studies with reports are not linked; all links",
        ),
        ({"budget": 5, "evidence": "other"}, "other reports than this archive's"),
        ({"budget": 5, "evidence": "own", "pairing": "other"}, "that the archive 'phantom' lacks"),
        ({"budget": 5, "model": "nowhere"}, "nowhere: no such model folder"),
    ],
)
def test_each_mistake_is_one_line(archive: Archive, evidence: Path, options: dict, says: str, tmp_path: Path) -> None:
    other = lgdea.build_archive("other", reports=_frame(study_id=[1], text=["Clear lungs."]), out=tmp_path / "other")
    known = {"own": evidence, "other": lgdea.extract(other).save(tmp_path / "evidence")}
    pairings = {"other": lgdea.make_pairing(other, 0), "own": lgdea.make_pairing(archive, 0)}
    options = {"pairing": "own", **options}
    options["pairing"] = pairings.get(options["pairing"] or "")
    if "evidence" in options:
        options["evidence"] = known[options["evidence"]]
    with pytest.raises(LgdeaError) as caught:
        lgdea.suggest_links(archive, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_links_than_are_left_are_counted_over_both_sides(archive: Archive, evidence: Path, model) -> None:
    pairing = lgdea.make_pairing(archive, 0.5)
    train = set(archive.studies.loc[archive.studies["split"] == "train", "study_id"])
    left = int((pairing["study_id"].isin(train) & (pairing["state"] != "paired")).sum())
    with pytest.raises(LgdeaError, match=f"{left + 1} links are asked for, {left} training studies are not linked"):
        lgdea.suggest_links(archive, left + 1, model=model, evidence=evidence, pairing=pairing, strategy="both")


def test_the_same_seed_suggests_the_same(archive: Archive) -> None:
    pairing = lgdea.make_pairing(archive, 0)
    first, again, other = (
        lgdea.suggest_links(archive, 10, pairing=pairing, strategy="random", seed=seed) for seed in (0, 0, 1)
    )
    assert first.equals(again)
    assert not np.array_equal(first["study_id"], other["study_id"])
