"""Does a reader that sees a healthy reference tell more than one that does not? ``python -m benchmarks.finetune``.

A tiny Qwen3-VL is trained whole by ``lgdea compare finetune`` on phantom patients, the curriculum ends with subtle
findings: the query alone, beside a healthy film of the same patient (prior), beside one of another patient (other). Or
patients have old findings too, and the question is for a new one, alone or beside the film before (new-single,
new-prior). The reader with a healthy prior is then adapted (LoRA) to another site and to other findings. One JSON file
per run in ``OUT/results``; a run that is there is not done again, and one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.finetune_pictures import (
    ANSWERS,
    READINGS,
    Level,
    Patients,
    draw_patients,
    references,
    row,
    write_curriculum,
    write_films,
)
from benchmarks.tiny_vlm import build_tiny_vlm
from lgdea.config import load_config
from lgdea.statistics.bootstrap import cluster_bootstrap, weighted_mean
from lgdea.statistics.format import format_interval
from lgdea.statistics.roc import auroc

SIDE, WIDTH, ROWS = 32, 96, 24
FINDINGS = ("consolidation", "ground_glass_opacity", "mass", "pleural_effusion")
OTHER_FINDINGS = ("atelectasis", "cavitation", "hilar_enlargement", "pneumothorax")
SUBTLE = Level(0.5, 0.65, (0.0, 0.35))
"""Pose and exposure of the ``easy`` phantom, contrast of the ``hard`` one, minimal or mild."""
CURRICULUM = (
    (Level(0.0, 3.0, (0.5, 1.0)), 600, 120),
    (Level(0.1, 1.8, (0.3, 1.0)), 600, 90),
    (Level(0.2, 1.2, (0.1, 0.8)), 600, 120),
    (Level(0.3, 0.8, (0.0, 0.35)), 600, 320),
    (SUBTLE, 1000, 350),
)
"""Level, patients, steps."""
NEW_FINDINGS = ("consolidation",)
NEW = Level(0.3, 1.4, (0.2, 0.7), old=3)
NEW_CURRICULUM = (
    (Level(0.0, 2.0, (0.2, 0.7), old=0), 300, 100),
    (Level(0.0, 1.4, (0.2, 0.7), old=1), 600, 150),
    (Level(0.1, 1.4, (0.2, 0.7), old=2), 800, 250),
    (NEW, 1200, 500),
)
TARGETS: dict[str, tuple[tuple[str, ...], str]] = {
    "other-site": (FINDINGS, "hillside"),
    "other-findings": (OTHER_FINDINGS, "harbour"),
}
TEST_PATIENTS, ADAPT_PATIENTS, ADAPT_STEPS = 250, 400, 200


def main() -> None:
    """Make what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--readings", nargs="+", default=list(READINGS), choices=list(READINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--targets", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for reading in arguments.readings:
            train_reader(arguments.out, reading, seed)
        for target in arguments.targets:
            adapt_reader(arguments.out, target, seed)
    print(table(arguments.out))


def train_reader(out: Path, reading: str, seed: int) -> None:
    """Train a reader of one seed and test it on the subtle findings, unless its result is there."""
    result = out / "results" / f"{reading}-{seed}.json"
    if result.exists():
        return
    is_new = reading.startswith("new")
    curriculum, findings, hardest = (NEW_CURRICULUM, NEW_FINDINGS, NEW) if is_new else (CURRICULUM, FINDINGS, SUBTLE)
    prefix, levels = "new-" if is_new else "", []
    for number, (level, patients, steps) in enumerate(curriculum):
        name = f"{prefix}level-{number}"
        levels.append((name, _films(out, name, patients, level, findings, "harbour", 100 + number), steps))
    rows = write_curriculum(out / "films" / f"{reading}-{seed}.jsonl", levels, reading, rows_per_step=ROWS, seed=seed)
    base = out / "random" / f"{reading}-{seed}"
    if not (base / "config.json").exists():
        build_tiny_vlm(base, (READINGS[reading], *ANSWERS), side=SIDE, width=WIDTH, initializer_range=0.06, seed=seed)
    steps = sum(steps for _, _, steps in levels)
    settings = {"method": "full", "max_steps": steps, "optimizer": {"lr": 1e-3, "weight_decay": 0.01}}
    model, seconds = _finetune(base, rows, out / "runs" / f"{reading}-{seed}", seed, settings)
    test = _films(out, f"{prefix}test", TEST_PATIENTS, hardest, findings, "harbour", 999)
    _write(result, model, out / "films", f"{prefix}test", test, reading, {"steps": steps, "training_seconds": seconds})


