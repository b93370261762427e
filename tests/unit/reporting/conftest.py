"""A small made-up world in the project's real formats: archive, evidence, two runs, two results folders."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from lgdea import runs
from lgdea.evaluation.results.result import Result, Value, write_result
from lgdea.evidence.schema import Unit, unit_id
from lgdea.records.archive import write_archive
from lgdea.records.tables import write_table

SIZE = 64
ATTACK = "<script>alert('x')</script> & \"quotes\""
FINDINGS = ("pleural_effusion", "cardiomegaly", "pneumothorax", "nodule")


@dataclass(frozen=True)
class World:
    """Where everything stands."""

    archive: Path
    evidence: Path
    runs: dict[str, Path]
    results: dict[str, Path]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Made once; nothing in it is changed by a test."""
    root = tmp_path_factory.mktemp("world")
    make_archive(root / "archive")
    make_evidence(root / "evidence", root / "archive" / "reports.parquet")
    make_pairing(root / "pairing.parquet")
    runs = {"clip": root / "runs" / "clip", "lgdea": root / "runs" / "lgdea"}
    results = {label: root / "results" / label for label in runs}
    for label, folder in runs.items():
        make_run(folder, label, root / "pairing.parquet")
        make_results(results[label], 0.9 if label == "lgdea" else 0.7)
    return World(root / "archive", root / "evidence", runs, results)


