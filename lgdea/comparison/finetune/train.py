"""Fine-tuning by TRL's SFTTrainer: run folder, resume, adapter or model without pickles."""

from __future__ import annotations

import dataclasses
import logging
import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lgdea import runs
from lgdea.comparison.finetune.batches import Collator, as_table, check_batches
from lgdea.comparison.finetune.config import FinetuneConfig
from lgdea.comparison.finetune.model import (
    ADAPTER,
    FULL,
    MERGED,
    load_vlm,
    merge_adapter,
    quiet,
    require_libraries,
    save_vlm,
)
from lgdea.comparison.finetune.rows import Row, read_rows
from lgdea.errors import ConfigError

CHECKPOINTS, METRICS = "checkpoints", "metrics.csv"
KEEP_CHECKPOINTS = 2
FREE_KEYS = ("model", "data", "image_root", "rows_per_device", "checkpoint", "merge", "trainer.dataloader_num_workers")
"""Settings that a resumed run may change: paths, whose content is compared by its hash, and what changes no number."""
_OURS = (
    *("output_dir", "max_steps", "seed", "data_seed", "bf16", "fp16", "max_length", "learning_rate", "weight_decay"),
    *(
        "adam_beta1",
        "adam_beta2",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "save_steps",
        "packing",
    ),
    *("completion_only_loss", "assistant_only_loss", "dataset_kwargs", "model_init_kwargs", "save_strategy"),
)

_log = logging.getLogger(__name__)


class _Loaded(NamedTuple):
    """A model whose batches of the rows have been checked."""

    model: Any
    processor: Any
    collator: Collator
    longest: int
    """Tokens of the longest row."""


def finetune(config: FinetuneConfig, out: str | Path) -> Path:
    """Fine-tune a model; when ``out`` holds the same run, go on from its newest checkpoint.

    Args:
        config: The resolved configuration.
        out: Run folder: ``config.yaml env.json run.json metrics.csv checkpoints/ _SUCCESS``, and ``adapter/`` (LoRA) or
            ``model/`` (all weights), and ``merged/`` where it is asked for.

    Returns:
        The folder to serve: ``merged/``, else ``adapter/`` or ``model/``.

    Raises:
        UsageError: The libraries, the model or the rows are missing, or ``out`` holds another run.
        DataError: A row is wrong, or the loss would not be on its answer.
        ConfigError: ``trainer`` has an argument that does not exist or is set elsewhere.
        TrainingError: The loss is not a number.
    """
    require_libraries()
    out = Path(out)
    settings = config.model_dump(mode="json")
    rows = read_rows(config.data, config.image_root, max_images=config.max_images)
    inputs = {"rows": config.data}
    if Path(config.model).is_dir():
        inputs["model"] = Path(config.model)
    with quiet():
        arguments = _arguments(config, out)
        start = partial(runs.start, out, stage="compare finetune", config=settings, inputs=inputs, free=FREE_KEYS)
        resumed = (out / runs.MANIFEST).exists() and start()
        if resumed and runs.is_finished(out):
            _log.info("%s is finished already", out)
        else:
            model = _load(config, rows)
            start()  # not before: a model or rows that are refused leave no run behind
            _train(config, arguments, rows, out, model)
        return _merged(config, out)


def _load(config: FinetuneConfig, rows: list[Row]) -> _Loaded:
    import torch

    # half precision loses the small steps of weights that are trained themselves; adapters are kept in full anyway
    weights = _dtype(config) if config.method == "lora" else torch.float32
    model, processor = load_vlm(config.model, dtype=weights)
    collator = Collator(processor)
    return _Loaded(model, processor, collator, check_batches(collator, rows, model, processor, config.data))