def adapt_reader(out: Path, target: str, seed: int) -> None:
    """Adapt the reader with a prior to other findings or another site, and test it before and after."""
    result = out / "results" / f"{target}-{seed}.json"
    base = out / "runs" / f"prior-{seed}" / "model"
    if result.exists() or not base.exists():
        return
    findings, site = TARGETS[target]
    drawn = _films(out, target, ADAPT_PATIENTS, SUBTLE, findings, site, 200)
    test = _films(out, f"{target}-test", TEST_PATIENTS, SUBTLE, findings, site, 998)
    before = result.with_name(f"{target}-before-{seed}.json")
    _write(before, base, out / "films", f"{target}-test", test, "prior", {"steps": 0})
    name = out / "films" / f"{target}-{seed}.jsonl"
    rows = write_curriculum(name, [(target, drawn, ADAPT_STEPS)], "prior", rows_per_step=ROWS, seed=seed)
    settings = {"max_steps": ADAPT_STEPS, "optimizer": {"lr": 1e-3}, "merge": True}
    model, seconds = _finetune(base, rows, out / "runs" / f"{target}-{seed}", seed, settings)
    facts = {"steps": ADAPT_STEPS, "training_seconds": seconds}
    _write(result, model, out / "films", f"{target}-test", test, "prior", facts)


def _films(
    out: Path, name: str, number: int, level: Level, findings: tuple[str, ...], site: str, seed: int
) -> Patients:
    patients = draw_patients(out / "drawn" / f"{name}.npz", number, level, findings, site=site, seed=seed)
    if not (out / "films" / name).exists():
        write_films(patients, out / "films" / name, SIDE)
    return patients


def _finetune(base: Path, rows: Path, run: Path, seed: int, more: dict[str, Any]) -> tuple[Path, int]:
    from lgdea.comparison.finetune.config import FinetuneConfig
    from lgdea.comparison.finetune.train import finetune

    given = {"model": str(base), "data": rows, "seed": seed, "shuffle": False, "rows_per_step": ROWS}
    config = load_config(FinetuneConfig, overrides=[{**given, "rows_per_device": ROWS, **more}])
    began = time.process_time()
    return finetune(config, run), round(time.process_time() - began)


def _write(
    file: Path, model: Path, films: Path, name: str, patients: Patients, reading: str, facts: dict[str, Any]
) -> None:
    """Test a model and write its scores, item by item, so that runs can be compared on the same patients."""
    margins = {shown: answer_margins(model, films, name, patients, reading, shown) for shown in ("normal", "abnormal")}
    content = {**facts, "reading": reading, **{shown: found.tolist() for shown, found in margins.items()}}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content) + "\n", encoding="utf-8")


def answer_margins(
    folder: Path, films: Path, name: str, patients: Patients, reading: str, shown: str, batch: int = 50
) -> np.ndarray:
    """Log-odds of "yes" against "no" as an answer's first token, (N,), for the normal or the abnormal query."""
    import torch

    from lgdea.comparison.finetune.batches import open_picture
    from lgdea.comparison.finetune.model import load_vlm

    model, processor = load_vlm(str(folder))
    yes, no = (processor.tokenizer(word)["input_ids"][0] for word in (ANSWERS[1], ANSWERS[0]))
    text = processor.apply_chat_template(row([], reading, "")["prompt"], add_generation_prompt=True)
    number, found = len(patients.left), []
    for start in range(0, number, batch):
        images = []
        for n in range(start, min(start + batch, number)):
            beside = references(reading, f"{name}/{n}-before.png", f"{name}/{(n + 1) % number}-before.png")
            files = [*beside, f"{name}/{n}-{shown}.png"]
            images.append([open_picture(films / file) for file in files])
        inputs = processor(images=images, text=[text] * len(images), return_tensors="pt")
        with torch.no_grad():
            scores = model.eval()(**inputs).logits[:, -1]
        found.append((scores[:, yes] - scores[:, no]).float().numpy())
    return np.concatenate(found)


def table(out: Path) -> str:
    """Markdown of all results; the difference to ``single`` of the same seed is on the same patients."""
    header = ("run", "balanced accuracy", "AUROC", "- single", "steps", "CPU seconds")
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for file in sorted((out / "results").glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        right = _right(content)
        reading, beside = content["reading"], "-"
        twin = "new-single" if reading.startswith("new") else "single"
        single = file.with_name(f"{twin}-{file.stem.rpartition('-')[2]}.json")
        if reading != twin and single.exists() and file.stem.startswith(reading):
            beside = _interval(right - _right(json.loads(single.read_text(encoding="utf-8"))))
        labels = [0] * len(content["normal"]) + [1] * len(content["abnormal"])
        area = f"{auroc(content['normal'] + content['abnormal'], labels):.3f}"
        cells = (file.stem, _interval(right), area, beside, content["steps"], content.get("training_seconds", "-"))
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _right(content: dict[str, Any]) -> np.ndarray:
    """Share of right answers about each patient's two queries, (N,): their mean is the balanced accuracy."""
    normal, abnormal = np.array(content["normal"]), np.array(content["abnormal"])
    return ((normal <= 0).astype(float) + (abnormal > 0)) / 2


def _interval(items: np.ndarray) -> str:
    found = cluster_bootstrap(weighted_mean(items), np.arange(len(items)))
    return format_interval(*(float(np.squeeze(part)) for part in (found.value, found.low, found.high)))


if __name__ == "__main__":
    main()
