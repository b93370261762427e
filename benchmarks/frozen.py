"""Steps per second of a frozen tower with cached features beside the same tower trained, and run in every step."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, PositiveInt

from benchmarks.archive import PhantomSettings
from benchmarks.timing import WARM_UP, alternate, descend, optimiser_of
from benchmarks.train import make_inputs, propagate_once
from lgdea.config import Config, load_config
from lgdea.pretraining.config import PretrainConfig
from lgdea.shipped import shipped

WAYS = {
    "trained": ("image.freeze=none",),
    "frozen, run in every step": ("image.freeze=all", "image.cached_views=0"),
    "frozen, cached features": ("image.freeze=all", "image.cached_views=2"),
    "both towers frozen, cached features": ("image.freeze=all", "image.cached_views=2", "text.freeze=all"),
}


class FrozenBenchConfig(Config):
    """Settings of the measurement."""

    phantom: PhantomSettings = PhantomSettings(studies=200, size=224, difficulty="easy")
    """The archive that is trained on."""
    pretrain: str = "limited-pairing"
    """Name of a shipped pretraining configuration."""
    set: list[str] = Field(default_factory=list)
    """Overrides of it."""
    steps: PositiveInt = 5
    """Batches that are measured."""


def run_frozen(config: FrozenBenchConfig, out: Path, say: Callable[[str], Any]) -> dict[str, Any]:
    """Measure whole steps, reading their batches included, in turns and in CPU seconds of this process.

    CPU seconds do not count what else the machine does meanwhile; on one thread (``OMP_NUM_THREADS=1``) they are those
    of a quiet machine.

    Args:
        config: Settings.
        out: Working folder.
        say: Called with a line of text now and then.

    Returns:
        ``steps_per_cpu_second`` by way of training, ``ratios`` of it to the trained tower's, and what the cache
        costs: ``cache_cpu_seconds`` (of a run of one step) and ``cache_bytes`` for ``cache_rows`` views of images.
    """
    from lgdea.pretraining.inputs import read_inputs

    places = make_inputs(config.phantom, out)
    places["data"]["feature_cache"] = out / "feature_cache"
    file = Path(str(shipped("configs"))) / "pretrain" / f"{config.pretrain}.yaml"
    first = ["schedule.evidence_share=0", "graph.first_share=0", "trainer.accelerator=cpu", "validation.max_images=0"]

    def settings(*more: str) -> PretrainConfig:
        return load_config(PretrainConfig, [file], [*first, *config.set, places, *more])

    inputs = read_inputs(settings(), out)
    works: list[Any] = []
    costs: dict[str, float] = {}
    for name, overrides in WAYS.items():
        say(f"preparing: {name}")
        work, cost = _prepare(settings(*overrides), inputs, out)
        works.append(work)
        costs = cost | costs
    say("measuring")
    seconds = alternate(works, range(config.steps + WARM_UP), clock=time.process_time)
    rates = {name: 1 / value for name, value in zip(WAYS, seconds, strict=True)}
    ratios = {name: rate / rates["trained"] for name, rate in rates.items()}
    return {"steps_per_cpu_second": rates, "ratios": ratios, **costs}


def _prepare(config: PretrainConfig, inputs: Any, out: Path) -> tuple[Callable[[int], None], dict[str, float]]:
    """The training step of a number, and what its cache costs."""
    from lgdea.pretraining.build import build_training
    from lgdea.pretraining.fit import fit
    from lgdea.pretraining.frozen import plan_caches, use_caches

    module, data = build_training(config, inputs)
    cost: dict[str, float] = {}
    if config.caches_images:
        precision = str(config.trainer.get("precision", "32-true"))
        caches = plan_caches(config, module, data, out / "feature_cache", precision)
        images: Any = caches.images
        if not images.finished or (caches.texts is not None and not caches.texts.finished):
            short = config.model_copy(update={"trainer": {**config.trainer, "max_steps": 1}})
            began = time.process_time()
            fit(short, out / f"fill-{config.text.freeze}")
            cost = {"cache_cpu_seconds": time.process_time() - began}
        cost |= {"cache_bytes": images.bytes, "cache_rows": images.rows}
        use_caches(caches, module, data)
    if config.propagates:
        propagate_once(module, data)
    optimiser = optimiser_of(module)
    module.train()
    warnings.filterwarnings("ignore", message=".*self.log.*")  # no trainer here, nothing to log to
    precise = torch.autocast("cpu", torch.bfloat16, enabled="bf16" in str(config.trainer.get("precision")))

    def step(number: int) -> None:
        batch = data.on_after_batch_transfer(data.builder[data.sampler.draw(number)], 0)
        with precise:
            loss = module.training_step(batch, 0)
        descend(loss, optimiser)
        module.update_ema_model()

    return step, cost
