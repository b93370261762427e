"""The drawing board: a pixel grid in the patient's own coordinates, soft shapes, smooth random fields and strokes.

Coordinates: ``u`` grows to the picture's right (the patient's LEFT), ``v`` downwards; the picture's height spans about
-1..1 before the pose. Every length is in these units, so a picture of any size shows the same patient. Layers are
``(H, W)`` float32 X-ray densities: bright is dense, lesions add or subtract.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Layer = NDArray[np.float32]
SIDES = {"right": -1.0, "left": 1.0}
_REACH = 1.6


@dataclass(frozen=True)
class Pose:
    """Patient before the detector: rotation (radians), scale, shift (patient units)."""

    rotation: float = 0.0
    scale: float = 1.0
    shift_u: float = 0.0
    shift_v: float = 0.0


@dataclass(frozen=True)
class Stroke:
    """A polyline in patient units with a width and a strength in 0..1; ``closed`` fills the polygon."""

    points: Sequence[tuple[float, float]]
    width: float
    value: float = 1.0
    closed: bool = False


def smooth(x: NDArray[np.floating] | Layer, width: float) -> Layer:
    """Smooth step from 0 to 1 over ``width``, 0.5 at ``x = 0``."""
    t = np.clip(np.asarray(x, np.float32) / np.float32(width) + np.float32(0.5), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def bell(x: NDArray[np.floating] | Layer, sigma: float) -> Layer:
    """Gaussian bell of height 1."""
    z = np.asarray(x, np.float32) / np.float32(sigma)
    return np.exp(np.float32(-0.5) * z * z)


class Canvas:
    """The pixel grid of one picture seen in patient coordinates.

    Attributes:
        u, v: Patient coordinates of the pixel centres, each ``(H, W)``.
        pixel: Size of a pixel in patient units.
    """

    def __init__(self, width: int, height: int, pose: Pose) -> None:
        self.width, self.height, self.pose = width, height, pose
        half = height / 2
        x = ((np.arange(width, dtype=np.float32) + 0.5) - width / 2) / half - pose.shift_u
        y = (np.arange(height, dtype=np.float32) + 0.5) / half - 1 - pose.shift_v
        x, y = x / pose.scale, y / pose.scale
        cos, sin = np.float32(np.cos(pose.rotation)), np.float32(np.sin(pose.rotation))
        self.u: Layer = (cos * x[None, :] + sin * y[:, None]).astype(np.float32)
        self.v: Layer = (-sin * x[None, :] + cos * y[:, None]).astype(np.float32)
        self.pixel = 1 / half / pose.scale
        self._x, self._y = x, y

    def zeros(self) -> Layer:
        """An empty layer."""
        return np.zeros((self.height, self.width), np.float32)

    def to_pixels(self, points: Iterable[tuple[float, float]]) -> NDArray[np.float64]:
        """Patient coordinates to picture coordinates ``(N, 2)`` (x, y), pixel edges at whole numbers."""
        p = np.asarray(list(points), float).reshape(-1, 2)
        cos, sin = np.cos(self.pose.rotation), np.sin(self.pose.rotation)
        x = (cos * p[:, 0] - sin * p[:, 1]) * self.pose.scale + self.pose.shift_u
        y = (sin * p[:, 0] + cos * p[:, 1]) * self.pose.scale + self.pose.shift_v
        half = self.height / 2
        return np.stack([x * half + self.width / 2, (y + 1) * half], 1)

    def ellipse(self, u: float, v: float, a: float, b: float, tilt: float = 0.0, edge: float = 0.03) -> Layer:
        """A filled soft ellipse; ``tilt`` in radians turns the first axis towards positive ``v``."""
        return smooth((1 - np.sqrt(self.radius(u, v, a, b, tilt))) * min(a, b), max(edge, 1.5 * self.pixel))

    def radius(self, u: float, v: float, a: float, b: float, tilt: float = 0.0) -> Layer:
        """Squared elliptical radius: 1 on the ellipse."""
        du, dv = self.u - np.float32(u), self.v - np.float32(v)
        cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        first = (cos * du + sin * dv) / np.float32(a)
        second = (cos * dv - sin * du) / np.float32(b)
        return np.asarray(first * first + second * second, np.float32)

    def field(self, rng: np.random.Generator, cell: float) -> Layer:
        """A smooth random field, zero mean and unit variance, with blobs of about ``cell``; it moves with the patient.

        Cubic B-splines over a random grid. The patient's small rotation is left out: two products.
        """
        cells = int(2 * _REACH / cell) + 4
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        field = _spline(self._y, cell, cells) @ grid @ _spline(self._x, cell, cells).T
        # The spline's smoothing lowers the deviation to 0.4794 on average.
        return np.asarray(field / 0.4794, np.float32)

    def strokes(self, strokes: Iterable[Stroke]) -> Layer:
        """Antialiased lines and polygons, values in 0..1; where they cross, the later one stands."""
        factor = 3 if self.height <= 256 else 2
        board = Image.new("L", (self.width * factor, self.height * factor), 0)
        draw = ImageDraw.Draw(board)
        per_unit = self.height / 2 * self.pose.scale * factor
        strokes = list(strokes)
        corners = (self.to_pixels([p for s in strokes for p in s.points]) * factor).tolist()
        first = 0
        for stroke in strokes:
            points = [(x, y) for x, y in corners[first : first + len(stroke.points)]]
            first += len(stroke.points)
            width = stroke.width * per_unit
            thin = min(1.0, width)  # lines thinner than a sub-pixel grow fainter instead
            value = round(255 * stroke.value * thin)
            if stroke.closed:
                draw.polygon(points, fill=value)
            else:
                draw.line(points, fill=value, width=max(1, round(width)), joint="curve")
        return np.asarray(board.reduce(factor), np.float32) / np.float32(255)


def _spline(x: Layer, cell: float, cells: int) -> Layer:
    """Cubic B-spline basis ``(len(x), cells)``."""
    position = (x + _REACH) / cell
    index = np.clip(np.floor(position).astype(int), 0, cells - 4)
    t = np.clip(position - index, 0, 1).astype(np.float32)
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1) / 6
    basis = np.zeros((len(x), cells), np.float32)
    np.put_along_axis(basis, index[:, None] + np.arange(4)[None, :], weights.astype(np.float32), 1)
    return basis


def curve(points: Sequence[tuple[float, float]], steps: int = 24) -> list[tuple[float, float]]:
    """A Catmull-Rom curve through ``points``."""
    p = np.asarray([points[0], *points, points[-1]], float)
    result: list[tuple[float, float]] = []
    for i in range(1, len(p) - 2):
        t = np.linspace(0, 1, steps, endpoint=i == len(p) - 3)[:, None]
        a, b, c, d = p[i - 1], p[i], p[i + 1], p[i + 2]
        q = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        result.extend((float(x), float(y)) for x, y in q)
    return result
