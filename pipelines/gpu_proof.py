"""The method on one GPU, whole: speed, training with few and all links beside its rivals, a graph of a million nodes.

Launch, from the root of a checkout: python -m pipelines.gpu_proof --out runs/gpu_proof
(one GPU, 16 cores, under nine minutes; random weights and a synthetic archive, so nothing is downloaded)

Every result is a small JSON file in OUT; what is there is not done again, so the command can be stopped at any time
and repeated, with ``--budget SECONDS`` in several short uses. Archive, cache, checkpoints and models are in ``--work``.
Parts:

``speed``  step time and images a second of every objective beside the bare towers, in bfloat16, and peak memory
``train``  every objective with 5% and with all of the links, then zero-shot, grounding and retrieval on the test part
``graph``  neighbours and diffusion of a million images and a million reports on the CPU cores

Where both are asked for, models are evaluated in processes of their own while the next one trains, and so is the graph
built: times of ``train`` and ``graph`` are then of a machine that does both. Ask for one part to have it alone.
"""

from __future__ import annotations

from pipelines.gpu_check import (
    BEGAN,
    COLUMNS,
    Rows,
    fail_for_errors,
    in_one_line,
    listed,
    machine,
    markdown,
    parser_of,
    require_gpu,
    settings_of,
    tidy,
)  # first: it looks at the clock

# isort: split
import argparse
import json
import math
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from benchmarks.archive import PhantomSettings, make_archive
from benchmarks.evidence import make_evidence
from benchmarks.graph import GraphBenchConfig
from benchmarks.graph import measure as measure_graph
from benchmarks.timing import peak_gib
from benchmarks.train import measure_step
from lgdea import runs
from lgdea.config import load_config
from lgdea.evaluation.tasks import grounding, retrieval, zero_shot
from lgdea.imaging.cache import build_cache
from lgdea.models.serialization import load_model
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.fit import LOG_EVERY_N_STEPS, fit
from lgdea.pretraining.inputs import read_inputs
from lgdea.pretraining.objective_config import OBJECTIVES
from lgdea.records.archive import Archive
from lgdea.records.pairing import make_pairing, write_pairing
from lgdea.shipped import shipped