def make_archive(folder: Path, studies: int = 12) -> None:
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    tables: dict[str, list] = {"studies": [], "images": [], "reports": [], "boxes": [], "labels": []}
    for i in range(studies):
        study, split = f"toy:{i}", ("train", "val", "test")[i % 3]
        tables["studies"].append({"study_id": study, "patient_id": f"toy:p{i // 2}", "dataset": "toy", "split": split})
        pixels = np.clip(rng.normal(90, 25, (SIZE, SIZE)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        image = {"image_id": f"{study}:i", "study_id": study, "path": f"images/{i}.png", "width": SIZE, "height": SIZE}
        tables["images"].append(image)
        finding = FINDINGS[i % len(FINDINGS)]
        words = finding.replace("_", " ")
        text = f"FINDINGS: Moderate left {words} {i}. No pneumothorax. Possible nodule.\n{ATTACK}\n"
        tables["reports"].append({"report_id": f"{study}:r", "study_id": study, "text": text})
        box = {"box_id": f"{study}:b", "image_id": f"{study}:i", "finding": finding, "label": words}
        box |= {"phrase": f"left {words}", "x_min": 30, "y_min": 30, "x_max": 50, "y_max": 50}
        tables["boxes"].append(box)
    write_archive(folder, "toy", tables, folder)


def make_evidence(folder: Path, reports: Path) -> None:
    rows = []
    for report in pd.read_parquet(reports).itertuples():
        quotes = [("Moderate left", FINDINGS[0], "present"), ("No pneumothorax", "pneumothorax", "absent")]
        for quote, finding, assertion in [*quotes, ("Possible nodule", "nodule", "uncertain")]:
            start = report.text.index(quote)
            end = start + len(quote)
            key = unit_id(report.report_id, start, end, finding, None, "left")
            content = {"unit_id": key, "report_id": report.report_id, "section": "findings", "quote": quote}
            content |= {"start": start, "end": end, "alignment": "exact", "finding": finding, "finding_text": quote}
            content |= {"assertion": assertion, "anatomy": "lung", "laterality": "left", "severity": "moderate"}
            rows.append(Unit(**content, run_id="toy"))
    runs.start(folder, stage="extract", config={}, inputs={"reports": reports})
    write_table(folder / "evidence.parquet", rows, Unit)
    runs.finish(folder)


def make_pairing(file: Path, studies: int = 12) -> None:
    states = ["paired" if i % 6 == 0 else "unlinked" for i in range(studies)]
    rows = {"study_id": [f"toy:{i}" for i in range(studies)], "patient_id": [f"toy:p{i // 2}" for i in range(studies)]}
    pd.DataFrame({**rows, "state": states}).to_parquet(file, index=False)


def make_run(folder: Path, label: str, pairing: Path) -> None:
    folder.mkdir(parents=True)
    config = {"objective": {"name": label}, "seed": 0, "trainer": {"max_steps": 300}, "data": {"pairing": str(pairing)}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    environment = {"lgdea": "0.1.0", "python": "3.11.9", "packages": {"torch": "2.15.0", "numpy": "2.4.0"}}
    (folder / "env.json").write_text(json.dumps(environment))
    manifest = {"stage": "pretrain", "started": "2026-01-02T03:04:05+00:00", "inputs": {"pairing": str(pairing)}}
    (folder / "run.json").write_text(json.dumps({**manifest, "input_hashes": {"archive": "ab" * 32}}))
    steps = np.arange(0, 300, 5)
    loss = 2 * np.exp(-steps / 90) + 0.3 + 0.05 * np.random.default_rng(1).standard_normal(len(steps))
    table = pd.DataFrame({"step": steps, "epoch": steps // 60, "train/loss": loss, "val/auroc": np.nan, "lr": 1e-4})
    table.loc[table["step"] % 50 == 0, "val/auroc"] = 0.5 + 0.4 * (1 - np.exp(-steps[::10] / 80))
    if label == "lgdea":
        table["train/presence"] = loss / 2
    table.to_csv(folder / "metrics.csv", index=False)
    (folder / "_SUCCESS").touch()


def make_results(folder: Path, level: float) -> None:
    """Results of the three tasks in which a model of a higher ``level`` is better at every single item."""
    rng = np.random.default_rng(0)
    queries = [f"toy:{i}:i" for i in range(40)]
    patients = [f"toy:p{i // 2}" for i in range(40)]
    ranked = pd.DataFrame({"direction": "image_to_report", "query_id": queries, "patient_id": patients})
    ranked["image_to_report/recall@10"] = 0.0
    ranked["recall@10"] = np.clip(level - 0.3 + 0.2 * rng.random(40), 0, 1)
    grounded = pd.DataFrame({"image_id": queries, "phrase": "left nodule", "patient_id": patients})
    grounded["pointing"] = (rng.random(40) < level).astype(float)
    metrics = {
        "zero-shot": {"auroc_macro": level, "auprc_macro": level - 0.3, "prevalence_macro": 0.1},
        "retrieval": {"image_to_report/recall@10": level - 0.2, "image_to_report/recall_chance@10": 0.02},
        "grounding": {"pointing_macro": level - 0.2, "pointing_micro": level - 0.1, "cnr_macro": 2 * level},
    }
    metrics["grounding"]["miou_macro"] = math.nan
    items = {"zero-shot": pd.DataFrame(), "retrieval": ranked, "grounding": grounded}
    by_class = {
        "zero-shot": {f: {"auroc": level - 0.1 * i, "threshold": 0.4} for i, f in enumerate(FINDINGS)},
        "retrieval": {},
        "grounding": {f: {"pointing": level - 0.1 * i} for i, f in enumerate(FINDINGS)},
    }
    for task, values in metrics.items():
        result = Result(
            task=task,
            definition=f"{task}-v1",
            model="toy",
            archive="toy",
            split="test",
            metrics={name: value(v, task) for name, v in values.items()},
            per_class={name: {m: value(v, task) for m, v in found.items()} for name, found in by_class[task].items()},
            config={},
            items=items[task],
            notes=["class hernia is not scored: 0 positive and 90 negative images"] if task == "zero-shot" else [],
        )
        write_result(result, folder)


def value(number: float, task: str) -> Value:
    definition = {"zero-shot": "zero-shot/auroc-v1", "grounding": "grounding/pointing-v1"}.get(task, "")
    return Value(number, number - 0.03, number + 0.03, 40, definition)
