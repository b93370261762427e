"""Callback of objective ``lgdea``: places the prototypes, and rebuilds the graph at intervals."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from lgdea import runs
from lgdea.pretraining import propagation
from lgdea.pretraining.encode import data_of, encode_images, encode_phrases, encode_reports, inference
from lgdea.pretraining.module import Pretraining


class GraphRefreshCallback(Callback):
    """Places the prototypes and rebuilds the graph when it is their step.

    Args:
        folder: The run's ``graph`` folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 0.0
        """Time that the graphs of this process have taken."""

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Of a resumed run: take up the graph it had."""
        assert isinstance(module, Pretraining)
        past = [step for step in self._graph_steps(module) if step < trainer.global_step]
        if past:
            self._use(trainer, module, propagation.load(self.folder, past[-1]))

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Before the step."""
        assert isinstance(module, Pretraining)
        step = trainer.global_step
        if step == module.prototype_step:
            self._place_prototypes(trainer, module)
        if step in self._graph_steps(module):
            self._rebuild(trainer, module, step)

    def _graph_steps(self, module: Pretraining) -> list[int]:
        config = module.config
        every = max(1, config.step_at_fraction(config.graph.every_share))
        return list(range(module.graph_step, config.max_steps, every)) if config.propagates else []

    def _place_prototypes(self, trainer: L.Trainer, module: Pretraining) -> None:
        builder = data_of(trainer).builder
        with inference(trainer):
            z = encode_phrases(module.ema_model, builder.phrases)
        table = builder.corpus.phrases
        units = np.concatenate([np.zeros(0, dtype=np.int64), *builder.corpus.report_units])
        count = np.bincount(table.unit_phrase[units], minlength=len(table)) + 1.0
        module.place_prototypes(z, torch.as_tensor(count))

    def _rebuild(self, trainer: L.Trainer, module: Pretraining, step: int) -> None:
        """Every process encodes its share; the first makes and writes the graph, which the others read."""
        builder = data_of(trainer).builder
        began = time.perf_counter()
        with inference(trainer):
            images = encode_images(module.ema_model, builder, data_of(trainer).preprocess)
            reports = encode_reports(module.ema_model, builder, module.config.model.evidence_temperature)
        if trainer.is_global_zero:
            made = propagation.propagate_links(images, reports, builder.corpus, module.config.graph)
            propagation.save(made, self.folder, step)
            measured = propagation.quality(made, builder.corpus, module.evidence_targets)
            for logger in trainer.loggers:
                logger.log_metrics({f"graph/{name}": value for name, value in measured.items()}, step=step)
            self.seconds += time.perf_counter() - began
            runs.record(self.folder.parent, graph_seconds=round(self.seconds, 3))
        trainer.strategy.barrier()
        self._use(trainer, module, made if trainer.is_global_zero else propagation.load(self.folder, step))

    def _use(self, trainer: L.Trainer, module: Pretraining, made: propagation.Propagated) -> None:
        module.set_propagated(made)
        data_of(trainer).builder.links = made.links
