"""Cost of a training step beside its bare towers and beside open_clip, and whether data keep up with it.

All step times are medians of alternating measurements on the same batches: forward, backward and optimiser step.
"""

from __future__ import annotations

import importlib.util
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from benchmarks.archive import PhantomSettings, make_archive
from benchmarks.timing import WARM_UP, alternate, descend, gpu_kernels, optimiser_of, peak_gib
from lgdea import runs
from lgdea.config import Config, load_config
from lgdea.pretraining.config import PretrainConfig
from lgdea.shipped import shipped

if TYPE_CHECKING:
    from lgdea.pretraining.inputs import Inputs


class TrainBenchConfig(Config):
    """Settings of the measured training."""

    phantom: PhantomSettings = PhantomSettings(studies=1000, difficulty="easy")
    """The archive that is trained on."""
    pretrain: str = "demo-lgdea"
    """Name of a shipped pretraining configuration."""
    set: list[str] = Field(default_factory=list)
    """Overrides of it."""
    steps: int = 20
    """Batches that are measured."""


def run_train(config: TrainBenchConfig, out: Path, say: Callable[[str], Any]) -> dict[str, Any]:
    """Measure steps and data, then train for real to see what the graph costs.

    Returns:
        ``steps``: rows of ``objective``, ``seconds``, ``bare_seconds``, ``ratio``; ``open_clip``: the same of open_clip
        where it is installed; ``loader``: images per second from the cache, from PNG files, and what training needs;
        ``graph_share``: of a whole run's time.
    """
    from lgdea.pretraining.fit import fit
    from lgdea.pretraining.inputs import read_inputs

    places = make_inputs(config.phantom, out)
    file = Path(str(shipped("configs"))) / "pretrain" / f"{config.pretrain}.yaml"

    def settings(*more: str) -> PretrainConfig:
        return load_config(PretrainConfig, [file], [*config.set, places, *more])

    inputs = read_inputs(settings(), out)
    rows = []
    for objective in ("clip", "gloria", "medclip", "sclip", "lgdea"):
        wanted = settings(f"objective.name={objective}", "schedule.evidence_share=0", "graph.first_share=0")
        rows.append({"objective": objective, **measure_step(wanted, inputs, config.steps)})
        say(f"{objective}: {rows[-1]['seconds']:.3f} s a step, {rows[-1]['ratio']:.2f} of the bare towers")
    result: dict[str, Any] = {
        "steps": rows,
        "loader": measure_loader(settings("schedule.evidence_share=0"), inputs, config.steps),
    }
    if importlib.util.find_spec("open_clip"):
        from benchmarks.train_open_clip import measure_open_clip

        result["open_clip"] = measure_open_clip(settings("objective.name=clip"), inputs, config.steps)
    run = out / "run"
    began = time.perf_counter()
    fit(settings(), run)
    result["run_seconds"] = time.perf_counter() - began
    result["graph_share"] = graph_seconds(run) / result["run_seconds"]
    return result


def make_inputs(phantom: PhantomSettings, out: Path) -> dict[str, Any]:
    """An archive, its evidence and a pairing with every second patient linked; as overrides of a configuration."""
    from benchmarks.evidence import make_evidence
    from lgdea.records.archive import Archive
    from lgdea.records.pairing import make_pairing, write_pairing

    archive, pairing = make_archive(phantom, out / "archive"), out / "pairing.parquet"
    write_pairing(make_pairing(Archive.open(archive), fraction=0.5, seed=0), pairing)
    evidence = make_evidence("rules", archive, out / "evidence")
    places = {"archive": archive, "evidence": evidence, "pairing": pairing, "image_cache": out / "image_cache"}
    return {"data": places}


