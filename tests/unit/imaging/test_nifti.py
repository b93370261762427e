from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lgdea.errors import ImageError, UsageError
from lgdea.imaging.nifti import WINDOWS, evenly, fullest, otsu, read_slices

nibabel = pytest.importorskip("nibabel")

# Voxel (0, 0, 0) of a canonical (RAS+) volume is at the patient's left, back and feet.
SHAPE = (6, 5, 10)


def _save(file: Path, values: np.ndarray, axes: str = "RAS", spacing: tuple[float, ...] = (2.0, 3.0, 4.0)) -> Path:
    """Save (X, Y, Z) canonical values in a file whose axes run towards ``axes``."""
    canonical = nibabel.Nifti1Image(values, np.diag([*spacing, 1.0]))
    start = nibabel.orientations.io_orientation(canonical.affine)
    end = nibabel.orientations.axcodes2ornt(axes)
    stored = canonical.as_reoriented(nibabel.orientations.ornt_transform(start, end))
    assert nibabel.aff2axcodes(stored.affine) == tuple(axes)
    nibabel.save(stored, file)
    return file


def _marked() -> np.ndarray:
    """Air, with a bright voxel at the patient's right, front, in slice 7 from the feet."""
    values = np.full(SHAPE, -1000, dtype=np.int16)
    values[-1, -1, 7] = 1000
    return values


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "ASR", "PIL"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_the_patients_right_is_at_the_pictures_left_whatever_the_files_axes(tmp_path, axes, ending):
    read = read_slices(_save(tmp_path / f"v{ending}", _marked(), axes), slices=10)
    assert read.pixels.shape == (10, 5, 6)
    assert read.pixels.dtype == np.float32
    assert np.argwhere(read.pixels == 1).tolist() == [[7, 0, 0]]  # slice 7 from the feet, front row, right column
    assert read.pixels.sum() == 1
    assert read.spacing == (3.0, 2.0, 4.0)
    assert (read.indices, read.depth) == (tuple(range(10)), 10)


@pytest.mark.parametrize("window", sorted(WINDOWS))
def test_windows_map_their_edges_to_0_and_1_and_their_centre_to_a_half(tmp_path, window):
    centre, width = WINDOWS[window]
    values = np.zeros((4, 1, 1), dtype=np.float32)
    values[:, 0, 0] = [centre - width, centre - width / 2, centre, centre + width]
    read = read_slices(_save(tmp_path / "v.nii", values), slices=1, window=window)
    assert read.pixels[0, 0, ::-1].tolist() == [0, 0, 0.5, 1]
    assert read.window == (centre - width / 2, centre + width / 2)


def test_percentiles_are_those_of_the_foreground(tmp_path):
    values = np.zeros((100, 10, 2), dtype=np.float32)
    values[:20, :, :] = np.linspace(100, 300, 400).reshape(20, 10, 2)  # 80% of the volume is air
    read = read_slices(_save(tmp_path / "v.nii", values), slices=2, window="percentiles")
    assert read.window == pytest.approx((102, 298), abs=0.01)
    assert read.pixels.min() == 0
    assert read.pixels.max() == 1


def test_a_constant_or_broken_volume_is_black_not_an_error(tmp_path):
    read = read_slices(_save(tmp_path / "v.nii", np.full((3, 3, 3), 7, dtype=np.int16)), window="percentiles")
    assert (read.pixels == 0).all()
    values = np.full((3, 3, 3), np.nan, dtype=np.float32)
    values[0, 0, 0] = 2000
    read = read_slices(_save(tmp_path / "w.nii", values), window="bone")
    assert np.isfinite(read.pixels).all()
    assert read.pixels.sum() == 1


def test_own_window(tmp_path):
    read = read_slices(_save(tmp_path / "v.nii", _marked()), slices=10, window=(-1000, 3000))
    assert read.pixels.max() == 0.5


@pytest.mark.parametrize("depth", [1, 2, 3, 7, 10, 31, 500])
@pytest.mark.parametrize("slices", [1, 2, 5, 8, 32])
def test_even_slices_are_distinct_ordered_and_inside(depth, slices):
    chosen = evenly(depth, slices)
    assert len(chosen) == min(depth, slices)
    assert chosen == sorted(set(chosen))
    assert 0 <= chosen[0] <= chosen[-1] < depth
    if depth >= 10 * slices:
        assert chosen[0] >= 0.1 * depth
        assert chosen[-1] < 0.9 * depth
        assert max(np.diff(chosen), default=0) - min(np.diff(chosen), default=0) <= 1