CORES = os.cpu_count() or 1
PARTS = ("speed", "train", "graph")
FULL = ("schedule.evidence_share=0", "graph.first_share=0")
"""All losses take part from the first step."""
METRICS = {
    zero_shot: {"auroc_macro": "AUROC"},
    grounding: {
        "pointing_macro": "pointing",
        "pointing_chance_macro": "random pixel",
        "pointing_prior_macro": "best place",
        "pointing_class_prior_macro": "best place per class",
        "cnr_macro": "CNR",
        "miou_macro": "mIoU",
    },
    retrieval: {
        "image_to_report/evidence_ndcg@10": "nDCG@10",
        "image_to_report/evidence_ndcg_chance@10": "random order",
        "image_to_report/evidence_ndcg_prior@10": "best list",
    },
}
"""Of every model, each beside what needs no model; chance of AUROC is 0.5."""
FIT = {
    "linked": "linked",
    "steps": "steps",
    "seconds": "s",
    "step_seconds": "s a step",
    "graph_seconds": "of them graphs",
    "peak_gib": "peak GiB",
}
EVALUATION = {name: title for metrics in METRICS.values() for name, title in metrics.items()} | {"error": "error"}
GRAPH = {"total": "s", "recall": "recall@10", "reached": "reached", "link_precision": "link precision"}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--parts", type=listed(*PARTS), default=list(PARTS))
    parser.add_argument("--studies", type=int, default=20_000)
    parser.add_argument("--difficulty", default="easy", help="of the phantom; the towers start from random weights")
    parser.add_argument("--tower", default="resnet50", help="image tower, such as vit_small_patch16_224")
    parser.add_argument("--steps", type=int, default=300, help="training steps of every model")
    parser.add_argument("--objectives", type=listed(*OBJECTIVES), default=["lgdea", "clip", "gloria"])
    parser.add_argument("--fractions", default="0.05,1", help="shares of the patients that keep their link")
    parser.add_argument("--nodes", type=int, default=1_000_000, help="images, and as many reports, of the graph")
    asked = parser.parse_args()
    require_gpu(parser, asked.accelerator)
    signal.signal(signal.SIGTERM, end)
    rows, parts, objectives = Rows(asked.out, asked.budget, settings_of(asked)), asked.parts, asked.objectives
    fractions = [float(f) for f in asked.fractions.split(",")]
    speed = {f"speed-{o}": (o, fractions[0]) for o in objectives if "speed" in parts}
    cells = {f"{o}-{f:g}": (o, f) for f in fractions for o in objectives if "train" in parts}
    graph = [f"graph-{asked.nodes}"] if "graph" in parts else []
    beside = Beside(rows, most=max(1, CORES // 4))

    data = Data(asked)
    if any(map(rows.wants, [*speed, *(f"eval-{name}" for name in cells)])):
        data.make(fractions)
    if any(map(rows.wants, speed)):
        inputs = read_inputs(data.config(asked, "lgdea", fractions[0]), data.folder)
        for name in filter(rows.wants, speed):
            rows.measure(name, partial(measure_step, data.config(asked, *speed[name], *FULL), inputs, steps=20))
            tidy()
    for name in filter(rows.wants, graph):
        beside.start(name, partial(scale, asked.nodes), threads=CORES - CORES // 4 if cells else CORES)
    for name, cell in cells.items():
        if not rows.wants(f"eval-{name}"):
            continue
        run = data.folder / asked.tower / name
        if not runs.is_finished(run):
            rows.file(f"fit-{name}").unlink(missing_ok=True)
        rows.measure(f"fit-{name}", partial(train, data.config(asked, *cell), run))
        tidy()
        if runs.is_finished(run):
            device = "cpu" if asked.accelerator == "cpu" else "cuda"
            work = partial(evaluate, run / "model", data.folder / "archive", data.cache, device)
            beside.start(f"eval-{name}", work, threads=1)
    beside.join()
    report(rows, speed, cells, graph)


class Data:
    """Where the inputs of all runs are.

    Args:
        asked: The command line.
    """

    def __init__(self, asked: argparse.Namespace) -> None:
        self.phantom = PhantomSettings(studies=asked.studies, size=asked.size, difficulty=asked.difficulty)
        work = asked.work or asked.out / "work"
        self.folder: Path = work / f"{asked.difficulty}-{asked.studies}-{asked.size}"
        self.cache = self.folder / "image_cache"

    def make(self, fractions: list[float]) -> None:
        """Make what is missing: the archive on all cores, the rules' evidence, pairings, the cache of all images."""
        archive = Archive.open(make_archive(self.phantom, self.folder / "archive"))
        say(f"phantom of {len(archive.images)} images")
        make_evidence("rules", archive.folder, self.folder / "evidence")
        for fraction in fractions:
            pairing = make_pairing(archive, fraction=fraction, seed=0)
            write_pairing(pairing, self.folder / f"pairing-{fraction:g}.parquet")
        say("evidence and pairings")
        items = [(image, archive.image_path(image)) for image in archive.images["image_id"]]
        build_cache(items, self.cache, self.phantom.size, CORES)
        say("image cache")

    def config(self, asked: argparse.Namespace, objective: str, fraction: float, *more: str) -> PretrainConfig:
        """The shipped configuration for one GPU, with another tower and the wanted number of steps."""
        file = Path(str(shipped("configs"))) / "pretrain" / "limited-pairing.yaml"
        half = -(-asked.steps // 2)
        chosen = {
            "data": {
                "archive": self.folder / "archive",
                "evidence": self.folder / "evidence" / "rules",
                "pairing": self.folder / f"pairing-{fraction:g}.parquet",
                "image_cache": self.cache,
                "batch_size_per_device": asked.batch,
            },
            "image": {"tower": asked.tower, "size": asked.size},
            "objective": {"name": objective},
            "trainer": {"max_steps": asked.steps, "accelerator": asked.accelerator},
            "checkpoint": {"every_steps": half},
            "validation": {"every_steps": half},
        }
        return load_config(PretrainConfig, [file], [chosen, *more, *asked.set])


class Beside:
    """Processes that measure a row each while this one goes on; they end at the latest with this one.

    Args:
        rows: Where the rows go.
        most: So many at a time; another one waits.
    """

    def __init__(self, rows: Rows, most: int) -> None:
        self._rows, self._most = rows, most
        self._running: list[Any] = []

    def start(self, name: str, work: Callable[[], dict[str, Any]], threads: int) -> None:
        """Measure a row with so many threads."""
        self.join(self._most - 1)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # read when the process loads its libraries
        spawn = multiprocessing.get_context("spawn")
        self._running.append(spawn.Process(target=self._rows.measure, args=(name, work), daemon=True))
        self._running[-1].start()

    def join(self, leave: int = 0) -> None:
        """Wait until at most ``leave`` are running."""
        while len(self._running) > leave:
            self._running.pop(0).join()


class Clock(Callback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """After the step."""
        self.ends.append(time.perf_counter())

    def step_seconds(self) -> float | None:
        """Median of the second half, where all losses take part; None when hardly a step was left to do."""
        logged = self.ends[LOG_EVERY_N_STEPS - 1 :: LOG_EVERY_N_STEPS]  # between them the GPU may be steps behind
        half = logged[len(logged) // 2 :]
        return statistics.median(b - a for a, b in pairwise(half)) / LOG_EVERY_N_STEPS if len(half) > 1 else None


def train(config: PretrainConfig, run: Path) -> dict[str, Any]:
    """Pretrain, or go on with it; what it took."""
    clock, began = Clock(), time.monotonic()
    work = partial(fit, config, run, callbacks=clock)
    memory = {"peak_gib": peak_gib(work)} if torch.cuda.is_available() else {}
    if not memory:
        work()
    manifest = json.loads((run / runs.MANIFEST).read_text(encoding="utf-8"))
    return {
        "linked": manifest["counts"]["linked pairs"],
        "steps": config.max_steps,
        "seconds": round(time.monotonic() - began, 1),
        "step_seconds": clock.step_seconds(),
        "graph_seconds": manifest.get("graph_seconds"),
        **memory,
    }


def evaluate(model_folder: Path, archive: Path, cache: Path, device: str) -> dict[str, float | None]:
    """The metrics on the test part; None for one that is not a number."""
    model, tables = load_model(model_folder, device), Archive.open(archive)
    found = {}
    for task, names in METRICS.items():
        metrics = task(model, tables, bootstrap_replicates=0, image_cache=str(cache)).metrics
        found |= {name: metrics[name].value for name in names}
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def scale(nodes: int) -> dict[str, Any]:
    """Neighbours, diffusion and links of ``nodes`` images and reports."""
    config = GraphBenchConfig(sizes=[nodes])
    measured = measure_graph(nodes, max(20, nodes // 50), config)
    return {**measured, **measured["seconds"], "threads": os.environ["OMP_NUM_THREADS"], "load": os.getloadavg()[0]}


def report(rows: Rows, speed: Iterable[str], cells: Iterable[str], graph: Iterable[str]) -> None:
    """Print what is there, and write it together."""
    tables = {
        "of the bare towers, bfloat16": (rows.read(speed), COLUMNS),
        "training": (rows.read(f"fit-{name}" for name in cells), FIT),
        "test part": (rows.read(f"eval-{name}" for name in cells), EVALUATION),
        "graph": (rows.read(graph), GRAPH),
    }
    for title, (found, columns) in tables.items():
        if found:
            print(f"\n{title}\n\n{markdown(found, columns)}")
    done = {name: row for found, _ in tables.values() for name, row in found.items()}
    runs.write_json(rows.folder / "summary.json", {**machine(), "rows": done})
    left = [name for name in (*speed, *(f"eval-{name}" for name in cells), *graph) if name not in done]
    if left:
        print(f"\nleft: {', '.join(left)}; repeat the command to go on")
    fail_for_errors(done)


def end(number: int, _: Any) -> None:
    """End at once, with the processes that were started: what is done is on disk."""
    for process in multiprocessing.active_children():
        process.kill()
    os._exit(128 + number)


def say(what: str) -> None:
    """A line with the seconds since the program began."""
    print(f"{time.monotonic() - BEGAN:.0f} s: {what}", flush=True)


if __name__ == "__main__":
    in_one_line(main)
