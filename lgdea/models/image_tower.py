"""Image towers: any timm backbone, made to give a pooled vector and a grid of patch tokens of one width; towers of
transformers are in :mod:`lgdea.models.hub_tower`.

Plain vision transformers keep their own patch grid. Everything that gets coarser with depth (convnets, hierarchical
transformers) goes through a small top-down fusion (after Lin et al., Feature Pyramid Networks, 2017): a patch of 8 or
16 pixels then knows both its own texture and what surrounds it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lgdea.errors import ConfigError
from lgdea.models import hub_tower
from lgdea.models.cached_rows import unpack
from lgdea.models.timm_models import FOLDERS, architecture_of, create_timm, size_error

MAX_FUSION_WIDTH = 128
POSITION_FREQUENCIES = 4


def build_image_tower(
    name: str,
    pretrained: bool | None = False,
    image_size: int = 224,
    stride: int = 16,
    shift: float | None = None,
    options: dict[str, Any] | None = None,
    encoder: dict[str, Any] | None = None,
) -> nn.Module:
    """Build the image tower ``name``.

    Args:
        name: A timm model, with or without a weight tag or ``timm:`` before it, also ``local-dir:FOLDER`` and
            ``hf-hub:ORG/NAME``; or ``hf:NAME`` or ``hf:FOLDER``, a vision encoder of transformers.
        pretrained: Load the published weights (from a cache, a folder, or over the network); None: where the name is
            that of weights (``hf:``, ``local-dir:``, ``hf-hub:``).
        image_size: Side of the square input in pixels.
        stride: Pixels per patch for towers with a feature pyramid; a plain ViT keeps its own patch size.
        shift: How far, in cells, the pyramid's features stand from the centres of their cells; None measures it.
        options: Of a saved model: further arguments of ``timm.create_model``.
        encoder: Of a saved model: the encoder of an ``hf:`` tower.

    Returns:
        A module with ``dim``, ``grid`` (rows, columns) and ``describe()``, whose
        ``forward((B, 1, H, W))`` gives ``{"pooled": (B, C), "patches": (B, P, C)}``, patches row by row.

    Raises:
        ConfigError: There is no such model, or the size does not fit it.
        UsageError: The pretrained weights cannot be had.
    """
    if name.startswith(hub_tower.PREFIX):
        return hub_tower.build_hub_tower(name, pretrained, image_size, encoder)
    name = name.removeprefix("timm:")
    if pretrained is None:
        pretrained = names_weights(name)
    options = options or {}
    source, (name, options) = name, (architecture_of(name) if name.startswith(FOLDERS) else (name, options))
    probe = create_timm(source, pretrained=False, image_size=image_size, num_classes=0, **options)
    settings: dict[str, Any] = {"name": name, "image_size": image_size, "options": options}
    if _is_plain_transformer(probe):
        tower = probe
        if pretrained:
            tower = create_timm(source, pretrained=True, image_size=image_size, num_classes=0, **options)
        return TokenTower(tower, **settings)
    levels = [info["reduction"] for info in getattr(probe, "feature_info", [])]
    if stride not in levels:
        raise ConfigError(
            f"image tower {name!r} has no features of stride {stride}",
            remedy=f"choose a stride of {', '.join(map(str, sorted(set(levels)))) or 'another tower'}",
        )
    if image_size % stride:
        raise ConfigError(
            f"image size {image_size} is not a multiple of the stride {stride}", remedy="change one of them"
        )
    first = levels.index(stride)
    backbone = create_timm(
        source,
        pretrained=pretrained,
        image_size=image_size,
        features_only=True,
        out_indices=tuple(range(first, len(levels))),
        **options,
    )
    return PyramidTower(backbone, stride=stride, shift=shift, **settings)


def names_weights(name: str) -> bool:
    """Return whether the name of a tower is that of weights, not of an architecture alone."""
    return name.removeprefix("timm:").startswith((hub_tower.PREFIX, *FOLDERS))


def build_whole(tower: TokenTower | PyramidTower) -> nn.Module:
    """Build the whole timm model of a tower, under the names by which its weights are published; random weights."""
    return create_timm(tower.name, pretrained=False, image_size=tower.image_size, num_classes=0, **tower.options)


def backbone_features(tower: Any, images: Tensor) -> Tensor:
    """Pooled features of a tower's backbone, without the layers that are trained on top of it.

    They are a plain transformer's pooled vector, or the mean of a pyramid's coarsest level, and the maximum over
    places.

    Args:
        tower: Of :func:`build_image_tower`; C is the width of its backbone's last level.
        images: ``(B, 1, H, W)``, or packed rows ``(B, F)`` of its ``encode``.

    Returns:
        ``(B, 2 C)``.
    """
    *others, last = tower.encode(images) if images.dim() == 4 else unpack(images, tower)
    places = last.flatten(2).transpose(1, 2) if last.dim() == 4 else last
    pooled = places.mean(dim=1) if last.dim() == 4 else others[0]
    return torch.cat([pooled, places.amax(dim=1)], dim=1)


class TokenTower(nn.Module):
    """A plain vision transformer: its own patch tokens, and its own pooling."""

    normalisation = None

    def __init__(
        self, backbone: nn.Module, *, name: str, image_size: int, options: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.name = name
        self.image_size = image_size
        self.options = options or {}
        model: Any = backbone
        self.dim = int(model.num_features)
        self.prefix = int(getattr(model, "num_prefix_tokens", 0))
        rows, columns = model.patch_embed.grid_size
        self.grid = (int(rows), int(columns))
        self.stride = image_size // self.grid[0]
        if image_size % self.grid[0]:
            raise ConfigError(
                f"image size {image_size} is not a multiple of the patch size of {name!r}",
                remedy=f"use {self.grid[0] * model.patch_embed.patch_size[0]}",
            )
        self.feature_shapes = [(self.dim,), (rows * columns, self.dim)]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Encode ``images``, or go on from packed rows of :meth:`encode`.

        Shapes:
            images (B, 1, H, W), or rows (B, F); pooled (B, C); patches (B, P, C).
        """
        pooled, patches = self.encode(images) if images.dim() == 4 else unpack(images, self)
        return {"pooled": pooled, "patches": patches}

    def encode(self, images: Tensor) -> list[Tensor]:
        """Run the backbone: pooled (B, C) and patches (B, P, C)."""
        tokens = self.backbone.forward_features(images)
        return [self.backbone.forward_head(tokens, pre_logits=True), tokens[:, self.prefix :]]

    def describe(self) -> dict[str, Any]:
        """Return the arguments of :func:`build_image_tower` that build this tower again."""
        return {"name": self.name, "image_size": self.image_size, "stride": self.stride, **_options_of(self)}


