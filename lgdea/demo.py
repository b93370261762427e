"""The whole pipeline on the phantom, in the order in which data flows.

Every stage writes its own folder below ``out`` and is skipped or resumed when it is already there, so a demo
that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgdea import runs
from lgdea.config import load_config
from lgdea.errors import UsageError
from lgdea.manifests import check_file, read_manifest
from lgdea.shipped import config_files, shipped
from lgdea.statistics.format import format_interval

log = logging.getLogger(__name__)

OBJECTIVES = ("clip", "lgdea")
DIFFICULTY = "easy"
"""Two minutes of training on a CPU see too little for the phantom's harder settings."""

CACHES = "caches"
"""Resized images and the frozen tower's features, for both models; removed when both are trained."""
TOWER_FILE = "phantom.safetensors"
"""In the shipped ``towers``; a JSON file of the same name says where it comes from."""
MAX_SEED = 999_999
"""The archives of greater seeds are not for the demo: the tower was trained on one of them."""

TABLE_METRICS = {
    "zero-shot": [("auroc_macro", "zero-shot AUROC")],
    "retrieval": [
        ("image_to_report/evidence_ndcg@10", "evidence nDCG@10, image to report"),
        ("image_to_report/evidence_precision@10", "evidence precision@10, image to report"),
        ("image_to_report/recall@10", "instance Recall@10, image to report"),
    ],
    "grounding": [("pointing_macro", "pointing game"), ("cnr_macro", "CNR"), ("miou_macro", "mIoU")],
}


