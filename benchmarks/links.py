"""Links chosen against links drawn at random, and planted wrong links found again, on the phantom; resumable.

Every measurement leaves one small JSON file in ``results``. ``probe``: linear heads on the initial tower's features,
trained on the reports of the chosen links and scored on the test part's true labels; it takes a second, so all
strategies are measured with many seeds. ``train``: pretraining with the chosen links, as in :mod:`benchmarks.pairing`.
``doubt``: links made wrong on purpose, ranked by heads that have not seen them.

A seed offers another random half of the training patients to choose from, the same half to all strategies: most
strategies choose without chance, and would choose the same with every seed otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from benchmarks.pairing import PairingBenchConfig, Shared, check_settings, load_pretraining, prepare, train_on
from lgdea import runs
from lgdea.evaluation.tasks.classifiers import LinearProbe, Standardised
from lgdea.evaluation.tasks.common import label_values
from lgdea.evidence.io import read_evidence
from lgdea.linking.doubt import judge_pairs
from lgdea.linking.inputs import TrainingItems, stated_findings, training_items
from lgdea.linking.suggest import BY_REPORTS, Strategy, choose_links
from lgdea.pretraining.corpus import build_corpus
from lgdea.records.archive import Archive
from lgdea.records.pairing import make_pairing
from lgdea.records.split import patient_position
from lgdea.statistics.roc import auroc
from lgdea.vocabulary import load_vocabulary

if TYPE_CHECKING:
    from lgdea.pretraining.config import ImageConfig

COST = 0.01
"""Inverse penalty of the probe."""
COMMON = 0.05
"""Share of test images from which on a finding counts as common."""


class LinksBenchConfig(PairingBenchConfig):
    """The measurements; archive, tower and training are those of a pairing grid with one variant."""

    strategies: list[Strategy] = Field(default=list(get_args(Strategy)))
    """Strategies of the probe."""
    probe_seeds: PositiveInt = 10
    """Seeds of the probe."""
    trained: list[Strategy] = Field(default=["random", "images", "rare"])
    """Strategies whose links are pretrained on, with the seeds of the grid."""
    least_shown: PositiveInt = 20
    """Test studies that must show a finding for the probe to score it."""
    offered: float = Field(default=0.5, gt=0, le=1)
    """Share of the training patients that a seed offers to choose from."""
    wrong_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the links that are made wrong."""
    doubted: list[float] = Field(default=[1.0, 0.2, 0.05])
    """Shares of the training patients that are linked when links are doubted."""


@dataclass(frozen=True)
class Material:
    """What the measurements share; ``features`` (N, D) are of ``archive.images``."""

    archive: Archive
    evidence: pd.DataFrame
    features: NDArray[np.float32]


def run_links(
    config: LinksBenchConfig, out: Path, *, say: Callable[[str], Any], minutes: float | None = None
) -> list[dict[str, Any]]:
    """Measure what is missing.

    Args:
        config: The measurements.
        out: ``archive``, ``evidence``, ``tower``, ``results``.
        say: Called with a line per measurement.
        minutes: Nothing is started after this time; None measures all.

    Returns:
        The results that are there.
    """
    import time

    out.mkdir(parents=True, exist_ok=True)
    check_settings(config, out)
    missing = [name for name in _names(config) if not (out / "results" / f"{name}.json").exists()]
    if missing and minutes != 0:
        shared = prepare(config, out)
        material = read_material(config, shared, out)
    began = time.monotonic()
    for name in missing:
        if minutes is not None and time.monotonic() - began >= 60 * minutes:
            say("some are left; repeat the command to go on")
            break
        kind, what, share, seed = _parts(name)
        if kind == "probe":
            result = probe(config, material, what, share, seed)
        elif kind == "train":
            pairing = chosen_pairing(config, material, what, share, seed)
            (out / "work").mkdir(exist_ok=True)
            result = train_on(config, next(iter(config.variants)), seed, pairing, shared, out / "work" / "run")
        else:
            result = doubt(config, material, what == "same-site-and-sex", share, seed)
        runs.write_json(
            out / "results" / f"{name}.json", {"kind": kind, "what": what, "share": share, "seed": seed} | result
        )
        say(name)
    files = [out / "results" / f"{name}.json" for name in _names(config)]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]


def _names(config: LinksBenchConfig) -> Iterator[str]:
    for seed in range(config.probe_seeds):
        for fraction in config.fractions:
            yield from (f"probe/{strategy}/{fraction:g}-{seed}" for strategy in config.strategies)
    for seed in config.seeds:
        for share in config.doubted:
            yield from (f"doubt/{what}/{share:g}-{seed}" for what in ("any", "same-site-and-sex"))
    for seed in config.seeds:
        for fraction in config.fractions:
            yield from (f"train/{strategy}/{fraction:g}-{seed}" for strategy in config.trained)


def _parts(name: str) -> tuple[str, Any, float, int]:
    kind, what, numbers = name.split("/")
    share, seed = numbers.rsplit("-", 1)
    return kind, what, float(share), int(seed)


