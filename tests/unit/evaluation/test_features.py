import builtins

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import balanced_accuracy_score, davies_bouldin_score, silhouette_score

from lgdea.errors import DataError
from lgdea.evaluation.results.compare import compare_results
from lgdea.evaluation.results.definitions import DEFINITIONS
from lgdea.evaluation.results.result import write_result
from lgdea.evaluation.tasks import features
from lgdea.evaluation.tasks.projection import principal_components, umap_plane
from tests.helpers.mini_archive import FINDINGS, number_of, truth_of

FAST = {"bootstrap_replicates": 30, "umap": False, "marked_images": 12, "frechet_components": 4, "permutations": 5}
FAST |= {"split": "all", "costs": (0.01, 1.0)}


class Noisy:
    """Embeds an image as what is present in it, with noise that is always the same for an image."""

    name = "noisy"

    def __init__(self, noise=0.2, signal=1.0, burnt=0.0):
        self.noise, self.signal, self.burnt = noise, signal, burnt

    def encode_images(self, images):
        return np.stack([self.embed(image) for image in images])

    def embed(self, image):
        number = number_of(image)
        vector = np.random.default_rng(number).normal(size=10) * self.noise
        vector[:3] += [self.signal * (f in truth_of(number)) for f in FINDINGS]
        vector[0] += self.burnt * (np.asarray(image)[1:] > 0.41).any()
        return vector


def test_separable_classes_are_separated(mini):
    result = features(Noisy(noise=0.01), mini, **FAST)
    for metric in ("linear_balanced_accuracy", "knn_balanced_accuracy"):
        value = result.metrics[metric]
        assert (value.value, value.low, value.high) == pytest.approx((1, 1, 1))
        assert result.metrics[f"{metric}_chance"].value == pytest.approx(1 / 3)
    assert result.metrics["silhouette"].value > 0.95
    assert result.metrics["fisher_ratio"].value > 100 * result.metrics["fisher_ratio_chance"].value
    assert result.metrics["davies_bouldin"].value < 0.1 < result.metrics["davies_bouldin_chance"].value
    assert result.metrics["frechet_pair_macro"].value > 5 * result.metrics["frechet_pair_chance_macro"].value
    assert result.metrics["overlay_shift"].value == 0 == result.metrics["overlay_changed"].value
    assert set(result.per_class) >= set(FINDINGS)


def test_noise_has_no_classes(mini):
    found = features(Noisy(signal=0.0), mini, **FAST).metrics
    assert found["linear_balanced_accuracy"].low < 1 / 3 < found["linear_balanced_accuracy"].high
    assert found["silhouette"].value == pytest.approx(found["silhouette_chance"].value, abs=0.03)
    assert found["fisher_ratio"].low < found["fisher_ratio_chance"].value < found["fisher_ratio"].high
    assert 0.3 < found["frechet_pair_macro"].value / found["frechet_pair_chance_macro"].value < 2


