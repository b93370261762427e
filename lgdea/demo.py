"""The whole pipeline on the phantom, in the order in which data flows.

Every stage writes its own folder below ``out`` and is skipped or resumed when it is already there, so a demo
that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgdea import runs
from lgdea.config import load_config
from lgdea.errors import UsageError
from lgdea.shipped import shipped

OBJECTIVES = ("clip", "lgdea")
DIFFICULTY = "easy"
"""Two minutes of training on a CPU see too little for the phantom's harder settings."""

SHOWN = {
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
    """What the demo prints last."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    report: Path


def run_demo(
    out: Path, *, studies: int, fraction: float, seed: int, max_steps: int | None, say: Callable[[str], Any]
) -> Summary:
    """Phantom, pairing, extraction, two pretrainings, evaluation and report.

    Args:
        out: Folder to write.
        studies: Number of studies of the phantom.
        fraction: Share of the linkable training patients that keep their link.
        seed: Seed of the phantom, the pairing and the training.
        max_steps: Training steps of each model; None takes the shipped configuration's.
        say: Called with one line before and after each stage.
    """
    _open(out, {"studies": studies, "fraction": fraction, "seed": seed, "max_steps": max_steps})
    clock = _Clock(say)
    archive = _phantom(out / "archive", studies, seed, clock)
    pairing = _pair(archive, out / "pairing.parquet", fraction, seed, clock)
    evidence = _extract(archive, out / "evidence", clock)
    for objective in OBJECTIVES:
        inputs = {"archive": archive, "evidence": evidence, "pairing": pairing}
        _pretrain(objective, inputs, out / "runs" / objective, seed, max_steps, clock)
    for objective in OBJECTIVES:
        _evaluate(out / "runs" / objective / "model", archive, out / "results" / objective, seed, clock)
    report = _report(out, archive, evidence, fraction, seed, clock)
    if not runs.is_finished(out):
        runs.finish(out, seconds=clock.total())
    title = f"{fraction:.0%} linked pairs, {studies:,} studies, same towers and steps"
    return Summary(title, ["metric", *OBJECTIVES, "difference"], comparison(out / "results"), report)


def comparison(results: Path) -> list[list[str]]:
    """Rows of metric, clip [interval], lgdea [interval], difference."""
    from lgdea.evaluation.results.result import read_result

    rows = []
    for task, metrics in SHOWN.items():
        both = [read_result(results / objective, task) for objective in OBJECTIVES]
        for key, name in metrics:
            values = [result.metrics[key] for result in both]
            cells = [f"{m.value:.3f} [{m.low:.3f}, {m.high:.3f}]" for m in values]
            rows.append([name, *cells, f"{values[1].value - values[0].value:+.3f}"])
    return rows


def _open(out: Path, settings: dict[str, Any]) -> None:
    try:
        runs.start(out, stage="demo", config=settings, inputs={})
    except UsageError as error:
        raise UsageError(error.problem, file=out, remedy="choose another --out or remove the folder") from None


def _phantom(folder: Path, studies: int, seed: int, clock: _Clock) -> Path:
    from lgdea.phantom import generate

    if not runs.is_finished(folder):
        with clock.stage(f"phantom: {studies:,} studies"):
            generate(folder, studies=studies, seed=seed, difficulty=DIFFICULTY)
    return folder


def _pair(archive: Path, file: Path, fraction: float, seed: int, clock: _Clock) -> Path:
    from lgdea.records.archive import Archive
    from lgdea.records.pairing import make_pairing, write_pairing

    pairing = make_pairing(Archive.open(archive), fraction=fraction, seed=seed)
    write_pairing(pairing, file)
    counts = pairing["state"].value_counts()
    clock.say(f"pairing: {counts.get('paired', 0):,} studies keep their link, {counts.get('unlinked', 0):,} lose it")
    return file


def _extract(archive: Path, folder: Path, clock: _Clock) -> Path:
    from lgdea.annotation.scoring import score
    from lgdea.evidence.backends.base import get_backend
    from lgdea.evidence.runner import extract
    from lgdea.records.archive import Archive

    with clock.stage("evidence: rules extraction"):
        tables = Archive.open(archive)
        extract(tables, get_backend("rules"), folder)
        clock.say(f"evidence: micro-F1 against the phantom's truth {score(folder, 'phantom', tables).micro.f1:.3f}")
    return folder


def _pretrain(
    objective: str, inputs: dict[str, Path], run: Path, seed: int, max_steps: int | None, clock: _Clock
) -> None:
    from lgdea.pretraining.config import PretrainConfig
    from lgdea.pretraining.fit import fit

    settings: dict[str, Any] = {"data": inputs, "seed": seed}
    if max_steps is not None:
        settings["trainer"] = {"max_steps": max_steps}
    file = Path(str(shipped("configs"))) / "pretrain" / f"demo-{objective}.yaml"
    with clock.stage(f"pretraining: {objective}"):
        fit(load_config(PretrainConfig, [file], [settings]), run)


def _evaluate(model_folder: Path, archive: Path, results: Path, seed: int, clock: _Clock) -> None:
    from lgdea import load_model
    from lgdea.evaluation.results.result import write_result
    from lgdea.evaluation.tasks import grounding, retrieval, zero_shot
    from lgdea.records.archive import Archive

    if runs.is_finished(results):
        return
    with clock.stage(f"evaluation: {results.name}"):
        model, tables = load_model(model_folder), Archive.open(archive)
        for task in (zero_shot, retrieval, grounding):
            write_result(task(model, tables, seed=seed), results)
        runs.write_text(results / runs.SUCCESS, "")


def _report(out: Path, archive: Path, evidence: Path, fraction: float, seed: int, clock: _Clock) -> Path:
    from lgdea.reporting.page import build_report
    from lgdea.reporting.picture import readme_picture

    results = {name: out / "results" / name for name in OBJECTIVES}
    with clock.stage("report"):
        model = out / "runs" / "lgdea" / "model"
        readme_picture(
            out=out / "demo.png", archive=archive, evidence=evidence, model=model, results=results, seed=seed
        )
        return build_report(
            out=out / "report.html",
            title=f"lgdea demo: {fraction:.0%} of the patients linked",
            runs={name: out / "runs" / name for name in OBJECTIVES},
            results=results,
            archive=archive,
            evidence=evidence,
            seed=seed,
        )


class _Clock:
    """Says how long each stage took."""

    def __init__(self, say: Callable[[str], Any]) -> None:
        self.say = say
        self._start = time.monotonic()

    def total(self) -> float:
        return round(time.monotonic() - self._start, 1)

    def stage(self, name: str) -> _Stage:
        return _Stage(self.say, name)


class _Stage:
    def __init__(self, say: Callable[[str], Any], name: str) -> None:
        self._say, self._name = say, name

    def __enter__(self) -> None:
        self._start = time.monotonic()
        self._say(f"{self._name} ...")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._say(f"{self._name}: {time.monotonic() - self._start:.0f} s")
