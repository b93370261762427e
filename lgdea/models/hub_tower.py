"""Image towers from transformers: any vision encoder whose outputs lie on a grid of patches."""

from __future__ import annotations

import inspect
import logging
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lgdea.errors import ConfigError, LgdeaError, UsageError, first_line
from lgdea.foreign_code import Admitted, admit, readmit
from lgdea.models.cached_rows import unpack
from lgdea.models.finite_weights import require_finite
from lgdea.models.own_code import loading_error, quietly, require_place, unasked

PREFIX = "hf:"
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
UNUSED_SETTINGS = {"model_type", "transformers_version", "architectures", "_name_or_path", "dtype", "torch_dtype"}
"""Settings of a configuration that say nothing about the architecture."""

_log = logging.getLogger(__name__)


class HubTower(nn.Module):
    """A vision encoder of transformers: its own patch tokens, and its own pooling where its weights were trained.

    It takes grey pictures normalised with the means of ``mean`` and ``std``, and gives each channel what its image
    processor would have given it.

    Args:
        backbone: The encoder.
        name: ``hf:`` and what it was loaded from.
        image_size: Side of the square input in pixels.
        mean: Grey value that its image processor subtracts per channel, on the scale [0, 1]; empty: unknown.
        std: Divisor after that.
        pooler: Take the encoder's own pooling; else the class token, or the mean of the patches.
        code: Python files of the encoder's own, where it has any that ran.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        *,
        name: str,
        image_size: int,
        mean: list[float],
        std: list[float],
        pooler: bool,
        code: Admitted | None = None,
    ) -> None:
        super().__init__()
        self._code = code if code is not None and code.trusted else None
        self.backbone: Any = backbone
        self.name = name
        self.image_size = image_size
        self.mean, self.std, self.pooler = list(mean), list(std), pooler
        config = self.backbone.config
        channels = int(getattr(config, "num_channels", 3))
        scale, offset = torch.ones(channels), torch.zeros(channels)
        if self.normalisation is not None:
            grey_mean, grey_std = self.normalisation
            scale = grey_std / torch.tensor(self.std[:channels])
            offset = (grey_mean - torch.tensor(self.mean[:channels])) / torch.tensor(self.std[:channels])
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self.register_buffer("offset", offset[:, None, None], persistent=False)
        takes = inspect.signature(self.backbone.forward).parameters
        self._options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in takes else {}
        self._probe()

    @property
    def normalisation(self) -> tuple[float, float] | None:
        """Mean and deviation of grey values that it expects; None where its folder does not say."""
        if not self.mean:
            return None
        return sum(self.mean) / len(self.mean), sum(self.std) / len(self.std)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Encode ``images``, or go on from packed rows of :meth:`encode`.

        Shapes:
            images (B, 1, H, W), or rows (B, F); pooled (B, C); patches (B, P, C).
        """
        parts = self.encode(images) if images.dim() == 4 else unpack(images, self)
        return {"pooled": parts[0], "patches": parts[1]}

    def encode(self, images: Tensor) -> list[Tensor]:
        """Run the encoder: pooled (B, C) and patches (B, P, C)."""
        output = self.backbone(pixel_values=images * self.scale + self.offset, **self._options)
        tokens: Tensor = output.last_hidden_state
        if tokens.dim() == 4:  # a convnet: (B, C, h, w)
            patches = tokens.flatten(2).transpose(1, 2)
        else:
            patches = tokens[:, self.prefix :]
        pooled = getattr(output, "pooler_output", None)
        if self.pooler and pooled is not None:
            return [pooled.flatten(1), patches]
        return [tokens[:, 0] if tokens.dim() == 3 and self.prefix else patches.mean(dim=1), patches]

    def describe(self) -> dict[str, Any]:
        """Return the arguments of :func:`lgdea.models.image_tower.build_image_tower` that build this tower again."""
        config = self.backbone.config
        return {
            "name": self.name,
            "image_size": self.image_size,
            "stride": self.stride,
            "encoder": {
                "model_type": config.model_type,
                "config": {k: v for k, v in config.to_diff_dict().items() if k not in UNUSED_SETTINGS},
                "mean": self.mean,
                "std": self.std,
                "pooler": self.pooler,
                **({} if self._code is None else {"own_code": self._code.describe()}),
            },
        }

    def _probe(self) -> None:
        """Find the patch grid by encoding a picture; refuse encoders without one."""
        picture = torch.rand(1, 1, self.image_size, self.image_size, generator=torch.Generator().manual_seed(0))
        training = self.backbone.training
        self.backbone.eval()
        self.prefix = 0
        with torch.no_grad():
            try:
                tokens = self._run(picture)
                again = self._run(picture)
            except LgdeaError:
                raise
            except Exception as error:
                raise ConfigError(
                    f"image tower {self.name!r} cannot encode a picture of {self.image_size} px ({first_line(error)})",
                    remedy="choose another image size, or a vision encoder with patch tokens",
                ) from None
        self.backbone.train(training)
        if not torch.equal(tokens, again):
            raise ConfigError(
                f"image tower {self.name!r} looks at other patches each time, as a masked autoencoder in training does",
                remedy="take the plain encoder of the same weights",
            )
        rows, columns, self.prefix = self._grid(tokens)
        self.grid = (rows, columns)
        self.dim = int(tokens.shape[1] if tokens.dim() == 4 else tokens.shape[2])
        self.stride = self.image_size // rows
        with torch.no_grad():
            self.backbone.eval()
            self.feature_shapes = [tuple(part.shape[1:]) for part in self.encode(picture)]
            self.backbone.train(training)
        if self.feature_shapes[0] != (self.dim,):
            raise ConfigError(
                f"image tower {self.name!r} pools to {self.feature_shapes[0]}, its patches have {self.dim} values",
                remedy="choose another vision encoder",
            )

    def _run(self, picture: Tensor) -> Tensor:
        values = picture * self.scale + self.offset
        tokens: Tensor | None = getattr(self.backbone(pixel_values=values, **self._options), "last_hidden_state", None)
        if tokens is None or tokens.dim() not in (3, 4):
            raise self._no_patches()
        return tokens

    def _grid(self, tokens: Tensor) -> tuple[int, int, int]:
        """Rows and columns of the grid, and how many tokens (class, registers) stand before it."""
        if tokens.dim() == 4:
            rows, columns = int(tokens.shape[2]), int(tokens.shape[3])
            prefix = 0
        else:
            config, count = self.backbone.config, int(tokens.shape[1])
            patch = getattr(config, "patch_size", None)
            patch = patch[0] if isinstance(patch, list | tuple) else patch
            if isinstance(patch, int) and self.image_size % patch:
                raise ConfigError(
                    f"image size {self.image_size} is not a multiple of the patch size {patch} of {self.name!r}",
                    remedy=f"use {max(1, self.image_size // patch) * patch}",
                )
            side = self.image_size // patch if isinstance(patch, int) else 0
            if not side or count < side * side:  # a hierarchical one: a coarser grid, and nothing before it
                side = isqrt(count)
                if side * side != count:
                    raise self._no_patches()
            rows = columns = side
            prefix = count - side * side
        if rows < 2 or self.image_size % rows or self.image_size % columns:
            raise self._no_patches()
        return rows, columns, prefix

    def _no_patches(self) -> ConfigError:
        return ConfigError(
            f"image tower {self.name!r} has no grid of patch tokens at {self.image_size} px",
            remedy="choose another image size, or a vision encoder such as ViT, DINOv2, CLIP or SigLIP",
        )


