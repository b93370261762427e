"""Blocks of settings that trainings share."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from lgdea.config import Config


class AugmentConfig(Config):
    """Random changes of an image; never a flip, because reports say left and right."""

    rotate_degrees: NonNegativeFloat = 10.0
    """Rotation by up to this angle in degrees, to either side."""
    scale: float = Field(default=0.15, ge=0, lt=1)
    """Zoom by a factor in [1 - scale, 1 + scale]."""
    translate: float = Field(default=0.08, ge=0, lt=1)
    """Shift by up to this share of the side."""
    brightness: NonNegativeFloat = 0.15
    """Largest change of all grey values, on the scale [0, 1]."""
    contrast: NonNegativeFloat = 0.25
    """Largest relative change of the distance from the image's mean."""
    noise: NonNegativeFloat = 0.03
    """Largest standard deviation of Gaussian noise, on the scale [0, 1]."""
    erase: float = Field(default=0.0, ge=0, lt=1)
    """Probability that a rectangle of 2 to 15% of the area turns to the image's mean."""


class OptimizerConfig(Config):
    """AdamW."""

    lr: PositiveFloat = 1e-3
    """Peak learning rate."""
    weight_decay: NonNegativeFloat = 0.05
    """Decoupled weight decay."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay rates of the first and second moment."""


class CheckpointConfig(Config):
    """Checkpoints, from which a killed run goes on."""

    every_steps: PositiveInt = 200
    """Optimiser steps between two checkpoints."""
