"""Doubts about links: wrong ones are planted and must be found."""

from __future__ import annotations

import doctest
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

import lgdea
from lgdea.errors import LgdeaError
from lgdea.linking import inputs
from lgdea.linking.agreement import cross_fit, most_wrong, platt, probability_wrong
from lgdea.records.archive import Archive
from lgdea.records.links import without_wrong
from lgdea.runs import fingerprint
from lgdea.statistics.roc import auroc


def _with_wrong_links(archive: Archive, share: float, seed: int) -> tuple[Archive, set[str]]:
    """Exchange the reports of some training studies in a circle."""
    rng = np.random.default_rng(seed)
    reports = archive.reports.copy()
    train = set(archive.studies.loc[archive.studies["split"] == "train", "study_id"])
    rows = rng.permutation(np.flatnonzero(reports["study_id"].isin(train)))
    chosen = rows[: round(share * len(rows))]
    studies = reports["study_id"].to_numpy().copy()
    studies[chosen] = np.roll(studies[chosen], 1)
    return archive.with_tables(reports=reports.assign(study_id=studies)), set(studies[chosen])


def test_planted_wrong_links_are_found_above_chance(archive: Archive, evidence: Path, pixels) -> None:
    areas, precisions = [], []
    for seed in range(3):
        planted, wrong = _with_wrong_links(archive, 0.15, seed)
        rows = lgdea.doubt_links(planted, evidence, pixels, wrong_share=0.15, seed=seed)
        truth = rows["study_id"].isin(wrong).to_numpy()
        areas.append(auroc(-rows["rank"].to_numpy(float), truth))
        precisions.append(truth[: len(wrong)].mean() / truth.mean())
    assert np.mean(areas) > 0.6
    assert np.mean(precisions) > 1.3


def test_a_row_says_what_disagrees(archive: Archive, evidence: Path, pixels) -> None:
    rows = lgdea.doubt_links(archive, evidence, pixels)
    assert list(rows["rank"]) == list(range(1, len(rows) + 1))
    assert rows["p_wrong"].is_monotonic_decreasing
    assert rows["disagreement"].between(0, 1).all()
    assert 1 <= rows["reason"].iloc[0].count("(usual") <= 3
    assert set(rows["wrong"]) == {""}
    train = archive.studies.loc[archive.studies["split"] == "train", "study_id"]
    assert set(rows["study_id"]) == set(train)
    assert rows.attrs["separation"] > 0.55


def test_wrong_links_disagree_evenly(archive: Archive, evidence: Path, pixels) -> None:
    """No link is right, so that whatever tells links from re-paired ones has seen what it should not have."""
    found = []
    for seed in range(4):
        planted, _ = _with_wrong_links(archive, 1.0, seed)
        rows = lgdea.doubt_links(planted, evidence, pixels, seed=seed)
        found.append((rows["disagreement"].mean(), rows.attrs["separation"], rows.attrs["most_wrong"]))
    disagreement, separation, most_wrong = np.mean(found, axis=0)
    assert 0.47 < disagreement < 0.53
    assert 0.47 < separation < 0.53
    assert most_wrong > 0.7


def test_random_weights_are_told_to_know_nothing(
    archive: Archive, evidence: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="lgdea"):
        lgdea.doubt_links(archive, evidence, "timm:test_resnet@random")
    assert "timm:test_resnet@random: random weights know nothing of images: give a trained model" in caplog.text


def test_links_that_are_not_there_are_not_judged(archive: Archive, evidence: Path, pixels) -> None:
    pairing = lgdea.make_pairing(archive, 0.6)
    rows = lgdea.doubt_links(archive, evidence, pixels, pairing=pairing)
    assert set(rows["study_id"]) == set(pairing.loc[pairing["state"] == "paired", "study_id"])


def test_the_links_that_are_said_to_be_wrong_are_hidden(
    archive: Archive, evidence: Path, pixels, tmp_path: Path
) -> None:
    file = tmp_path / "doubts.csv"
    rows = lgdea.doubt_links(archive, evidence, pixels, out=file)
    pairing = lgdea.make_pairing(archive, 1.0)
    with pytest.raises(LgdeaError, match="no link is said to be wrong"):
        without_wrong(pairing, file)
    cells = pd.read_csv(file, dtype=str, keep_default_na=False)
    cells.loc[[0, 3], "wrong"] = "x"
    cells.to_csv(file, index=False)
    kept = without_wrong(pairing, file).set_index("study_id")["state"]
    changed = kept[kept != pairing.set_index("study_id")["state"]]
    assert set(changed.index) == {rows["study_id"][0], rows["study_id"][3]}
    assert set(changed) == {"unlinked"}