@dataclass(frozen=True)
class Summary:
    """Comparison of both models, printed last."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    report: Path
    note: str
    """What both models start from."""


def run_demo(out: Path, *, studies: int, fraction: float, seed: int, max_steps: int | None) -> Summary:
    """Run phantom, pairing, extraction, two pretrainings, evaluation and report; each stage is logged.

    Args:
        out: Folder to write.
        studies: Number of studies of the phantom.
        fraction: Share of the linkable training patients that keep their link.
        seed: Seed of the phantom, the pairing and the training.
        max_steps: Training steps of each model; None takes the shipped configuration's.
    """
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"the demo's seed cannot be {seed}", remedy=f"choose one from 0 to {MAX_SEED}")
    began = time.monotonic()
    tower, note = starting_tower()
    log.info("%s", note)
    _open(out, {"studies": studies, "fraction": fraction, "seed": seed, "max_steps": max_steps})
    archive = _phantom(out / "archive", studies, seed)
    pairing = _pair(archive, out / "pairing.parquet", fraction, seed)
    evidence = _extract(archive, out / "evidence")
    for objective in OBJECTIVES:
        inputs = {"archive": archive, "evidence": evidence, "pairing": pairing}
        _pretrain(objective, inputs, tower, out / "runs" / objective, seed, max_steps)
    shutil.rmtree(out / CACHES, ignore_errors=True)
    for objective in OBJECTIVES:
        _evaluate(out / "runs" / objective / "model", archive, out / "results" / objective, seed)
    report = _report(out, archive, evidence, fraction, note, seed)
    if not runs.is_finished(out):
        runs.finish(out, seconds=round(time.monotonic() - began, 1))
    title = f"{fraction:.0%} linked pairs, {studies:,} studies, same trained image tower, same steps"
    return Summary(title, ["metric", *OBJECTIVES, "difference"], comparison(out / "results"), report, note)


def starting_tower() -> tuple[Path, str]:
    """The shipped weights that both models start from, and a sentence on what they have learned from.

    Raises:
        DataError: The files are not those that were shipped.
    """
    file = Path(str(shipped("towers"))) / TOWER_FILE
    told = read_manifest(file.with_suffix(".json"), what="tower's provenance", remedy="reinstall lgdea")
    check_file(file, told, file.parent)
    archive = told["archive"]
    note = (
        f"Both models start from one image tower, trained beforehand with the findings of {archive['studies']:,} other "
        f"phantom studies (seed {archive['seed']}) and the sides and lung zones that their reports state."
    )
    return file, note


def comparison(results: Path) -> list[list[str]]:
    """Rows of metric, clip [interval], lgdea [interval], difference."""
    from lgdea.evaluation.results.result import read_result

    rows = []
    for task, metrics in TABLE_METRICS.items():
        both = [read_result(results / objective, task) for objective in OBJECTIVES]
        for key, name in metrics:
            values = [result.metrics[key] for result in both]
            cells = [format_interval(m.value, m.low, m.high) for m in values]
            rows.append([name, *cells, f"{values[1].value - values[0].value:+.3f}"])
    return rows


def _open(out: Path, settings: dict[str, Any]) -> None:
    try:
        runs.start(out, stage="demo", config=settings, inputs={})
    except UsageError as error:
        raise UsageError(error.problem, file=out, remedy="choose another --out or remove the folder") from None


def _phantom(folder: Path, studies: int, seed: int) -> Path:
    from lgdea.phantom import generate

    if not runs.is_finished(folder):
        with _stage(f"phantom: {studies:,} studies"):
            generate(folder, studies=studies, seed=seed, difficulty=DIFFICULTY)
    return folder


def _pair(archive: Path, file: Path, fraction: float, seed: int) -> Path:
    from lgdea.records.archive import Archive
    from lgdea.records.pairing import make_pairing, write_pairing

    pairing = make_pairing(Archive.open(archive), fraction=fraction, seed=seed)
    write_pairing(pairing, file)
    counts = pairing["state"].value_counts()
    kept, lost = counts.get("paired", 0), counts.get("unlinked", 0)
    log.info("pairing: %s studies keep their link, %s lose it", f"{kept:,}", f"{lost:,}")
    return file


def _extract(archive: Path, folder: Path) -> Path:
    from lgdea.annotation.scoring import score
    from lgdea.evidence.backends.base import get_backend
    from lgdea.evidence.runner import extract
    from lgdea.records.archive import Archive

    with _stage("evidence: rules extraction"):
        tables = Archive.open(archive)
        extract(tables, get_backend("rules"), folder)
        f1 = score(folder, "phantom", tables).micro.f1
        log.info("evidence: micro-F1 against the phantom's truth %.3f", f1)
    return folder


def _pretrain(
    objective: str, inputs: dict[str, Path], tower: Path, run: Path, seed: int, max_steps: int | None
) -> None:
    from lgdea.pretraining.config import PretrainConfig
    from lgdea.pretraining.fit import fit

    caches = {name: run.parent.parent / CACHES / name for name in ("image_cache", "feature_cache")}
    settings: dict[str, Any] = {"data": {**inputs, **caches}, "image": {"weights": tower}, "seed": seed}
    if max_steps is not None:
        settings["trainer"] = {"max_steps": max_steps}
    files = config_files("pretrain", [f"demo-{objective}", "demo-tower"])
    with _stage(f"pretraining: {objective}"):
        fit(load_config(PretrainConfig, files, [settings]), run)


def _evaluate(model_folder: Path, archive: Path, results: Path, seed: int) -> None:
    from lgdea import load_model
    from lgdea.evaluation.results.result import write_result
    from lgdea.evaluation.tasks import grounding, retrieval, zero_shot
    from lgdea.records.archive import Archive

    if runs.is_finished(results):
        return
    with _stage(f"evaluation: {results.name}"):
        model, tables = load_model(model_folder), Archive.open(archive)
        for task in (zero_shot, retrieval, grounding):
            write_result(task(model, tables, seed=seed), results)
        runs.write_text(results / runs.SUCCESS, "")


def _report(out: Path, archive: Path, evidence: Path, fraction: float, note: str, seed: int) -> Path:
    from lgdea.reporting.page import build_report
    from lgdea.reporting.picture import readme_picture

    results = {name: out / "results" / name for name in OBJECTIVES}
    with _stage("report"):
        model = out / "runs" / "lgdea" / "model"
        readme_picture(
            out=out / "demo.png", archive=archive, evidence=evidence, model=model, results=results, seed=seed
        )
        return build_report(
            out=out / "report.html",
            title=f"lgdea demo: {fraction:.0%} of the patients linked",
            note=note,
            runs={name: out / "runs" / name for name in OBJECTIVES},
            results=results,
            archive=archive,
            evidence=evidence,
            seed=seed,
        )


@contextmanager
def _stage(name: str) -> Iterator[None]:
    """Log the beginning of a stage and, when it is done, the time that it took."""
    began = time.monotonic()
    log.info("%s ...", name)
    yield
    log.info("%s: %.0f s", name, time.monotonic() - began)