def measure_step(config: PretrainConfig, inputs: Inputs, steps: int) -> dict[str, Any]:
    """Seconds of a whole training step and of its towers alone on the same batch.

    The step has augmentation, forward, losses, backward, optimiser and moving average; objective ``lgdea`` also a
    graph of its first weights, so that all its losses take part. The towers have forward, backward and optimiser.

    Args:
        config: Configuration of the training.
        inputs: Of :func:`lgdea.pretraining.inputs.read_inputs`; configurations of the same data may share them.
        steps: Batches that are measured.

    Returns:
        ``seconds`` and ``bare_seconds`` of a step, their ``ratio`` and ``images_per_second``; seconds of what the step
        has besides towers and losses, ``augmentation_seconds`` and ``ema_seconds``. On a GPU also ``peak_gib``, the
        memory that a whole step takes at most, optimiser and batches included, what
        :func:`benchmarks.timing.gpu_kernels` says of a step, and ``bare_busy_seconds``.
    """
    from lgdea.pretraining.build import build_training

    device = torch.device("cuda" if config.trainer.get("accelerator") in ("gpu", "cuda") else "cpu")
    precise = torch.autocast(device.type, torch.bfloat16, enabled="bf16" in str(config.trainer.get("precision")))
    module, data = build_training(config, inputs)
    module.to(device)
    if config.propagates:
        with precise:
            propagate_once(module, data)
    drawn = [data.builder[draw] for draw, _ in zip(data.sampler, range(steps + WARM_UP), strict=False)]
    batches = [data.transfer_batch_to_device(batch, device, 0) for batch in drawn]
    whole, towers = optimiser_of(module), optimiser_of(module.model)
    module.train()

    warnings.filterwarnings("ignore", message=".*self.log.*")  # no trainer here, nothing to log to

    def augmentation(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return data.on_after_batch_transfer(dict(batch), 0)

    def step(batch: dict[str, Tensor]) -> None:
        with precise:
            loss = module.training_step(augmentation(batch), 0)
        descend(loss, whole)
        module.update_ema_model()

    def bare(batch: dict[str, Tensor]) -> None:
        image_tower, text_tower = module.model.image_tower, module.model.text_tower
        with precise:
            images = data.preprocess.normalise(batch["images"])
            parts = [image_tower(images), text_tower(batch["report_ids"], batch["report_mask"])]
            if "phrase_ids" in batch:
                parts.append(text_tower(batch["phrase_ids"], batch["phrase_mask"]))
            loss = torch.stack([part["pooled"].float().square().mean() for part in parts]).sum()
        descend(loss, towers)

    def twice() -> None:  # the second step has the optimiser's state beside its activations
        step(batches[0])
        step(batches[1])

    on_gpu: dict[str, Any] = {"peak_gib": peak_gib(twice)} if device.type == "cuda" else {}
    works = [step, bare, augmentation, lambda _: module.update_ema_model()]
    seconds, bare_seconds, augmentation_seconds, ema_seconds = alternate(works, batches)
    if on_gpu:
        on_gpu |= gpu_kernels(lambda: step(batches[-1]))
        on_gpu["bare_busy_seconds"] = gpu_kernels(lambda: bare(batches[-1])).get("busy_seconds")
    images = len(batches[0]["images"])
    return {
        "seconds": seconds,
        "bare_seconds": bare_seconds,
        "ratio": seconds / bare_seconds,
        "images_per_second": images / seconds,
        "augmentation_seconds": augmentation_seconds,
        "ema_seconds": ema_seconds,
        **on_gpu,
    }


def measure_loader(config: PretrainConfig, inputs: Inputs, steps: int) -> dict[str, float]:
    """Images per second: batches from the memory-mapped cache, and the same images decoded from their files."""
    from lgdea.imaging.read import read_image
    from lgdea.pretraining.build import build_training

    _, data = build_training(config, inputs)
    draws = [draw for draw, _ in zip(data.sampler, range(steps), strict=False)]
    began = time.perf_counter()
    images = sum(len(data.builder[draw].get("images", ())) for draw in draws)
    cached = images / (time.perf_counter() - began)
    ids = inputs.corpus.image_ids[: max(50, images // 4)]
    began = time.perf_counter()
    for image in ids:
        data.preprocess(read_image(inputs.archive.image_path(image)))
    decoded = len(ids) / (time.perf_counter() - began)
    return {"cached_images_per_second": cached, "decoded_images_per_second": decoded, "ratio": cached / decoded}


def propagate_once(module: Any, data: Any) -> None:
    """Give the module a graph of its first weights."""
    from lgdea.pretraining.encode import encode_images, encode_reports
    from lgdea.pretraining.propagation import propagate_links

    with torch.no_grad():
        images = encode_images(module.ema_model, data.builder, data.preprocess)
        reports = encode_reports(module.ema_model, data.builder, module.config.model.evidence_temperature)
    made = propagate_links(images, reports, data.builder.corpus, module.config.graph)
    module.set_propagated(made)
    data.builder.links = made.links


def graph_seconds(run: Path) -> float:
    """The time that a run took for its graphs, in seconds."""
    return float(json.loads((run / runs.MANIFEST).read_text(encoding="utf-8"))["graph_seconds"])