class PyramidTower(nn.Module):
    """A hierarchical backbone whose levels are summed top-down into a grid of ``image_size / stride`` patches.

    A patch sees its own level and the next coarser one. Were the coarsest ones mixed in too, every patch would know
    what the whole picture shows, and the model could say "effusion" from any of them: heat maps would lose their
    place. The coarser levels go into the pooled vector only.

    Patches also get their place in the picture: a chest is not symmetric, a report says left and right, and a
    convolution alone learns where it is only slowly, from its padding.
    """

    normalisation = None
    position: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        *,
        name: str,
        image_size: int,
        stride: int,
        shift: float | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.name = name
        self.options = options or {}
        self.image_size = image_size
        self.stride = stride
        model: Any = backbone
        channels = [int(c) for c in model.feature_info.channels()]
        self.channels = channels
        self.dim = min(MAX_FUSION_WIDTH, channels[-1])
        side = image_size // stride
        self.grid = (side, side)
        self.lateral = nn.ModuleList(nn.Conv2d(c, self.dim, 1) for c in channels)
        self.locate = nn.Conv2d(4 * POSITION_FREQUENCIES, self.dim, 1, bias=False)
        self.register_buffer("position", sincos_position(side, side, POSITION_FREQUENCIES), persistent=False)
        self.smooth = nn.Conv2d(self.dim, self.dim, 3, padding=1, groups=self.dim)
        self.norm = nn.LayerNorm(self.dim)
        self.mix = nn.Linear(self.dim, self.dim)
        self._check_size()
        self.shift = self._measure_shift() if shift is None else shift

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Encode ``images``, or go on from packed rows of :meth:`encode`.

        Shapes:
            images (B, 1, H, W), or rows (B, F); pooled (B, C); patches (B, P, C).
        """
        levels = self.encode(images) if images.dim() == 4 else unpack(images, self)
        fine, *coarser = (lateral(level) for lateral, level in zip(self.lateral, levels, strict=True))
        fused = fine + self.locate(self.position)
        if coarser:
            fused = fused + F.interpolate(coarser[0], size=fine.shape[-2:], mode="nearest")
        tokens = (fused + self.smooth(fused)).flatten(2).transpose(1, 2)
        tokens = tokens + self.mix(F.gelu(self.norm(tokens)))
        # Mostly the mean of the patches, so that a model trained on whole images only has comparable patches too.
        pooled = tokens.mean(dim=1) + sum(level.mean(dim=(2, 3)) for level in coarser[1:])
        return {"pooled": pooled, "patches": tokens}

    def encode(self, images: Tensor) -> list[Tensor]:
        """Run the backbone: its levels (B, C, h, w), fine to coarse, on the centres of their cells."""
        return [centred(level, self.shift) for level in self._levels(images)]

    def describe(self) -> dict[str, Any]:
        """Return the arguments of :func:`build_image_tower` that build this tower again."""
        description = {"name": self.name, "image_size": self.image_size, "stride": self.stride, "shift": self.shift}
        return {**description, **_options_of(self)}

    def _levels(self, images: Tensor) -> list[Tensor]:
        levels = self.backbone(images)
        # Swin and its kin give (B, H, W, C).
        return [
            level if level.shape[1] == c else level.permute(0, 3, 1, 2)
            for level, c in zip(levels, self.channels, strict=True)
        ]

    def _check_size(self) -> None:
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                levels = self._levels(torch.zeros(1, 1, self.image_size, self.image_size))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise size_error(self.name, self.image_size, error) from None
        finally:
            self.train(training)
        self.feature_shapes = [tuple(level.shape[1:]) for level in levels]
        if self.feature_shapes[0][1:] != self.grid:
            raise ConfigError(
                f"image tower {self.name!r} gives a grid of {self.feature_shapes[0][1:]} at {self.image_size} px, "
                f"not {self.grid}",
                remedy="choose an image size that is a multiple of 32",
            )

    def _measure_shift(self) -> float:
        """-0.5, 0 or 0.5: where a feature looks, relative to the centre of its cell, in cells.

        Stride-2 convolutions padded on both sides look half a cell up and left of the cell's centre, TensorFlow's
        "same" padding half a cell down and right, patchifying ones at the centre. At a stride of 16 half a cell is 8
        pixels, more than many a nodule. Measured as the centroid of the squared input gradient of a central feature.
        """
        training = self.training
        self.eval()
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            images = torch.randn(4, 1, self.image_size, self.image_size, requires_grad=True)
            level = self._levels(images)[0]
            cell = level.shape[-1] // 2
            seen = level[:, :, cell, cell]
            (gradient,) = torch.autograd.grad((seen * torch.randn_like(seen)).sum(), images)
        self.train(training)
        weight = gradient.square().sum(dim=(0, 1))
        along = (weight.sum(0) + weight.sum(1)) / (2 * weight.sum()).clamp(min=1e-30)
        centroid = float((along * (torch.arange(self.image_size) + 0.5)).sum())
        offset = centroid / self.stride - (cell + 0.5)
        return 0.0 if abs(offset) < 0.2 else 0.5 if offset > 0 else -0.5


def centred(level: Tensor, shift: float) -> Tensor:
    """Resample features (B, C, h, w) that stand ``shift`` cells off their cells' centres onto the centres."""
    if shift == 0:
        return level
    # Half a cell: the mean of two neighbours in each axis; the edge is its own neighbour. F.pad's "replicate" would say
    # so too, but its gradient has another memory layout than torch.compile expects.
    for axis in (-1, -2):
        size = level.shape[axis]
        edge = level.narrow(axis, size - 1 if shift < 0 else 0, 1)
        padded = torch.cat([level, edge] if shift < 0 else [edge, level], dim=axis)
        level = (padded.narrow(axis, 0, size) + padded.narrow(axis, 1, size)) / 2
    return level


def sincos_position(rows: int, columns: int, frequencies: int) -> Tensor:
    """Sines and cosines of each patch centre's place, both axes over [-1, 1]: (1, 4 * frequencies, rows, columns)."""
    y = (torch.arange(rows) + 0.5) / rows * 2 - 1
    x = (torch.arange(columns) + 0.5) / columns * 2 - 1
    waves = torch.pi / 2 * 2.0 ** torch.arange(frequencies)
    parts = []
    for place in torch.meshgrid(y, x, indexing="ij"):
        angle = waves[:, None, None] * place
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts)[None]


def _options_of(tower: Any) -> dict[str, Any]:
    return {"options": tower.options} if tower.options else {}


def _is_plain_transformer(model: Any) -> bool:
    """Check that all depths share one patch grid, so that there is nothing to fuse."""
    reductions = {info["reduction"] for info in getattr(model, "feature_info", [])}
    return len(reductions) <= 1 and hasattr(model, "patch_embed") and hasattr(model, "forward_head")
