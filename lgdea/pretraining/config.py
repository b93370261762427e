"""The configuration of a pretraining run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from lgdea.config import Config
from lgdea.models.freezing import FREEZE
from lgdea.pretraining.objective_config import PROPAGATED_LOSSES, GraphConfig, ObjectiveConfig, TransportConfig
from lgdea.training.config import AugmentConfig, CheckpointConfig, OptimizerConfig
from lgdea.training.trainer_block import check_trainer


class DataConfig(Config):
    """Inputs and what a batch is made of."""

    archive: Path
    """Archive folder, made by ``lgdea data build``."""
    evidence: Path | None = None
    """Evidence folder of its reports, made by ``lgdea extract``; ``clip`` and ``gloria`` need none."""
    pairing: Path
    """Parquet file of the linked studies, made by ``lgdea data pair``."""
    image_cache: Path | None = None
    """Folder of resized images, shared by runs of one image size; null puts it into the run folder."""
    feature_cache: Path | None = None
    """Folder of the features of frozen towers, shared by runs of one tower and one archive; null puts it into the run
    folder."""
    cache_workers: PositiveInt = 2
    """Processes that fill the image cache."""
    batch_size_per_device: PositiveInt = 64
    """Images per step and device, linked and unlinked together."""
    paired_share: float = Field(default=0.5, gt=0, le=1)
    """Share of linked images in a batch; 1 for an objective that can use no others."""
    unpaired_reports_per_device: NonNegativeInt = 32
    """Unlinked reports per step and device."""


class ImageConfig(Config):
    """The image tower and what it sees."""

    tower: str = "resnet18"
    """Name of a timm model, also ``local-dir:FOLDER``; or ``hf:NAME`` or ``hf:FOLDER``, a vision encoder of
    transformers with patch tokens."""
    pretrained: bool | None = None
    """If true, the image tower starts from its published weights; null: where ``tower`` is the name of weights
    (``hf:``, ``local-dir:``, ``hf-hub:``)."""
    weights: Path | None = None
    """Weights that the image tower starts from instead: ``model.safetensors`` of a model that lgdea has trained, or a
    checkpoint of ``tower`` as others publish it (``.safetensors``, ``.pth``, ``.pt``, ``.bin``, ``.ckpt``)."""
    freeze: str = Field(default="none", pattern=f"^({FREEZE})$")
    """What training leaves as it is: ``none``, ``all`` of the published network, or ``all_but_last_N`` blocks (layers
    of a transformer, stages of a convnet). What lgdea adds to it is always trained."""
    lr_scale: PositiveFloat = 1.0
    """Learning rate of the published network as a share of ``optimizer.lr``; what lgdea adds to it has the whole."""
    size: PositiveInt = 224
    """Side of the square input in pixels."""
    stride: PositiveInt = 16
    """Pixels per patch for towers with a feature pyramid; a plain ViT keeps its own patch size."""
    mode: Literal["letterbox", "center_crop"] = "letterbox"
    """Framing: ``letterbox`` keeps the whole image, ``center_crop`` its largest centred square."""
    augment: AugmentConfig = AugmentConfig()
    """Random changes of training images."""
    cached_views: NonNegativeInt = 4
    """With ``freeze: all``: augmented views per image whose features are computed once and kept on disk, beside those
    of the image as it is; 0 runs the tower in every step."""


class TextConfig(Config):
    """The text tower; ``small-bert`` gets a tokenizer trained on the training reports."""

    tower: str = "small-bert"
    """``small-bert``, or the hub name or folder of a transformers model."""
    pretrained: bool | None = None
    """If true, the text tower starts from the named model's weights; null: from a folder's own where it has any,
    else from random ones, with a warning."""
    vocab_size: PositiveInt = 4000
    """Tokens of the trained tokenizer (``small-bert``)."""
    hidden: PositiveInt = 128
    """Width of the transformer (``small-bert``)."""
    layers: PositiveInt = 2
    """Number of transformer layers (``small-bert``)."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout probability (``small-bert``)."""
    pooling: Literal["auto", "mean", "last"] = "auto"
    """``mean`` of the tokens or the ``last`` token; ``auto`` is mean for encoders, last for decoders."""
    max_tokens: PositiveInt = 192
    """Longer reports are cut."""
    freeze: str = Field(default="none", pattern=f"^({FREEZE})$")
    """As ``image.freeze``."""
    lr_scale: PositiveFloat = 1.0
    """As ``image.lr_scale``."""


class ModelConfig(Config):
    """The evidence space."""

    dim: PositiveInt = 128
    """Dimension D of the evidence space."""
    lesion_queries: PositiveInt = 8
    """Number Q of learned queries that look for lesions in the patches."""
    prototypes: PositiveInt = 64
    """Number P of evidence prototypes, the bins of a histogram."""
    heads: PositiveInt = 4
    """Attention heads of the lesion queries."""
    lesion_temperature: PositiveFloat = 0.1
    """tau_p of the image histogram."""
    evidence_temperature: PositiveFloat = 0.1
    """tau_t of the assignment of evidence to prototypes."""
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    """The saved model is the moving average of the weights with this decay per step; 0 saves the last weights."""


