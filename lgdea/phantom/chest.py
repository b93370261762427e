"""The healthy chest: the layers of bone, lung, heart and soft tissue that one patient's proportions make."""

from __future__ import annotations

import math

import numpy as np

from lgdea.phantom.anatomy import APEX, RIB_PITCH, Anatomy
from lgdea.phantom.scene import SIDES, Canvas, Layer, Stroke, bell, curve, smooth


class Chest:
    """The layers of one healthy chest on one canvas; lesion painters read them to find their place.

    Attributes:
        lungs: Soft lung mask per side, heart and mediastinum already taken out.
        field: Soft lung field per side, the part behind the heart included.
        depth: How much lung a ray crosses, 0..1.
        heart, mediastinum, vessels, ribs, spine: Soft layers in 0..1.
    """

    def __init__(self, canvas: Canvas, anatomy: Anatomy) -> None:
        self.canvas, self.anatomy = canvas, anatomy
        c, a = canvas, anatomy
        self.midline = a.spine(c.v)
        self.across = c.u - self.midline * np.float32(0.6)
        self.half_width = a.half_width(c.v)
        self.heart = self._heart()
        self.mediastinum = self._mediastinum()
        self.field: dict[str, Layer] = {}
        self.lungs: dict[str, Layer] = {}
        open_chest = (1 - self.heart) * (1 - self.mediastinum)
        for side in SIDES:
            self.field[side] = self._lung_field(side)
            self.lungs[side] = self.field[side] * open_chest
        self.depth = self.lungs["right"] * self._thickness("right") + self.lungs["left"] * self._thickness("left")
        self.spine, self.ribs = self._spine(), self.rib_layer(c.u, c.v)
        self.vessels = self._vessels()

    def outward(self, side: str) -> Layer:
        """Distance from the midline, positive on ``side``."""
        return self.across * np.float32(SIDES[side])

    def density(self) -> Layer:
        """The whole healthy chest as X-ray density, roughly 0 (air) to 1.2 (bone over liver)."""
        c, a = self.canvas, self.anatomy
        body = self._body()
        belly = np.maximum(self._below("right"), self._below("left"))
        tissue = body * (0.53 + 0.05 * a.fat) + 0.13 * belly * body + 0.10 * self.heart + 0.07 * self.mediastinum
        tissue -= (0.40 + 0.01 * a.fat) * self.depth
        tissue += self._shoulders() * body + self._breasts()
        tissue -= 0.12 * a.gas * self._gas() + self._airway()
        lung = self.lungs["right"] + self.lungs["left"]
        tissue += 0.15 * a.vessels * self.vessels * (0.25 + 0.75 * lung)
        bones = 0.105 * self.ribs * (1 - 0.6 * belly) + 0.085 * self.spine + self._clavicles() + self._scapulae()
        texture = c.field(np.random.default_rng(a.seed), 0.035) * 0.010 * lung
        return np.asarray(tissue + a.bone * bones * body + texture, np.float32)

    def _lung_field(self, side: str) -> Layer:
        c, x = self.canvas, self.outward(side)
        t = np.clip((c.v - APEX) / 0.28, 0, 1)
        inner = 0.27 - 0.23 * np.sqrt(1 - (1 - t) ** 2)
        above = smooth(self.anatomy.dome(side, x) - c.v, 0.022)
        apex = smooth(c.v - APEX, 0.05)
        return smooth(self.half_width - x, 0.03) * smooth(x - inner, 0.04) * above * apex

    def _thickness(self, side: str) -> Layer:
        c, x = self.canvas, self.outward(side)
        rim = np.clip((self.half_width - x) / 0.30, 0, 1)
        top = np.clip((c.v - APEX) / 0.5, 0, 1)
        bottom = np.clip((self.anatomy.dome(side, x) - c.v) / 0.35, 0, 1)
        return np.asarray(
            (0.70 + 0.30 * np.sqrt(rim)) * (0.66 + 0.34 * np.sqrt(top)) * (0.82 + 0.18 * bottom), np.float32
        )

    def _heart(self) -> Layer:
        c, a = self.canvas, self.anatomy
        k, drop = a.heart, a.inspiration * 0.8 - 0.3 * a.left_raise
        turn = a.twist
        ventricle = c.ellipse(0.105 + 0.10 * (k - 1) + turn, 0.235 + drop, 0.295 * k, 0.195 * k, 0.55, 0.05)
        atrium = c.ellipse(-0.045 + turn, 0.24 + drop, 0.165 * k, 0.215 * k, 0.0, 0.05)
        trunk = c.ellipse(0.075 + turn, -0.02 + drop, 0.10 * k**0.5, 0.22, 0.12, 0.07)
        base = smooth(0.52 + drop - c.v, 0.1)
        return np.asarray((1 - (1 - ventricle) * (1 - atrium) * (1 - 0.9 * trunk)) * base, np.float32)

    def _mediastinum(self) -> Layer:
        c, a = self.canvas, self.anatomy
        right = 0.098 + 0.09 * np.clip(-c.v - 0.35, 0, 1) ** 1.3 - a.twist
        left = 0.083 + 0.13 * np.clip(-c.v - 0.42, 0, 1) ** 1.3 + a.twist
        x = self.across
        band = smooth(x + right, 0.04) * smooth(left - x, 0.04)
        band = band * (0.85 + 0.15 * smooth(0.0 - c.v, 0.4))
        # Unfolding swells the knob and swings the descending aorta out into the left lung.
        knob = c.ellipse(
            0.075 + 0.05 * a.unfolding,
            -0.30 - 0.05 * a.unfolding,
            a.knob * (1 + 0.35 * a.unfolding),
            a.knob * (1.1 + 0.35 * a.unfolding),
        )
        swing = 0.115 + a.unfolding * 0.11 * bell(c.v - 0.02, 0.28)
        descending = 0.45 * smooth(swing - x, 0.02) * smooth(x, 0.05) * smooth(c.v + 0.28, 0.1)
        ascending = a.unfolding * c.ellipse(-0.085, -0.12, 0.085, 0.2)
        layers = np.stack([band, knob, descending, 0.9 * ascending])
        return np.asarray(layers.max(0).clip(0, 1), np.float32)

    def _spine(self) -> Layer:
        c = self.canvas
        x, pitch = c.u - self.midline, 0.118
        column = smooth(0.078 + 0.012 * c.v - np.abs(x), 0.02)
        phase = (c.v / pitch) % 1.0
        disc = bell(phase - 0.5, 0.075)
        rim = bell(np.abs(phase - 0.5) - 0.16, 0.045)
        pedicle = bell(np.abs(x) - 0.042, 0.012) * bell(phase - 0.85, 0.10)
        process = bell(x, 0.012) * bell(phase - 0.15, 0.14)
        return np.asarray(column * (0.72 - 0.42 * disc + 0.22 * rim) + 0.35 * pedicle + 0.3 * process, np.float32)

    def rib_layer(self, u: Layer, v: Layer) -> Layer:
        """Ribs at the given coordinates: periodic bands bent along the cage, so that one formula draws all."""
        a = self.anatomy
        x = np.abs(u - a.spine(v) * np.float32(0.6))
        edge = a.half_width(v) + 0.012
        r = np.clip(x / edge, 0, 1.0)
        root = np.sqrt(np.clip(1 - r * r, 0.0064, 1))
        inside = smooth(edge + 0.02 - x, 0.03) * smooth(x - 0.05, 0.05)
        slope = 0.20 * a.rib_slope
        back = slope * (1 - root) * 1.9 + 0.05 * (r - 0.35) ** 2
        front = slope * (1.35 + 1.5 * root)
        steep_back = slope * 1.9 * r / root / edge
        steep_front = -slope * 1.5 * r / root / edge
        # Cartilage does not show: anterior ribs fade towards the sternum.
        bony = smooth(r - 0.42, 0.25)
        rows = smooth(v - APEX + 0.03, 0.05) * smooth(0.78 - v, 0.25)
        posterior = _bands(v - back + a.rib_shift, steep_back, 0.027) * inside
        anterior = _bands(v - front + a.rib_shift, steep_front, 0.031) * inside * bony * smooth(v + 0.42, 0.3)
        return np.asarray(rows * (posterior + 0.75 * anterior), np.float32)

    def _vessels(self) -> Layer:
        rng = np.random.default_rng(self.anatomy.seed + 1)
        strokes: list[Stroke] = []
        drop = self.anatomy.inspiration * 0.4
        for sign in SIDES.values():
            hilum = (sign * 0.135, (-0.075 if sign > 0 else -0.035) + drop)
            for angle in np.linspace(-1.25, 1.45, 9):
                _branch(rng, strokes, hilum, sign, angle + rng.normal(0, 0.1), 0.24, 0.021, 0)
        layer = self.canvas.strokes(sorted(strokes, key=lambda s: s.value))
        hila = sum(
            self.canvas.ellipse(s * 0.145, (-0.075 if s > 0 else -0.035) + drop, 0.045, 0.085, s * -0.25, 0.07)
            for s in SIDES.values()
        )
        return np.asarray(np.clip(layer + 0.75 * hila, 0, 1.3), np.float32)

    def _below(self, side: str) -> Layer:
        x = self.outward(side)
        return (
            smooth(self.canvas.v - self.anatomy.dome(side, x), 0.022)
            * smooth(x + 0.02, 0.06)
            * smooth(self.half_width + 0.02 - x, 0.05)
        )

    def _body(self) -> Layer:
        c, fat = self.canvas, self.anatomy.fat
        x = np.abs(c.u)
        flank = 0.775 + 0.05 * fat + 0.035 * smooth(c.v - 0.3, 1.0) + 0.45 * smooth(-0.33 - c.v, 0.62)
        slope = -0.97 + 0.40 * np.clip(x - 0.20, 0, 2) ** 1.4 - 0.03 * fat
        neck = smooth(0.205 + 0.02 * fat - x, 0.06) * smooth(-0.6 - c.v, 0.4)
        return np.asarray(np.maximum(smooth(flank - x, 0.05) * smooth(c.v - slope, 0.07), neck), np.float32)

    def _shoulders(self) -> Layer:
        c = self.canvas
        x = np.abs(c.u)
        muscle = smooth(-0.35 - c.v, 0.5) * smooth(x - 0.5, 0.4)
        rim = smooth(x - self.half_width, 0.12) * smooth(0.5 - c.v, 0.8)
        return np.asarray(0.10 * muscle - 0.06 * rim + 0.05 * bell(x, 0.3), np.float32)

    def _breasts(self) -> Layer:
        a = self.anatomy
        if a.sex == "M":
            return self.canvas.zeros()
        drop = 0.18 + 0.002 * (a.age - 40)
        pair = sum(self.canvas.ellipse(s * 0.43, drop, 0.27, 0.25 + 0.03 * a.breast, 0.0, 0.05) for s in SIDES.values())
        lower = smooth(self.canvas.v - drop + 0.3, 0.6)
        return np.asarray(0.075 * a.breast * pair * lower, np.float32)

    def _gas(self) -> Layer:
        a = self.anatomy
        top = float(a.dome("left", np.float32(0.33)))
        fundus = self.canvas.ellipse(0.30, top + 0.085, 0.12, 0.055, 0.1, 0.03)
        bowel = self.canvas.ellipse(0.52, top + 0.33, 0.10, 0.07, 0.4, 0.05)
        return np.asarray(fundus + 0.6 * bowel, np.float32)

    def _airway(self) -> Layer:
        c = self.canvas
        x = c.u - self.midline - self.anatomy.twist
        trachea = smooth(0.036 - np.abs(x), 0.02) * smooth(-0.22 - c.v, 0.06)
        right = bell(x + 0.02 + 0.55 * (c.v + 0.23), 0.018) * smooth(c.v + 0.26, 0.04) * smooth(-0.06 - c.v, 0.06)
        left = bell(x - 0.02 - 0.85 * (c.v + 0.23), 0.018) * smooth(c.v + 0.26, 0.04) * smooth(-0.10 - c.v, 0.06)
        return np.asarray(0.11 * trachea + 0.06 * (right + left), np.float32)

    def _clavicles(self) -> Layer:
        c = self.canvas
        x = np.abs(c.u - self.anatomy.twist)
        # The two halves of an S: rising from the sternum, then levelling off to the shoulder.
        centre = -0.545 - 0.30 * x + 0.035 * np.sin(7.5 * (x - 0.05)) + 0.20 * np.clip(x - 0.5, 0, 1)
        distance = np.abs(c.v - centre) / 1.06
        half = 0.022 + 0.016 * bell(x - 0.08, 0.05) + 0.008 * bell(x - 0.7, 0.1)
        shaft = smooth(half - distance, 0.016)
        cortex = bell(distance - half + 0.005, 0.008)
        reach = smooth(x - 0.055, 0.03) * smooth(0.76 - x, 0.05)
        return np.asarray(reach * (0.085 * shaft + 0.045 * cortex), np.float32)

    def _scapulae(self) -> Layer:
        strokes = []
        for s in SIDES.values():
            blade = curve(
                [
                    (s * 0.63, -0.60),
                    (s * 0.79, -0.52),
                    (s * 0.765, -0.3),
                    (s * 0.70, -0.05),
                    (s * 0.665, -0.08),
                    (s * 0.64, -0.35),
                ],
                8,
            )
            strokes += [
                Stroke(blade, 0, 0.4, closed=True),
                Stroke(blade[8:32], 0.016, 0.8),
                Stroke(curve([(s * 0.62, -0.56), (s * 0.75, -0.66), (s * 0.86, -0.735)], 8), 0.034, 0.7),
                Stroke(curve([(s * 0.90, -0.62), (s * 0.95, -0.45), (s * 1.02, -0.1)], 8), 0.11, 0.8),
            ]
        heads = sum(self.canvas.ellipse(s * 0.885, -0.655, 0.08, 0.09) for s in SIDES.values())
        return np.asarray(0.075 * self.canvas.strokes(strokes) + 0.07 * heads, np.float32)