def build_hub_tower(
    name: str, pretrained: bool | None, image_size: int, encoder: dict[str, Any] | None = None
) -> HubTower:
    """Build the tower of a Hugging Face name or folder.

    Args:
        name: ``hf:ORG/NAME`` or ``hf:FOLDER``; of an image-text model the image side is taken.
        pretrained: Load its weights; None is yes.
        image_size: Side of the square input in pixels.
        encoder: Of a saved model: what :meth:`HubTower.describe` says; nothing is then read from ``name``.

    Raises:
        ConfigError: The encoder has no grid of patches at this size.
        UsageError: It cannot be had, needs Python code of its own, or its checkpoint lacks weights.
    """
    if encoder is not None:
        return _rebuild(name, image_size, encoder)
    place = name.removeprefix(PREFIX)
    admitted = admit(place)
    require_place(admitted.place, "image tower")
    try:
        with unasked(place):
            backbone, pooler = _load(admitted, pretrained is None or pretrained)
            mean, std = _normalisation(admitted)
    except LgdeaError:
        raise
    except Exception as error:  # a damaged file can make the libraries raise anything
        raise loading_error("image tower", place, error) from None
    tower = HubTower(backbone, name=name, image_size=image_size, mean=mean, std=std, pooler=pooler, code=admitted)
    if not mean:
        _log.warning(
            "image tower %r does not say how its pictures were normalised; the archive's grey values decide", name
        )
    return tower