def read_material(config: LinksBenchConfig, shared: Shared, out: Path) -> Material:
    """Read archive and evidence, and embed all images by the tower from which the runs start."""
    archive = Archive.open(shared.archive)
    file = out / "features.npy"
    if not file.exists():
        vectors = tower_features(archive, load_pretraining(config).image, shared)
        with runs.atomic(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, vectors)
    return Material(archive, read_evidence(shared.evidence["rules"]), np.load(file))


def tower_features(archive: Archive, image: ImageConfig, shared: Shared) -> NDArray[np.float32]:
    """Pooled features (N, D) of all images."""
    import torch

    from lgdea.imaging.cache import build_cache
    from lgdea.imaging.transforms import Preprocess
    from lgdea.models.image_tower import build_image_tower
    from lgdea.models.serialization import load_image_tower

    ids = archive.images["image_id"].tolist()
    items = [(i, archive.image_path(i)) for i in ids]
    cache = build_cache(items, shared.image_cache, image.size, mode=image.mode, bits=archive.image_bits)
    frames = torch.from_numpy(np.asarray(cache[cache.index(ids)]))[:, None]
    prepare = Preprocess(
        size=image.size, mean=float(frames.float().mean() / 255), std=float(frames.float().std() / 255), mode=image.mode
    )
    tower = build_image_tower(image.tower, image.pretrained, image.size, image.stride)
    if shared.weights is not None:
        load_image_tower(tower, shared.weights)
    tower.eval()
    with torch.no_grad():
        parts = [tower(prepare.normalise(part))["pooled"] for part in frames.split(256)]
    return np.asarray(torch.cat(parts).numpy(), np.float32)


def choose(config: LinksBenchConfig, material: Material, strategy: Strategy, fraction: float, seed: int) -> set[str]:
    """Studies that a strategy links, of the patients that the seed offers."""
    archive = material.archive
    items = training_items(archive, make_pairing(archive, fraction=0.0))
    budget = round(fraction * len(items.images))
    patients = archive.studies["patient_id"].unique()
    offered = {p for p in patients if patient_position(seed, p, "offered") < config.offered}
    images, reports = (
        side[side["patient_id"].isin(offered)].reset_index(drop=True) for side in (items.images, items.reports)
    )
    vectors, findings = features_of(material, images["image_id"]), None
    if strategy in BY_REPORTS:
        findings = stated_findings(material.evidence, reports["report_id"])
    offer = TrainingItems(images, reports)
    return set(choose_links(offer, budget, strategy, vectors=vectors, findings=findings, seed=seed)["study_id"])


def chosen_pairing(
    config: LinksBenchConfig, material: Material, strategy: Strategy, fraction: float, seed: int
) -> pd.DataFrame:
    """The pairing that links what a strategy chooses."""
    pairing = make_pairing(material.archive, fraction=0.0)
    pairing.loc[pairing["study_id"].isin(choose(config, material, strategy, fraction, seed)), "state"] = "paired"
    return pairing


def features_of(material: Material, image_ids: pd.Series) -> NDArray[np.float32]:
    """Features of some images, less their mean."""
    place = pd.Series(np.arange(len(material.features)), index=material.archive.images["image_id"])
    vectors = material.features[place[image_ids].to_numpy()]
    return np.asarray(vectors - vectors.mean(axis=0))


def probe(
    config: LinksBenchConfig, material: Material, strategy: Strategy, fraction: float, seed: int
) -> dict[str, Any]:
    """Macro AUROC on the test part of heads trained on the findings that the chosen links' reports state."""
    archive = material.archive
    chosen = choose(config, material, strategy, fraction, seed)
    studies = archive.studies.set_index("study_id")
    images = archive.images.assign(split=archive.images["study_id"].map(studies["split"]))
    train, test = images[images["study_id"].isin(chosen)], images[images["split"] == "test"]
    truth = label_values(archive.labels, test)
    shown = [str(finding) for finding in truth if (truth[finding] == 1).sum() >= config.least_shown]
    reports = archive.reports.set_index("study_id")["report_id"]
    said = finding_labels(material.evidence, reports[train["study_id"]], shown)
    vectors = features_of(material, images["image_id"]).astype(np.float64)
    rows = {name: images["image_id"].isin(part["image_id"]).to_numpy() for name, part in (("a", train), ("b", test))}
    scale = Standardised.of(vectors[rows["a"]])
    (_, (scores,)), *_ = LinearProbe().label_scores(
        scale(vectors[rows["a"]]), said, [scale(vectors[rows["b"]])], [COST]
    )
    areas = np.array([auroc(scores[:, c], truth[finding].to_numpy()) for c, finding in enumerate(shown)])
    common = ((truth[shown] == 1).mean() >= COMMON).to_numpy()
    parts = {"auroc": areas, "auroc_common": areas[common], "auroc_rare": areas[~common]}
    metrics = {name: float(part.mean()) for name, part in parts.items() if len(part)}
    return {"linked": len(chosen), "metrics": metrics | {"findings_shown": int((said == 1).any(axis=0).sum())}}


