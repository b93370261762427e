"""The pictures: every finding leaves a signal where its mask says and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgdea.phantom.anatomy import Anatomy, draw_patient
from lgdea.phantom.chest import Chest
from lgdea.phantom.config import PhantomConfig, catalogue
from lgdea.phantom.film import SITES, Visit, render
from lgdea.phantom.marks import Lesion, bounding_box
from lgdea.phantom.scene import Canvas, Pose, Stroke

RESHAPING = {"cardiomegaly", "hyperinflation", "elevated_diaphragm", "fibrosis", "tortuous_aorta", "scoliosis"}


def lesion_of(finding: str, severity: float = 0.6, seed: int = 1) -> Lesion:
    entry = catalogue()[finding]
    side = entry.side or ("right" if entry.sides[0] >= entry.sides[1] else "left")  # type: ignore[index]
    return Lesion(finding, side, "middle" if entry.zones else None, severity, seed)


def visit_with(*lesions: Lesion, site: str = "harbour", seed: int = 8) -> Visit:
    return Visit(replace(draw_patient(np.random.default_rng(3)), age=60), lesions, site, False, seed)


@pytest.mark.parametrize("site", list(SITES))
@pytest.mark.parametrize("finding", list(catalogue()))
def test_the_signal_is_inside_the_mask(finding: str, site: str) -> None:
    config = PhantomConfig(size=128)
    healthy, _ = render(visit_with(site=site), config)
    ill, instances = render(visit_with(lesion_of(finding), site=site), config)
    mask = np.any([mark.mask() for _, mark in instances], axis=0)
    change = np.abs(ill.astype(float) - healthy.astype(float))
    inside, outside = change[mask].mean(), change[~mask].mean()
    # A finding that changes the shape of the chest also moves what lies around it.
    assert inside > (1.5 if finding in RESHAPING else 6) * outside
    assert inside > 4


@pytest.mark.parametrize("finding", list(catalogue()))
def test_severity_makes_the_change_larger(finding: str) -> None:
    config = PhantomConfig(size=96, noise=0, nuisance=0)
    healthy, _ = render(visit_with(), config)
    change = [
        np.abs(render(visit_with(lesion_of(finding, s)), config)[0].astype(float) - healthy).sum() for s in (0.1, 0.9)
    ]
    assert change[1] >= change[0]


def test_contrast_scales_the_signal() -> None:
    def strongest(contrast: float) -> float:
        _, instances = render(visit_with(lesion_of("nodule")), PhantomConfig(size=96, lesion_contrast=contrast))
        return float(np.abs(instances[0][1].delta).max())

    assert strongest(0.5) == pytest.approx(0.5 * strongest(1.0), rel=1e-5)


def test_the_same_visit_gives_the_same_picture() -> None:
    first, _ = render(visit_with(lesion_of("mass")), PhantomConfig(size=96))
    second, _ = render(visit_with(lesion_of("mass")), PhantomConfig(size=96))
    np.testing.assert_array_equal(first, second)


def test_a_lesion_keeps_its_place_over_time() -> None:
    boxes = []
    for severity in (0.2, 0.8):
        _, instances = render(visit_with(lesion_of("consolidation", severity)), PhantomConfig(size=128))
        boxes.append(np.array(bounding_box(instances[0][1].mask())))
    centres = [(b[:2] + b[2:]) / 2 for b in boxes]
    assert np.abs(centres[0] - centres[1]).max() < 12


def test_heart_apex_and_aortic_knob_point_to_the_pictures_right() -> None:
    chest = Chest(Canvas(128, 128, Pose()), Anatomy())
    columns = np.arange(128) + 0.5
    assert (chest.heart.sum(0) * columns).sum() / chest.heart.sum() > 66
    knob = chest.mediastinum * (np.abs(chest.canvas.v + 0.30) < 0.05)
    assert (knob.sum(0) * columns).sum() / knob.sum() > 65


def test_lungs_are_darker_than_spine_and_belly() -> None:
    picture, _ = render(visit_with(), PhantomConfig(size=128, nuisance=0))
    lung, spine, belly = picture[45:60, 30:40].mean(), picture[60:80, 61:67].mean(), picture[105:120, 40:50].mean()
    assert lung + 40 < min(spine, belly)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-0.1, 0.1),
    st.floats(0.8, 1.2),
    st.floats(-0.1, 0.1),
    st.floats(-0.1, 0.1),
    st.integers(64, 160),
    st.integers(64, 160),
)
def test_pixels_and_patient_coordinates_are_inverse(
    rotation: float, scale: float, shift_u: float, shift_v: float, width: int, height: int
) -> None:
    canvas = Canvas(width, height, Pose(rotation, scale, shift_u, shift_v))
    rows, columns = [0, height // 2, height - 1], [3, width // 2, width - 2]
    points = [(float(canvas.u[r, c]), float(canvas.v[r, c])) for r, c in zip(rows, columns, strict=True)]
    expected = [(c + 0.5, r + 0.5) for r, c in zip(rows, columns, strict=True)]
    np.testing.assert_allclose(canvas.to_pixels(points), expected, atol=1e-3)


def test_random_fields_have_zero_mean_unit_variance_and_the_asked_grain() -> None:
    canvas = Canvas(128, 128, Pose())
    fields = np.stack([canvas.field(np.random.default_rng(k), 0.1) for k in range(40)])
    assert abs(fields.mean()) < 0.05
    assert fields.std() == pytest.approx(1, abs=0.05)
    near = np.mean(fields[:, :, 1:] * fields[:, :, :-1])
    far = np.mean(fields[:, :, 30:] * fields[:, :, :-30])
    assert near > 0.9
    assert abs(far) < 0.1


def test_a_stroke_is_as_long_and_wide_as_asked() -> None:
    canvas = Canvas(128, 128, Pose())
    layer = canvas.strokes([Stroke([(-0.5, 0.0), (0.5, 0.0)], 0.125)])
    assert layer.sum() == pytest.approx(64 * 8, rel=0.1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 6), st.integers(1, 6))
def test_bounding_box_is_half_open(x: int, y: int, w: int, h: int) -> None:
    mask = np.zeros((16, 16), bool)
    mask[y : y + h, x : x + w] = True
    assert bounding_box(mask) == (x, y, x + w, y + h)
    assert bounding_box(np.zeros((4, 4), bool)) is None
