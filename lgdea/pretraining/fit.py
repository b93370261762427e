"""A pretraining run from its configuration to a model folder: prepare, train, save."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger

from lgdea import runs
from lgdea.errors import TrainingError, UsageError
from lgdea.imaging.frames import RECIPE, read_recipe
from lgdea.locks import locked
from lgdea.manifests import read_manifest
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.provenance import pretraining_sections
from lgdea.models.serialization import model_files, save_model
from lgdea.pretraining.build import build_model, build_training
from lgdea.pretraining.callbacks import BEST, CollapseCheck, Validation, read_best
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.corpus import Corpus
from lgdea.pretraining.data import PretrainData
from lgdea.pretraining.encode import calibrate_retrieval_head
from lgdea.pretraining.frozen import FillCaches, plan_caches
from lgdea.pretraining.graph_refresh import GraphRefreshCallback
from lgdea.pretraining.inputs import IMAGE_CACHE, Inputs, check_inputs, input_files, read_inputs
from lgdea.pretraining.module import Pretraining
from lgdea.pretraining.objective_config import LossWeights
from lgdea.pretraining.sharding import FSDP, trainer_settings, whole_state
from lgdea.pretraining.transport import TransportCallback
from lgdea.training.callbacks import checkpoint_step, newest_checkpoint
from lgdea.training.csv_logger import truncate_after
from lgdea.training.process_info import ProcessInfo, exclusive_lock
from lgdea.training.tracking import make_callbacks, make_loggers
from lgdea.training.trainer import (
    CHECKPOINTS,
    LOG_EVERY_N_STEPS,
    METRICS,
    last_values,
    list_curves,
    make_trainer,
    quiet,
)
from lgdea.vocabulary.extension import using_vocabulary_of

STAGE = "pretrain"
MODEL = "model"
FREE_KEYS = (
    *("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.logger"),
    *(
        "data.archive",
        "data.evidence",
        "data.pairing",
        "data.image_cache",
        "data.feature_cache",
        "data.cache_workers",
        "image.weights",
    ),
)
"""Settings that a resumed run may change: devices, tracking, and paths, whose content is compared by its hash."""

_log = logging.getLogger(__name__)


def fit(
    config: PretrainConfig,
    out: str | Path,
    *,
    logger: Any = None,
    callbacks: Iterable[L.Callback] | L.Callback | None = None,
) -> Path:
    """Pretrain a model; when ``out`` holds the same run, go on from its newest checkpoint.

    Args:
        config: The resolved configuration.
        out: Run folder: ``config.yaml env.json run.json metrics.csv checkpoints/ graph/ model/ _SUCCESS``.
        logger: Further loggers beside ``metrics.csv`` and those of ``trainer.logger``: Lightning loggers, or what
            ``trainer.logger`` takes.
        callbacks: Further callbacks, likewise.

    Returns:
        The model folder, ``out/model``.

    Raises:
        UsageError: An input is missing or unfinished, the evidence is not of all the archive's reports, or ``out``
            holds another run.
        DataError: The inputs do not fit each other.
        TrainingError: The loss is not a number, the evidence space collapsed, or no checkpoint can be read.
    """
    check_inputs(config)
    with quiet(), using_vocabulary_of(config.data.evidence), ExitStack() as stack:
        run = PretrainRun(config, out, logger=logger, callbacks=callbacks)
        if run.trainer.is_global_zero:
            stack.enter_context(locked(out))
        run.prepare()
        if not run.finished:
            run.train()
            run.save()
    return run.model_folder


class PretrainRun:
    """A run: :meth:`prepare`, :meth:`train` and :meth:`save`, in this order.

    The one ``Trainer`` is made first, because it also knows the rank of this process, whoever launched it (torchrun,
    SLURM, Lightning itself).

    Args:
        config: The resolved configuration.
        out: Run folder.
        logger: As of :func:`fit`.
        callbacks: As of :func:`fit`.

    Raises:
        ConfigError: Lightning refuses the ``trainer:`` block.
    """

    module: Pretraining
    data: PretrainData
    inputs: Inputs
    model: LgdeaModel

    def __init__(self, config: PretrainConfig, out: str | Path, *, logger: Any = None, callbacks: Any = None) -> None:
        self.config = config
        self.out = Path(out)
        self.start = newest_checkpoint(self.out / CHECKPOINTS)
        self.logger_specs = (config.trainer.get("logger"), logger)
        self.loggers: list[Logger] = []
        self.callbacks = [*make_callbacks(config.trainer.get("callbacks")), *make_callbacks(callbacks)]
        self.fill_caches = FillCaches()
        self.trainer = _make_trainer(config, self.out, self.callbacks, self.fill_caches)
        self.process = ProcessInfo(self.trainer.global_rank, self.trainer.world_size)
        self.finished = False

    @property
    def model_folder(self) -> Path:
        """Folder of the trained model."""
        return self.out / MODEL

    def prepare(self) -> None:
        """Open the run folder, read the inputs, build module and data; only the first where the run is finished."""
        with exclusive_lock(self.out, self.process):
            resumed = runs.start(
                self.out,
                stage=STAGE,
                config=self.config.model_dump(mode="json"),
                inputs=input_files(self.config),
                stated=self.config.model_dump(mode="json", exclude_defaults=True),
                free=FREE_KEYS,
                untrained=self._list_remakes() if self.start is None else None,
            )
        self.finished = resumed and runs.is_finished(self.out)
        if self.finished:
            _log.info("%s is finished already", self.out)
            return
        if self.trainer.is_global_zero:  # and not before the folder is open: some write into it at once
            for spec in self.logger_specs:
                self.loggers += make_loggers(spec, folder=self.out, first_step=checkpoint_step(self.start))
            self.trainer.loggers += self.loggers
        L.seed_everything(self.config.seed, verbose=False)
        self.inputs = read_inputs(self.config, self.out, before_images=self._build_model)
        if self.config.validation.keep == "best" and self.inputs.validation is None:
            raise UsageError(
                "has no validation images of which any class is present in three and absent in three",
                file=self.config.data.archive,
                remedy="set validation.keep=last",
            )
        self.module, self.data = build_training(self.config, self.inputs, self.process, self.model)
        root = self.config.data.feature_cache or self.out / "feature_cache"
        precision = str(self.trainer.precision)
        self.fill_caches.caches = plan_caches(self.config, self.module, self.data, root, precision)
        if self.trainer.is_global_zero:
            if self.config.objective.name != "lgdea" and self.config.objective.weights != LossWeights():
                _log.warning("objective.weights are of lgdea: %s does not use them", self.config.objective.name)
            _log.info("training on %s", ", ".join(f"{n} {what}" for what, n in self.inputs.corpus.counts().items()))

    def _build_model(self, corpus: Corpus) -> None:
        self.model = build_model(self.config, corpus)

    def _list_remakes(self) -> list[str]:
        """What a run that has trained nothing may have left and another configuration would make otherwise."""
        made = ["graph", "feature_cache", METRICS]
        frames = self.out / IMAGE_CACHE
        fits = not (frames / RECIPE).exists() or read_recipe(frames) == {
            **read_recipe(frames), "size": self.config.image.size, "mode": self.config.image.mode
        }  # fmt: skip
        return made if fits else [*made, IMAGE_CACHE]

    def train(self) -> None:
        """Train to the last step, from the newest checkpoint if there is one.

        Raises:
            TrainingError: Training stopped before its last step.
        """
        (self.out / CHECKPOINTS).mkdir(exist_ok=True)
        step = checkpoint_step(self.start)
        if self.trainer.is_global_zero:
            truncate_after(self.out / METRICS, step)
        if step >= self.config.max_steps:
            content = torch.load(self.start, map_location="cpu", weights_only=True)  # type: ignore[arg-type]
            self.module.on_load_checkpoint(content)  # refuses another format, as resuming does
            self.module.load_state_dict(content["state_dict"])
            return
        if step and self.trainer.is_global_zero:
            _log.info("resuming %s at step %d of %d", self.out, step, self.config.max_steps)
        for logger in self.loggers:
            logger.log_hyperparams(self.config.model_dump(mode="json"))
        unsharded = copy.deepcopy(self.module.ema_model) if self.config.trainer.get("strategy") == FSDP else None
        try:
            self.trainer.fit(self.module, datamodule=self.data, ckpt_path=self.start, weights_only=True)
        except SystemExit:
            if self.trainer.interrupted:  # Lightning turns Ctrl-C into an exit; a caller wants the interrupt itself
                raise KeyboardInterrupt from None
            raise
        if unsharded is not None:
            state = whole_state(self.module.ema_model)
            if self.trainer.is_global_zero:
                unsharded.load_state_dict(state)
            self.module.ema_model = unsharded
        if self.trainer.global_step < self.config.max_steps:
            raise TrainingError(
                f"training stopped at step {self.trainer.global_step} of {self.config.max_steps}",
                file=self.out,
                remedy="repeat the command to resume",
            )

    def save(self) -> None:
        """Write the model folder and finish the run; the other processes wait for the first."""
        if self.trainer.is_global_zero:
            model = self.module.ema_model
            kept = self.config.max_steps
            if self.config.validation.keep == "best":
                best = read_best(self.out / CHECKPOINTS / BEST)
                model.load_state_dict(best["state_dict"])
                kept = best["step"]
            if model.scoring == "presence":
                model.to(self.trainer.strategy.root_device)  # from which Lightning has taken it
                with torch.no_grad():
                    calibrate_retrieval_head(model, self.data.builder, self.data.preprocess)
            save_model(model.cpu(), self.model_folder, self._card_fields())
            runs.finish(
                self.out,
                [f"{MODEL}/{name}" for name in model_files(self.model_folder)] + list_curves(self.out),
                steps=self.config.max_steps,
                kept_step=kept,
                counts=self.inputs.corpus.counts(),
                metrics=last_values(self.out / METRICS),
                callbacks=[f"{type(c).__module__}.{type(c).__qualname__}" for c in self.callbacks],
            )
        self.trainer.strategy.barrier()

    def _card_fields(self) -> dict[str, Any]:
        run = read_manifest(self.out / runs.MANIFEST, what="run's file")
        counts, settings = self.inputs.corpus.counts(), self.config.model_dump(mode="json")
        return pretraining_sections(
            self.out.name, self.inputs.archive.name, settings, counts, run.get("input_hashes", {})
        )


def _make_trainer(config: PretrainConfig, out: Path, callbacks: list[L.Callback], fill_caches: L.Callback) -> L.Trainer:
    block = trainer_settings(config.trainer)
    best = out / CHECKPOINTS / BEST if config.validation.keep == "best" else None
    own: list[L.Callback] = [
        fill_caches,
        *([TransportCallback(out / "transport")] if config.transports else []),
        *([GraphRefreshCallback(out / "graph")] if config.objective.name == "lgdea" else []),
        CollapseCheck(out, block.get("log_every_n_steps", LOG_EVERY_N_STEPS)),
        Validation(config.validation.every_steps, best),
    ]
    checkpoint_steps = config.checkpoint.every_steps
    return make_trainer(block, out, what="pretraining", checkpoint_steps=checkpoint_steps, own=own, callbacks=callbacks)