def test_values_lie_within_their_intervals_and_follow_from_the_items(mini):
    result = features(Noisy(noise=0.6), mini, **FAST)
    items, metrics = result.items, result.metrics
    for key, value in metrics.items():
        if not np.isnan(value.low):
            assert value.low <= value.value <= value.high, key
    vectors = Noisy(noise=0.6).encode_images([numbered(i) for i in items["image_id"]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    classes = items["class"].to_numpy()
    assert metrics["silhouette"].value == pytest.approx(silhouette_score(vectors, classes, metric="cosine"), abs=1e-5)
    assert metrics["silhouette"].value == pytest.approx(items["silhouette"].mean())
    assert metrics["davies_bouldin"].value == pytest.approx(davies_bouldin_score(vectors, classes), abs=1e-4)
    for probe in ("linear", "knn"):
        expected = balanced_accuracy_score(classes, items[f"{probe}_class"])
        assert metrics[f"{probe}_balanced_accuracy"].value == pytest.approx(expected)
        assert items[f"{probe}_balanced_accuracy"].mean() == pytest.approx(expected)
    assert 1 / 3 < expected < 1


def numbered(image_id):
    image = np.full((20, 24), 0.4, np.float32)
    image[0, :2] = np.array(divmod(int(image_id.split(":")[1].split("-")[0]), 256)) / 255
    return image


def test_images_have_exactly_one_class_and_patients_one_fold(mini):
    result = features(Noisy(), mini, **FAST)
    assert all(len(truth_of(int(i.split(":")[1].split("-")[0]))) == 1 for i in result.items["image_id"])
    single = sum(len(truth_of(i)) == 1 for i in range(90))
    assert len(result.items) == single
    assert result.notes[0].startswith(f"{90 - single} of 90 images left out")
    assert (result.items.groupby("patient_id")["fold"].nunique() == 1).all()
    few = features(Noisy(), mini, **FAST, max_images=5, min_images=5)
    assert (few.items["class"].value_counts() == 5).all()
    assert any("more than 5 of their class" in note for note in few.notes)


def test_burnt_in_text_is_measured_against_the_distance_of_the_classes(mini):
    little, much = (features(Noisy(noise=0.05, burnt=b), mini, **FAST) for b in (0.1, 20.0))
    assert 0 < little.metrics["overlay_shift"].value < 0.2
    assert little.metrics["overlay_changed"].value == 0
    # Two of three classes move all the way to the third; the longer texts are too faint in pictures this small.
    assert 0.5 < much.metrics["L/overlay_shift"].value < 1
    assert much.metrics["overlay_changed"].value > 0.2
    marked = much.items["L/shift"].notna()
    assert marked.sum() == 12 == much.metrics["L/overlay_shift"].n
    changed = much.items.loc[marked, [c for c in much.items if c.endswith("/changed")]]
    assert much.metrics["overlay_changed"].value == pytest.approx(changed.to_numpy(float).mean())
    none = features(Noisy(), mini, **FAST, markers=())
    assert not [m for m in none.metrics if "overlay" in m]


def test_the_same_seed_gives_the_same_result(mini):
    a, b = (features(Noisy(), mini, **FAST) for _ in range(2))
    assert a.to_dict() == b.to_dict()
    assert a.items.equals(b.items)
    assert {value.definition for value in a.metrics.values()} <= set(DEFINITIONS)
    assert {v.definition for values in a.per_class.values() for v in values.values()} <= set(DEFINITIONS)


def test_an_encoder_that_gives_one_vector_is_no_error(mini):
    class Constant:
        def encode_images(self, images):
            return np.ones((len(images), 4))

    found = features(Constant(), mini, **FAST).metrics
    assert found["linear_balanced_accuracy"].value == pytest.approx(1 / 3)
    assert found["silhouette"].value == 0
    assert np.isnan([found["fisher_ratio"].value, found["davies_bouldin"].value, found["overlay_shift"].value]).all()


def test_too_few_classes_are_one_clear_error(mini):
    with pytest.raises(DataError, match="0 classes have 99 readable images"):
        features(Noisy(), mini, **FAST, min_images=99)
    with pytest.raises(DataError, match="1 classes have"):
        features(Noisy(), mini, **FAST, classes=("cardiomegaly",))


def test_two_encoders_side_by_side_are_tested(mini, tmp_path):
    for name, model in (("a", Noisy(noise=2.0)), ("b", Noisy(noise=0.1))):
        write_result(features(model, mini, **FAST), tmp_path / name)
    (table,) = compare_results({n: tmp_path / n for n in "ab"}, replicates=100)
    assert table.tests["knn_balanced_accuracy"]["b"].p_value < 0.05
    assert table.tests["silhouette"]["b"].p_value < 0.05
    assert table.tests["silhouette"]["b"].difference == pytest.approx(
        table.metrics["silhouette"]["b"].value - table.metrics["silhouette"]["a"].value
    )


def test_principal_components_are_sklearns():
    x = np.random.default_rng(0).normal(size=(30, 8)) * np.arange(1, 9)
    places, share = principal_components(x, 3)
    reference = PCA(3).fit(x)
    scale = np.sqrt(x.var(axis=0, ddof=1).sum())
    np.testing.assert_allclose(np.abs(places), np.abs(reference.transform(x)) / scale, atol=1e-9)
    assert share == pytest.approx(reference.explained_variance_ratio_.sum())
    places, share = principal_components(np.ones((4, 3)), 2)
    assert (places == 0).all()
    assert np.isnan(share)
    assert principal_components(x[:3], 9)[0].shape == (3, 9)


@pytest.mark.slow  # compiles for half a minute where nothing is cached
def test_umap_repeats_with_its_seed():
    pytest.importorskip("umap")
    x = np.random.default_rng(0).normal(size=(24, 5))
    a, b = umap_plane(x, 0), umap_plane(x, 0)
    np.testing.assert_array_equal(a, b)
    assert a.shape == (24, 2)
    assert np.isfinite(a).all()
    assert umap_plane(x[:2], 0).shape == (2, 2)


def test_without_umap_there_is_a_note(mini, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "umap":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    result = features(Noisy(), mini, **FAST | {"umap": True})
    assert "umap_1" not in result.items
    assert "pca_1" in result.items
    assert any("umap-learn is not installed" in note for note in result.notes)