def finding_labels(evidence: pd.DataFrame, report_ids: pd.Series, findings: list[str]) -> NDArray[np.float64]:
    """(N, F) 1 where a report states the finding or a kind of it, else 0."""
    stated = evidence[evidence["assertion"] == "present"].groupby("report_id")["finding"].agg(set)
    vocabulary = load_vocabulary()
    kinds = [vocabulary.descendants(finding) for finding in findings]
    said = [stated.get(report, set()) for report in report_ids]
    return np.array([[float(bool(held & kind)) for kind in kinds] for held in said])


def doubt(config: LinksBenchConfig, material: Material, within_block: bool, share: float, seed: int) -> dict[str, Any]:
    """Make links wrong and find them again: ranking, and whether the probabilities are right."""
    archive = material.archive
    pairing = make_pairing(archive, fraction=share, seed=seed)
    linked = set(pairing.loc[pairing["state"] == "paired", "study_id"])
    planted, wrong = plant_wrong_links(archive, linked, config.wrong_share, seed, within_block=within_block)
    corpus = build_corpus(planted, material.evidence, pairing, source=archive.folder)
    images = planted.images.merge(planted.studies[["study_id", "patient_id"]], on="study_id").set_index("image_id")
    pairs = images.loc[[corpus.image_ids[i] for i in corpus.pairs[:, 0]], ["study_id", "patient_id"]].reset_index()
    pairs["report_id"] = [corpus.report_ids[r] for r in corpus.pairs[:, 1]]
    vectors = features_of(material, pairs["image_id"])
    table = judge_pairs(pairs, corpus, vectors, wrong_share=config.wrong_share, seed=seed)
    truth = table["study_id"].isin(wrong).to_numpy()
    count = int(truth.sum())
    return {
        "linked": len(table),
        "planted": count,
        "metrics": {
            "auroc": auroc(-table["rank"].to_numpy(float), truth),
            "precision_at_k": float(truth[:count].mean()),
            "precision_at_quarter": float(truth[: max(1, count // 4)].mean()),
            "probability_at_k": float(table["p_wrong"][:count].mean()),
            "separation": table.attrs["separation"],
            "most_wrong": table.attrs["most_wrong"],
        },
    }


def plant_wrong_links(
    archive: Archive, linked: set[str], share: float, seed: int, *, within_block: bool
) -> tuple[Archive, set[str]]:
    """Exchange reports among a share of the linked studies, in circles of different patients.

    Args:
        archive: Stays as it is.
        linked: Studies to draw from.
        share: Share of them whose report is exchanged.
        seed: Seed of the draw.
        within_block: Exchange only among studies of one site and sex.

    Returns:
        The archive with the exchanged reports, and the studies whose link is wrong.
    """
    rng = np.random.default_rng(seed)
    studies = archive.studies[archive.studies["study_id"].isin(linked)]
    drawn = studies.iloc[rng.permutation(len(studies))].drop_duplicates("patient_id")[: round(share * len(studies))]
    blocks = drawn.groupby(["site", "sex"]) if within_block else [(None, drawn)]
    moved: dict[str, str] = {}
    for _, block in blocks:
        ids = block["study_id"].tolist()
        if len(ids) > 1:  # a block's only study has nobody to exchange with
            moved |= dict(zip(ids, [*ids[1:], ids[0]], strict=True))
    reports = archive.reports.assign(study_id=archive.reports["study_id"].replace(moved))
    return archive.with_tables(reports=reports), set(moved)


def summarise(results: list[dict[str, Any]]) -> pd.DataFrame:
    """Mean and deviation over seeds: a row per kind, what, share and metric."""
    rows = [
        {**{key: run[key] for key in ("kind", "what", "share")}, "metric": metric, "value": value}
        for run in results
        for metric, value in run["metrics"].items()
    ]
    groups = pd.DataFrame(rows).groupby(["kind", "what", "share", "metric"], sort=False)["value"]
    return groups.agg(n="size", mean="mean", sd="std").reset_index()


def to_markdown(table: pd.DataFrame) -> str:
    """A table per kind: what and share down, metrics across."""
    parts = []
    for kind, rows in table.groupby("kind", sort=False):
        metrics = list(dict.fromkeys(rows["metric"]))
        lines = [f"**{kind}**\n", f"| | share | n | {' | '.join(metrics)} |", "|---|---|---|" + "---|" * len(metrics)]
        for (what, share), group in rows.groupby(["what", "share"], sort=False):
            by_metric = group.set_index("metric")
            cells = [f"{by_metric['mean'][m]:.3f} ± {by_metric['sd'][m]:.3f}" for m in metrics]
            lines.append(f"| {what} | {share:.1%} | {group['n'].iloc[0]} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