def _bands(height: Layer, steepness: Layer, half: float) -> Layer:
    """Periodic bands with bright cortical rims; steep parts keep their true thickness."""
    stretch = np.sqrt(1 + steepness * steepness)
    distance = np.abs((height / RIB_PITCH) % 1.0 - 0.5) * RIB_PITCH / stretch
    return np.asarray(0.7 * smooth(half - distance, 0.016) + 0.45 * bell(distance - half + 0.006, 0.006), np.float32)


def _branch(
    rng: np.random.Generator,
    strokes: list[Stroke],
    start: tuple[float, float],
    sign: float,
    angle: float,
    length: float,
    width: float,
    level: int,
) -> None:
    """One vessel and its daughters: each thinner, shorter and fainter, so that the texture fades outwards."""
    bend = angle + rng.normal(0, 0.25)
    middle = (start[0] + sign * math.cos(angle) * length * 0.5, start[1] + math.sin(angle) * length * 0.5)
    end = (middle[0] + sign * math.cos(bend) * length * 0.5, middle[1] + math.sin(bend) * length * 0.5)
    strokes.append(Stroke([start, middle, end], width, 0.85 * 0.78**level))
    if level < 3:
        for turn in (-1, 1):
            _branch(
                rng,
                strokes,
                end,
                sign,
                bend + turn * rng.uniform(0.2, 0.55),
                length * rng.uniform(0.55, 0.8),
                width * 0.66,
                level + 1,
            )