def _train(config: FinetuneConfig, arguments: Any, rows: list[Row], out: Path, loaded: _Loaded) -> None:
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTTrainer

    from lgdea.comparison.finetune.callbacks import RunLog, newest_checkpoint
    from lgdea.training.csv_logger import truncate_after
    from lgdea.training.trainer import last_values

    start, step = newest_checkpoint(out / CHECKPOINTS)
    truncate_after(out / METRICS, step + 1)
    trainer = SFTTrainer(
        model=loaded.model,
        args=arguments,
        train_dataset=as_table(rows),
        data_collator=loaded.collator,
        processing_class=loaded.processor,
        peft_config=_adapters(config),
        callbacks=[RunLog(out, METRICS, config.max_steps)],
    )
    trainer.remove_callback(PrinterCallback)
    model: Any = trainer.model  # an adapter around it by now, if there is one
    trained = sum(part.numel() for part in model.parameters() if part.requires_grad)
    on = f"{len(rows):,} rows, the longest of {loaded.longest:,} tokens"
    _log.info(f"training {trained:,} weights of {config.model} on {on}")
    if start is not None:
        _log.info("resuming %s at step %d of %d", out, step, config.max_steps)
    trainer.train(resume_from_checkpoint=None if start is None else str(start))
    target = out / (ADAPTER if config.method == "lora" else FULL)
    save_vlm(trainer.accelerator.unwrap_model(model), loaded.processor, target)
    facts = {"rows": len(rows), "trained_weights": trained, "longest_row_tokens": loaded.longest}
    files = [f"{target.name}/{file.name}" for file in target.iterdir() if file.is_file()]
    runs.finish(out, files, steps=config.max_steps, counts=facts, metrics=last_values(out / METRICS))


def _merged(config: FinetuneConfig, out: Path) -> Path:
    """The folder to serve; writes ``merged/`` if it is asked for and not there."""
    if config.method == "full":
        return out / FULL
    if not config.merge:
        return out / ADAPTER
    if not (out / MERGED).is_dir():
        with runs.atomic(out / MERGED) as temporary:
            merge_adapter(out / ADAPTER, temporary, config.model)
    return out / MERGED


def _arguments(config: FinetuneConfig, out: Path) -> Any:
    """The arguments of TRL's trainer."""
    import torch
    from trl import SFTConfig

    known = {field.name for field in dataclasses.fields(SFTConfig)}
    for name in config.trainer:
        if name not in known:
            raise ConfigError(f"trainer.{name}: TRL's SFTConfig has no such argument", remedy="see its documentation")
        if name in _OURS:
            raise ConfigError(
                f"trainer.{name} is set by lgdea", remedy="use the settings of `lgdea config show compare finetune`"
            )
    if config.rows_per_step % config.rows_per_device:
        raise ConfigError(
            f"rows_per_step: {config.rows_per_step} is no multiple of rows_per_device, {config.rows_per_device}",
            remedy="change one of them",
        )
    given = {
        "gradient_checkpointing": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "use_cpu": not torch.cuda.is_available(),
        "train_sampling_strategy": "random" if config.shuffle else "sequential",
        "max_grad_norm": 1.0,
        "lr_scheduler_type": "cosine",
        **config.trainer,
    }
    optimizer = config.optimizer
    try:
        arguments = SFTConfig(
            output_dir=str(out / CHECKPOINTS),
            max_steps=config.max_steps,
            seed=config.seed,
            bf16=_dtype(config) == torch.bfloat16,
            max_length=None,
            learning_rate=optimizer.lr,
            weight_decay=optimizer.weight_decay,
            adam_beta1=optimizer.betas[0],
            adam_beta2=optimizer.betas[1],
            warmup_steps=math.ceil(config.warmup_share * config.max_steps),
            per_device_train_batch_size=config.rows_per_device,
            gradient_accumulation_steps=config.rows_per_step // config.rows_per_device,
            save_strategy="steps",
            save_steps=config.checkpoint.every_steps,
            save_total_limit=KEEP_CHECKPOINTS,
            logging_steps=min(10, config.max_steps),
            logging_nan_inf_filter=False,
            report_to=[],
            disable_tqdm=True,
            **given,
        )
    except (ValueError, TypeError) as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(f"trainer: TRL refuses it ({first})", remedy="change the trainer block") from None
    arguments._n_gpu = min(
        1, arguments.n_gpu
    )  # several GPUs in one process would be DataParallel: slow, and wrong for packed images
    return arguments


def _adapters(config: FinetuneConfig) -> Any:
    if config.method == "full":
        return None
    from peft import LoraConfig

    lora = config.lora
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        exclude_modules=lora.exclude_modules,
        task_type="CAUSAL_LM",
    )


def _dtype(config: FinetuneConfig) -> Any:
    """Of the arithmetic."""
    import torch

    if config.precision == "auto":
        able = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if able else torch.float32
    return torch.bfloat16 if config.precision == "bf16" else torch.float32