def _rebuild(name: str, image_size: int, encoder: dict[str, Any]) -> HubTower:
    from transformers import AutoConfig, AutoModel

    if "own_code" in encoder:
        admitted = readmit(encoder["own_code"])
        settings = {key: value for key, value in encoder["config"].items() if key != "model_type"}
        config = AutoConfig.from_pretrained(admitted.place, trust_remote_code=admitted.trusted, **settings)
    else:
        admitted = Admitted(name, name)
        config = AutoConfig.for_model(encoder["model_type"], **encoder["config"])
    backbone = AutoModel.from_config(config, trust_remote_code=admitted.trusted)  # type: ignore[no-untyped-call]
    facts = {key: encoder[key] for key in ("mean", "std", "pooler")}
    return HubTower(backbone, name=name, image_size=image_size, code=admitted, **facts)


def _load(admitted: Admitted, pretrained: bool) -> tuple[nn.Module, bool]:
    """The vision encoder, and whether its own pooling can be used."""
    from transformers import AutoConfig, AutoModel
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    place = admitted.place
    config: Any = AutoConfig.from_pretrained(place, trust_remote_code=admitted.trusted)
    config = getattr(config, "vision_config", config)
    kind: Any = MODEL_MAPPING.get(type(config), None)  # type: ignore[no-untyped-call]
    if kind is None and admitted.trusted:  # a class of its own files
        if not pretrained:
            return AutoModel.from_config(config, trust_remote_code=admitted.trusted), True  # type: ignore[no-untyped-call]
        kind = AutoModel
    if kind is None:
        raise ConfigError(
            f"transformers has no plain vision encoder of kind {config.model_type!r}",
            file=place,
            remedy="choose a ViT, DINOv2, CLIP or SigLIP",
        )
    if not pretrained:
        return kind(config), True
    with quietly():  # what does not fit is said below, in one line
        backbone, info = kind.from_pretrained(
            place,
            config=config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=admitted.trusted,
        )
    for key, has, wanted in sorted(info["mismatched_keys"]):
        raise UsageError(
            f"its checkpoint has {key} of shape {tuple(has)}, its config.json makes it {tuple(wanted)}",
            file=place,
            remedy="copy config.json and weights of one checkpoint",
        )
    require_finite(backbone, place)
    missing = sorted(info["missing_keys"])
    pooling = [key for key in missing if "pooler" in key or key.startswith("head.")]
    lacking = [key for key in missing if key not in pooling and not key.endswith("mask_token")]
    if lacking:
        raise UsageError(
            f"its checkpoint lacks {len(lacking)} weights of the vision encoder, such as {lacking[0]}",
            file=place,
            remedy="choose the checkpoint of a vision encoder",
        )
    return backbone, not pooling


def _normalisation(admitted: Admitted) -> tuple[list[float], list[float]]:
    """Mean and deviation per channel of the image processor; empty where there is none."""
    from transformers import AutoImageProcessor

    place, local = admitted.place, Path(admitted.place)
    if local.is_dir() and not any((local / file).is_file() for file in PROCESSOR_FILES):
        return [], []
    try:
        processor: Any = AutoImageProcessor.from_pretrained(place, trust_remote_code=admitted.trusted)
    except (OSError, ValueError, TypeError):
        return [], []
    if not getattr(processor, "do_normalize", True):
        return [0.0] * 3, [1.0] * 3
    mean, std = getattr(processor, "image_mean", None), getattr(processor, "image_std", None)
    if mean is None or std is None:
        return [], []
    return [float(v) for v in mean], [float(v) for v in std]
