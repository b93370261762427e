"""Retrieval with respect to one entity on the phantom: pretraining, entity head and evaluation, seed by seed.

Every seed leaves one JSON file, ``results/<seed>.json``; what is there is not run again, and an unfinished seed is
resumed where its pretraining or its head's training stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pydantic import Field, PositiveInt

from benchmarks.archive import PhantomSettings, make_archive
from benchmarks.evidence import make_evidence
from lgdea import runs
from lgdea.config import Config, load_config
from lgdea.shipped import config_files
from lgdea.version import __version__

METHODS = ("conditioned", "reranked", "unconditioned", "whole_image", "zero_shot")
METRICS = ("recall@1", "recall@3", "recall@5", "ndcg@5")
GAINS = ("conditioned-unconditioned", "conditioned-zero_shot", "reranked-conditioned")


class EntityBenchConfig(Config):
    """Settings of all seeds."""

    phantom: PhantomSettings = PhantomSettings(studies=3000, difficulty="easy")
    """The archive of all seeds."""
    pretrain: str = "demo-lgdea"
    """Name of a shipped pretraining configuration."""
    pretrain_steps: PositiveInt = 600
    """Its steps."""
    fraction: float = Field(default=0.5, gt=0, le=1)
    """Share of the linkable training patients that keep their link in pretraining; the head sees all."""
    head: str = "entity-cpu"
    """Name of a shipped configuration of ``lgdea compare train``."""
    head_steps: PositiveInt = 400
    """Its steps."""
    held_out: tuple[str, ...] = ("pneumothorax", "mass", "fibrosis", "pacemaker", "elevated_diaphragm")
    """Findings that the head's training never asks for."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of pairing and both trainings."""


def run_seeds(config: EntityBenchConfig, out: Path, *, say: Callable[[str], Any]) -> list[dict[str, Any]]:
    """Run the seeds whose result is not there.

    Args:
        config: The settings.
        out: ``archive``, ``evidence``, ``runs`` and ``results``.
        say: Called with a line per seed.

    Returns:
        Results of all seeds, in order.
    """
    import json

    archive = make_archive(config.phantom, out / "archive")
    evidence = make_evidence("rules", archive, out / "evidence")
    results = []
    for seed in config.seeds:
        file = out / "results" / f"{seed}.json"
        if not file.exists():
            runs.write_json(file, run_seed(config, seed, archive, evidence, out))
        results.append(json.loads(file.read_text(encoding="utf-8")))
        gain = results[-1]["classes"]["all"]["conditioned-unconditioned/recall@1"]
        say(f"seed {seed}: conditioned - unconditioned Recall@1 {gain['value']:+.3f}")
    return results


def run_seed(config: EntityBenchConfig, seed: int, archive: Path, evidence: Path, out: Path) -> dict[str, Any]:
    """Pretrain, train the head and evaluate; the numbers of the test part with their intervals by patient."""
    from lgdea.comparison.entity.config import EntityConfig
    from lgdea.comparison.entity.train import load_entity_model, train_entity_head
    from lgdea.evaluation.tasks import entity_retrieval
    from lgdea.pretraining.config import PretrainConfig
    from lgdea.pretraining.fit import fit
    from lgdea.records.archive import Archive
    from lgdea.records.pairing import make_pairing, write_pairing

    began, opened, folder = time.monotonic(), Archive.open(archive), out / "runs" / str(seed)
    pairing = folder.with_suffix(".parquet")
    pairing.parent.mkdir(parents=True, exist_ok=True)
    write_pairing(make_pairing(opened, fraction=config.fraction, seed=seed), pairing)
    data = {"archive": archive, "evidence": evidence, "image_cache": out / "image_cache"}
    steps = {"trainer": {"max_steps": config.pretrain_steps}}
    base = load_config(
        PretrainConfig,
        config_files("pretrain", [config.pretrain]),
        [{"seed": seed, "data": {**data, "pairing": pairing}}, steps],
    )
    model = fit(base, folder / "pretrain")
    settings = {"seed": seed, "model": model, "data": {**data, "held_out": list(config.held_out)}}
    steps = {"trainer": {"max_steps": config.head_steps}}
    head = load_config(EntityConfig, config_files("compare", [config.head]), [settings, steps])
    trained = load_entity_model(train_entity_head(head, folder / "entity"))
    result = entity_retrieval(trained, opened, evidence=evidence, image_cache=out / "image_cache")
    classes = {"all": result.metrics, **result.per_class}
    wanted = [f"{method}/{metric}" for method in (*METHODS, *GAINS) for metric in METRICS]
    wanted += [f"conditioned/{metric.replace('@', '_chance@')}" for metric in METRICS]
    content = result.to_dict()
    numbers = {"all": content["metrics"], **content["per_class"]}
    return {
        "seed": seed,
        "config": config.model_dump(mode="json"),
        "mix": trained.mix,
        "notes": result.notes,
        "classes": {name: {m: numbers[name][m] for m in wanted if m in numbers[name]} for name in classes},
        "seconds": round(time.monotonic() - began, 1),
        "lgdea_version": __version__,
    }


def to_rows(results: list[dict[str, Any]], classes: tuple[str, ...] = ()) -> list[list[str]]:
    """Rows of class, method and each metric's mean over seeds, with the seeds' standard deviation."""
    names = classes or tuple(name for name in results[0]["classes"] if not name.startswith("entity: "))
    rows = []
    for name in names:
        for method in (*METHODS, *GAINS):
            cells = []
            for metric in METRICS:
                found = [r["classes"].get(name, {}).get(f"{method}/{metric}") for r in results]
                values = [f["value"] for f in found if f is not None and f["value"] is not None]
                spread = f" (SD {stdev(values):.3f})" if len(values) > 1 else ""
                cells.append(f"{fmean(values):.3f}{spread}" if values else "-")
            rows.append([name, method, *cells])
    return rows