class SpeedConfig(Config):
    """Settings of speed, not method: numbers change in their last digits only. Precision is ``trainer.precision``."""

    channels_last: bool = True
    """Memory layout of the image tower; convolutions are a third faster so, on CPU and GPU alike."""
    compile: bool = False
    """``torch.compile`` both towers, transformers block by block; the first steps take a minute or more, so it pays in
    long runs."""
    chunk_size: PositiveInt | None = None
    """Images, or texts, that go through a tower at once; each chunk is computed a second time in the backward pass
    (GradCache). For contrastive batches that do not fit into memory; null: the whole batch."""
    tf32: bool = True
    """TensorFloat-32 matrix products on GPUs that have them."""
    fused_optimizer: bool | None = None
    """One kernel for the whole AdamW step; null: on GPUs, but not with float16, where it excludes gradient clipping."""


class ScheduleConfig(Config):
    """Stages and learning rate; shares are of ``trainer.max_steps``, so that a short run goes through all stages."""

    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Linear warm-up of the learning rate; cosine decay follows."""
    final_lr_share: float = Field(default=0.02, ge=0, le=1)
    """Learning rate of the last step as a share of ``optimizer.lr``."""
    evidence_share: float = Field(default=0.1, ge=0, lt=1)
    """First stage of ``lgdea``: the evidence space alone, on all training reports, without images."""
    ramp_share: float = Field(default=0.1, ge=0, le=1)
    """The unpaired losses reach their full weight this long after the first graph."""


class ValidationConfig(Config):
    """A cheap zero-shot check while training; the numbers that count come from ``lgdea eval``."""

    every_steps: PositiveInt = 200
    """Optimiser steps between two checks."""
    max_images: NonNegativeInt = 512
    """0 switches validation off."""
    keep: Literal["last", "best"] = "last"
    """Whose weights become the model: the last step's, or those of the check with the best ``val/auroc``."""

    @model_validator(mode="after")
    def _check_keep(self) -> ValidationConfig:
        if self.keep == "best" and not self.max_images:
            raise ValueError("validation.keep best needs validation: max_images is 0")
        return self


class PretrainConfig(Config):
    """Everything that shapes a pretraining run."""

    stage: ClassVar[str | None] = "pretrain"

    seed: NonNegativeInt = 0
    """Seed of weights, batches and augmentation."""
    data: DataConfig
    """Inputs and the composition of a batch."""
    image: ImageConfig = ImageConfig()
    """Image tower."""
    text: TextConfig = TextConfig()
    """Text tower."""
    model: ModelConfig = ModelConfig()
    """Evidence space."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """Losses."""
    graph: GraphConfig = GraphConfig()
    """Neighbour graphs and propagation of links."""
    transport: TransportConfig = TransportConfig()
    """Optimal transport between unlinked images and reports."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Optimiser: AdamW."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Stages and learning rate."""
    speed: SpeedConfig = SpeedConfig()
    """Settings of speed that change no result but in its last digits."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Checkpoints that a stopped run is resumed from."""
    validation: ValidationConfig = ValidationConfig()
    """Zero-shot check while training."""
    trainer: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """Arguments of Lightning's ``Trainer``: ``max_steps`` (1000 when not given), ``accelerator``, ``devices``,
    ``precision`` ...; ``logger``: one of, or a list of ``tensorboard``, ``wandb``, ``mlflow`` and mappings with
    ``class_path`` and ``init_args``, beside ``metrics.csv``; ``callbacks``: such mappings."""

    @field_validator("trainer")
    @classmethod
    def _check_trainer(cls, value: dict[str, Any]) -> dict[str, Any]:
        return check_trainer(value)

    @model_validator(mode="after")
    def _check_frozen(self) -> PretrainConfig:
        if self.trainer.get("strategy") == "fsdp" and (self.caches_images or self.text.freeze == "all"):
            raise ValueError("a frozen tower needs no trainer.strategy fsdp, choose ddp")
        if self.trainer.get("strategy") == "fsdp" and self.validation.keep == "best":
            raise ValueError("validation.keep best needs whole weights on a device: choose trainer.strategy ddp")
        for name, tower in (("image", self.image), ("text", self.text)):
            if tower.freeze == "all" and tower.lr_scale != 1:
                raise ValueError(f"{name}.lr_scale scales nothing where {name}.freeze is all; leave one of them out")
        return self

    @property
    def caches_images(self) -> bool:
        """True if the image tower's features are computed once, for all steps."""
        return self.image.freeze == "all" and self.image.cached_views > 0

    @property
    def caches_texts(self) -> bool:
        """True if the text tower's outputs are; ``gloria`` needs those of every token."""
        return self.text.freeze == "all" and self.objective.spec.scoring != "local"

    @property
    def max_steps(self) -> int:
        """Optimiser steps of the run."""
        return int(self.trainer["max_steps"])

    def step_at_fraction(self, fraction: float) -> int:
        """Step at which this fraction of the run is done."""
        return round(fraction * self.max_steps)

    @property
    def propagates(self) -> bool:
        """True if any loss needs the graph."""
        weights = self.objective.weights
        return self.objective.name == "lgdea" and sum(getattr(weights, name) for name in PROPAGATED_LOSSES) > 0

    @property
    def transports(self) -> bool:
        """True if any loss needs the transported evidence."""
        return self.objective.name == "lgdea" and self.objective.weights.transport > 0