def _run(folder: Path, archive: Archive, pairing: pd.DataFrame, model) -> Path:
    """A run folder as `lgdea pretrain` leaves it."""
    lgdea.save_model(model, folder / "model")
    file = folder / "inputs" / "pairing.parquet"
    from lgdea.records.pairing import write_pairing

    write_pairing(pairing, file)
    inputs = {"archive": archive.folder, "pairing": file}
    run = {"stage": "pretrain", "inputs": {k: str(v) for k, v in inputs.items()}}
    run["input_hashes"] = {k: fingerprint(v) for k, v in inputs.items()}
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder / "model"


def test_a_model_that_has_seen_the_links_is_refused(
    archive: Archive, evidence: Path, model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = lgdea.make_pairing(archive, 0.5)
    folder = _run(tmp_path / "run", archive, seen, model)
    count = int((seen["state"] == "paired").sum())
    with pytest.raises(LgdeaError, match=f"was trained on {count} of the ") as caught:
        lgdea.doubt_links(archive, evidence, folder)
    assert "\n" not in str(caught.value)
    others = lgdea.make_pairing(archive, 1.0)
    others.loc[others["study_id"].isin(seen.loc[seen["state"] == "paired", "study_id"]), "state"] = "unlinked"
    lgdea.doubt_links(archive, evidence, folder, pairing=others)  # links that the model has not seen
    (folder.parent / "inputs" / "pairing.parquet").unlink()
    alone = lgdea.save_model(model, tmp_path / "alone")
    with caplog.at_level(logging.WARNING, logger="lgdea"):
        lgdea.doubt_links(archive, evidence, folder)
        lgdea.doubt_links(archive, evidence, alone)
    assert "with a pairing that is no longer at" in caplog.text
    assert "it is not known which links it was trained on" in caplog.text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fraction": 0.0}, "has no linked training study; there is nothing to doubt"),
        ({"fraction": 0.02}, r"linked patients are too few for 5 folds, which take 10; link more studies"),
        ({"fraction": 0.1, "folds": 3}, "state no finding 10 times or more"),
        ({"wrong_share": 0.0}, "a share of 0.0 wrong links is not in (0, 1)"),
        ({"folds": 2}, "2 folds are too few to judge and to calibrate"),
        ({"evidence": "other"}, "other reports than this archive's"),
        ({"model": "nowhere"}, "nowhere: no such model folder"),
    ],
)
def test_each_mistake_is_one_line(
    archive: Archive, evidence: Path, pixels, options: dict, says: str, tmp_path: Path
) -> None:
    reports = pd.DataFrame({"study_id": [1], "text": ["Clear lungs."]})
    other = lgdea.build_archive("other", reports=reports, out=tmp_path / "other")
    pairing = lgdea.make_pairing(archive, options.pop("fraction", 1.0))
    given = {"evidence": evidence, "model": pixels, "pairing": pairing, **options}
    if given["evidence"] == "other":
        given["evidence"] = lgdea.extract(other).save(tmp_path / "evidence")
    with pytest.raises(LgdeaError) as caught:
        lgdea.doubt_links(archive, **given)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_heads_have_not_seen_the_fold_that_they_judge() -> None:
    rng = np.random.default_rng(0)
    vectors, folds = rng.normal(size=(200, 300)), np.arange(200) % 4
    noise = (rng.random((200, 3)) < 0.5).astype(float)
    told = cross_fit(vectors, noise, folds)
    # With more features than pairs, heads that had seen a pair would know its label.
    assert all(abs(auroc(told[:, u], noise[:, u]) - 0.5) < 0.12 for u in range(3))
    signal = (vectors[:, :1] > 0).astype(float)
    assert auroc(cross_fit(vectors, signal, folds)[:, 0], signal[:, 0]) > 0.65


def test_platt_finds_the_coefficients_and_survives_one_kind() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 2))
    labels = (rng.random((20_000, 2)) < expit(0.5 + 2 * scores)).astype(float)
    labels[:, 1] = 0
    labels[:50, 0] = np.nan
    told = platt(scores, labels, np.array([[-1.0, 0.0], [1.0, 0.0]]))
    assert np.allclose(logit(told[:, 0]), [-1.5, 2.5], atol=0.15)
    assert (told[:, 1] < 1e-3).all()


def test_probabilities_are_calibrated_when_the_share_is_right() -> None:
    rng = np.random.default_rng(0)
    wrong = rng.random(4000) < 0.2
    scores = np.where(wrong, rng.normal(-1, 1, 4000), rng.normal(1, 1, 4000))
    repaired = rng.normal(-1, 1, 40_000)
    told = probability_wrong(scores, repaired, 0.2)
    for low, high in ((0, 0.1), (0.1, 0.4), (0.4, 0.8), (0.8, 1.01)):
        inside = (told >= low) & (told < high)
        assert abs(told[inside].mean() - wrong[inside].mean()) < 0.08
    assert 0.2 < most_wrong(scores, repaired) < 0.3
    assert most_wrong(repaired[:4000], repaired) > 0.9


def test_examples_run() -> None:
    result = doctest.testmod(inputs)
    assert result.attempted > 0
    assert result.failed == 0