def test_tissue_takes_the_fullest_slice_of_each_part(tmp_path):
    values = np.full((10, 10, 20), -1000, dtype=np.int16)
    for index, voxels in {3: 20, 4: 50, 11: 30, 19: 5}.items():
        values.reshape(100, 20)[:voxels, index] = 40
    assert fullest(values, 2, -500) == [4, 11]
    assert read_slices(_save(tmp_path / "v.nii", values), slices=2, choose="tissue").indices == (4, 11)
    # MR has no Hounsfield units: the same volume with its air at 0.
    mr = _save(tmp_path / "m.nii", (values + 1000).astype(np.int16))
    assert read_slices(mr, slices=2, choose="tissue", window="percentiles").indices == (4, 11)


def test_otsu_agrees_with_trying_every_threshold():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(10, 3, 700), rng.normal(60, 8, 300)])

    def between(threshold: float) -> float:
        low, high = values[values < threshold], values[values >= threshold]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    tried = np.linspace(values.min() + 1, values.max() - 1, 400)
    best = max(between(t) for t in tried)
    assert between(otsu(values)) > 0.999 * best


def test_one_frame_of_four_axes_is_a_volume_several_are_not(tmp_path):
    one = nibabel.Nifti1Image(_marked()[..., None], np.eye(4))
    nibabel.save(one, tmp_path / "one.nii")
    assert read_slices(tmp_path / "one.nii", slices=10).pixels.shape == (10, 5, 6)
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 3), np.int16), np.eye(4)), tmp_path / "four.nii")
    with pytest.raises(ImageError, match=r"four.nii: is no volume but 2 x 2 x 2 x 3"):
        read_slices(tmp_path / "four.nii")


def test_colours_and_complex_numbers_are_no_damage_and_the_remedies_work(tmp_path):
    values = np.random.default_rng(0).integers(0, 200, (6, 7, 8)).astype(np.uint8)
    for names in ("RGB", "RGBA"):
        colours = np.zeros(values.shape, [(name, "u1") for name in names])
        colours["R"] = values
        nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), tmp_path / "colour.nii.gz")
        with pytest.raises(ImageError, match=rf"holds colours \({names}\), one number per voxel") as error:
            read_slices(tmp_path / "colour.nii.gz")
        assert "np.asarray(nibabel.load(FILE).dataobj)['R']" in error.value.remedy
    one = np.asarray(nibabel.load(tmp_path / "colour.nii.gz").dataobj)["R"]
    assert np.array_equal(one, values)
    file = _save(tmp_path / "complex.nii", (values * (1 + 1j)).astype(np.complex64))
    with pytest.raises(ImageError, match=r"complex.nii: holds complex numbers"):
        read_slices(file)
    size = abs(np.asarray(nibabel.load(file).dataobj))
    assert read_slices(_save(tmp_path / "size.nii", size), window="percentiles").pixels.max() == 1


def test_a_volume_without_a_number_is_refused_and_one_with_holes_is_not(tmp_path):
    values = np.full((5, 6, 4), np.nan, np.float32)
    with pytest.raises(ImageError, match=r"x.nii: has no voxel whose value is finite"):
        read_slices(_save(tmp_path / "x.nii", values))
    values[2, 3, 1] = 1000
    pixels = read_slices(_save(tmp_path / "y.nii", values), slices=4).pixels
    assert np.isfinite(pixels).all()
    assert pixels.sum() == 1


def test_axes_of_one_after_the_third_are_no_further_ones(tmp_path):
    plain = read_slices(_save(tmp_path / "x.nii", _marked())).pixels
    nibabel.save(nibabel.Nifti1Image(_marked()[..., None, None], np.eye(4)), tmp_path / "five.nii")
    assert read_slices(tmp_path / "five.nii").pixels.shape == plain.shape


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"none.nii: no such volume"):
        read_slices(tmp_path / "none.nii")
    (tmp_path / "text.nii").write_text("hello")
    with pytest.raises(ImageError, match=r"text.nii: is damaged or no NIfTI file"):
        read_slices(tmp_path / "text.nii")
    whole = _save(tmp_path / "v.nii.gz", np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16))
    (tmp_path / "cut.nii.gz").write_bytes(whole.read_bytes()[:4000])
    with pytest.raises(ImageError, match=r"cut.nii.gz: is damaged"):
        read_slices(tmp_path / "cut.nii.gz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "liver"}, "no window 'liver'; known are lung, mediastinum, bone, brain, percentiles"),
        ({"window": (3, 3)}, "the window 3 to 3 is empty"),
        ({"slices": 0}, "slices=0 is no number of slices"),
        ({"choose": "best"}, "no choice of slices 'best'"),
    ],
)
def test_bad_options(tmp_path, options, message):
    file = _save(tmp_path / "v.nii", _marked())
    with pytest.raises(UsageError, match=message):
        read_slices(file, **options)


def test_without_nibabel_the_remedy_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(
        UsageError, match=r"NIfTI files need nibabel, which is not installed; pip install 'lgdea\[nifti\]'"
    ):
        read_slices(tmp_path / "v.nii")
