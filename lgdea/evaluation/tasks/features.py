"""Class separability of frozen image embeddings, their pictures, and how far burnt-in text moves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.errors import DataError
from lgdea.evaluation.config import FeaturesConfig
from lgdea.evaluation.encoders.protocol import ImageEncoder, as_image_encoder, model_name, notes_of
from lgdea.evaluation.metrics import frechet, separability
from lgdea.evaluation.metrics.classification import macro
from lgdea.evaluation.results.result import Result, Value
from lgdea.evaluation.tasks import common
from lgdea.evaluation.tasks.crossval import CrossValPredictions, cross_val_predict_classes, patient_folds
from lgdea.evaluation.tasks.features_values import Tables, definition_id, intervals, join, permuted
from lgdea.evaluation.tasks.overlay import marker_metrics
from lgdea.evaluation.tasks.projection import principal_components, umap_plane

if TYPE_CHECKING:
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


def features(
    model: ImageEncoder | LgdeaModel, archive: Archive, config: FeaturesConfig | None = None, **settings: Any
) -> Result:
    """Measure how far the classes lie apart in the embeddings of images with exactly one present class.

    The result's items are one row per image: ``image_id, study_id, patient_id, class, fold``; what the probes called it
    (``linear_class, knn_class``) and what that adds to the mean, ``linear_balanced_accuracy, knn_balanced_accuracy``;
    ``silhouette``; its places ``pca_1, pca_2, umap_1, umap_2``; and, for the images that got the markers,
    ``<marker>/shift`` and ``<marker>/changed``.

    Args:
        model: Anything that embeds images.
        archive: Has images and labels.
        config: Settings; the defaults otherwise.
        **settings: Fields of :class:`FeaturesConfig` laid over ``config``.

    Raises:
        DataError: Fewer than two classes have enough images, or embeddings are not finite.
        UsageError: The class list or labeller does not exist.
    """
    config = common.resolve(FeaturesConfig, config, settings)
    name, encoder = model_name(model), as_image_encoder(model)
    labels = common.labels_of(archive, config.labeller)
    wanted, notes = _single_class_images(archive, labels, config)
    source = common.image_source(archive, config)
    images, embeddings = common.embed_images(encoder, source, wanted, config.batch_size)
    vectors = embeddings.astype(np.float64)
    names, codes = _classes_left(images, archive, config)
    patients = images["patient_id"].to_numpy()
    folds = patient_folds(codes, patients, config.folds, config.seed)
    called = cross_val_predict_classes(vectors, codes, patients, folds, config)

    items = images[["image_id", "study_id", "patient_id", "class"]].assign(fold=folds)
    overall, per_class = _accuracies(items, called, codes, names, config)
    for part in (_geometry(items, vectors, codes, names, config), _frechet(items, vectors, codes, names, config)):
        overall |= part[0]
        join(per_class, part[1])
    if config.markers:
        moved = marker_metrics(encoder, source, items, vectors, codes, names, config)
        overall |= moved[0]
        join(per_class, moved[1])
    items, drawn = _pictures(items, vectors, config)
    return Result(
        task="features",
        definition="features-v1",
        model=name,
        archive=archive.name,
        split=config.split,
        metrics=overall,
        per_class=per_class,
        config={**config.model_dump(mode="json"), "labeller": str(labels["labeller"].iloc[0])},
        items=items,
        skipped=source.skipped,
        notes=[*notes_of(encoder), *notes, *called.notes, *drawn],
    )


def _single_class_images(
    archive: Archive, labels: pd.DataFrame, config: FeaturesConfig
) -> tuple[pd.DataFrame, list[str]]:
    """Images with exactly one present class and no unknown one, with their ``class``, and notes on the rest."""
    images = common.images_of(archive, config.split)
    classes = common.scored_classes(config.classes, labels)
    truth = common.label_matrix(labels, images, classes)
    truth = truth[:, labelled := ~np.isnan(truth).all(axis=0)]
    names = np.array([c.name for c in classes])[labelled]
    single = ((truth == 1).sum(axis=1) == 1) & ~np.isnan(truth).any(axis=1)
    chosen = images[single].assign(**{"class": names[truth[single].argmax(axis=1)] if single.any() else []})
    notes = [f"{int((~single).sum())} of {len(images)} images left out: not exactly one present class, or one unknown"]
    counts = chosen["class"].value_counts()
    few = counts[counts < config.min_images]
    if len(few):
        left_out = ", ".join(f"{name} ({n})" for name, n in few.items())
        notes.append(f"left out, fewer than {config.min_images} images: {left_out}")
    chosen = chosen[chosen["class"].isin(counts.index[counts >= config.min_images])].reset_index(drop=True)
    order = np.random.default_rng(config.seed).permutation(len(chosen))
    place = chosen.iloc[order].groupby("class").cumcount()
    many = place.reindex(chosen.index) >= config.max_images
    if many.any():
        notes.append(f"{int(many.sum())} images left out: more than {config.max_images} of their class, drawn")
    return chosen[~many].reset_index(drop=True), notes


def _classes_left(images: pd.DataFrame, archive: Archive, config: FeaturesConfig) -> tuple[list[str], Codes]:
    names = sorted(images["class"].unique())
    if len(names) < 2:
        raise DataError(
            f"{len(names)} classes have {config.min_images} readable images with nothing else in {config.split}; "
            "separability needs 2",
            file=archive.folder,
            remedy="choose another split, fewer classes, or lower min_images",
        )
    return names, np.array([names.index(c) for c in images["class"]], np.int64)


def _accuracies(
    items: pd.DataFrame, called: CrossValPredictions, codes: Codes, names: list[str], config: FeaturesConfig
) -> Tables:
    overall: dict[str, Value] = {}
    per_class: dict[str, dict[str, Value]] = {name: {} for name in names}
    counts = np.bincount(codes)
    for probe, guess in (("linear", called.linear), ("knn", called.knn)):
        key, right = f"{probe}_balanced_accuracy", (guess == codes).astype(np.float64)
        items[f"{probe}_class"] = np.array(names)[guess]
        items[key] = right * len(codes) / (len(names) * counts[codes])  # its mean is the balanced accuracy

        def statistic(weights: Floats, right: Floats = right) -> Floats:
            mass = np.stack([weights[:, codes == c].sum(axis=1) for c in range(len(names))], axis=1)
            hits = np.stack([weights[:, codes == c] @ right[codes == c] for c in range(len(names))], axis=1)
            recall = np.divide(hits, mass, out=np.full(hits.shape, np.nan), where=mass > 0)
            return np.concatenate([recall, macro(recall, axis=1)[:, None]], axis=1)

        found = intervals(statistic, items, config, [*names, key], [*map(int, counts), len(codes)], definition_id(key))
        overall[key] = found.pop(key)
        overall[f"{key}_chance"] = Value(1 / len(names), n=len(codes), definition="features/accuracy-chance-v1")
        for name in names:
            per_class[name][f"{probe}_recall"] = found[name]
    return overall, per_class


def _geometry(items: pd.DataFrame, vectors: Floats, codes: Codes, names: list[str], config: FeaturesConfig) -> Tables:
    """Silhouette, Fisher ratio and Davies-Bouldin index, each with its value for shuffled classes."""
    distances, products = separability.cosine_distances(vectors), separability.gram(vectors)
    once = np.ones((1, len(codes)))
    items["silhouette"] = separability.silhouette_samples(distances, codes, once)[0]

    def metrics(weights: Floats, codes: Codes = codes) -> Floats:
        return np.stack(
            [
                separability.weighted_silhouette(distances, codes, weights),
                separability.weighted_fisher_ratio(products, codes, weights),
                separability.weighted_davies_bouldin(products, codes, weights),
            ],
            axis=1,
        )

    keys = ["silhouette", "fisher_ratio", "davies_bouldin"]
    overall = intervals(metrics, items, config, keys, len(codes), *map(definition_id, keys), centred=True)
    overall |= permuted(keys, lambda shuffled: metrics(once, shuffled)[0], codes, config)

    def by_class(weights: Floats) -> Floats:
        samples = separability.silhouette_samples(distances, codes, weights)
        mine = [(np.nan_to_num(samples) * weights)[:, codes == c].sum(axis=1) for c in range(len(names))]
        mass = np.stack([weights[:, codes == c].sum(axis=1) for c in range(len(names))], axis=1)
        return np.divide(np.stack(mine, axis=1), mass, out=np.full(mass.shape, np.nan), where=mass > 0)

    counts = [int(n) for n in np.bincount(codes)]
    found = intervals(by_class, items, config, names, counts, definition_id("silhouette"), centred=True)
    return overall, {name: {"silhouette": found[name]} for name in names}


def _frechet(items: pd.DataFrame, vectors: Floats, codes: Codes, names: list[str], config: FeaturesConfig) -> Tables:
    """Frechet distances in a few principal components.

    Not in all dimensions with shrinkage: shrinkage grows as a class gets smaller, so classes of different sizes would
    differ by it alone. Components are those of all images together and know no class.
    """
    count = min(config.frechet_components, int(np.bincount(codes).min()) - 1)
    points, share = principal_components(vectors, count)
    pairs = [f"{names[i]} – {names[j]}" for i, j in frechet.class_pairs(len(names))]

    def metrics(weights: Floats, codes: Codes = codes) -> Floats:
        between, rest = frechet.weighted_frechet(points, codes, weights)
        means = np.stack([macro(between, axis=1), macro(rest, axis=1)], axis=1)
        return np.concatenate([means, rest, between], axis=1)

    sizes = [int(n) for n in np.bincount(codes)]
    both = [sizes[i] + sizes[j] for i, j in frechet.class_pairs(len(names))]
    keys = ["frechet_pair_macro", "frechet_rest_macro"]
    ids = [*keys, *names, *pairs]
    counts = [len(codes)] * (2 + len(names)) + both
    found = intervals(metrics, items, config, ids, counts, "features/frechet-v1", centred=True)
    overall = {key: found[key] for key in keys}
    once = np.ones((1, len(codes)))
    overall |= permuted(
        ["frechet_pair_macro", "frechet_rest_macro"], lambda shuffled: metrics(once, shuffled)[0, :2], codes, config
    )
    overall["frechet_variance"] = Value(share, n=len(codes), definition="features/frechet-variance-v1")
    per_class = {name: {"frechet_rest": found[name]} for name in names}
    return overall, per_class | {pair: {"frechet_pair": found[pair]} for pair in pairs}


def _pictures(items: pd.DataFrame, vectors: Floats, config: FeaturesConfig) -> tuple[pd.DataFrame, list[str]]:
    """The places of the images in the plane: PCA, and UMAP where it is wanted and there."""
    plane, share = principal_components(vectors, 2)
    items = items.assign(pca_1=plane[:, 0], pca_2=plane[:, 1])
    notes = [f"the PCA picture holds {share:.0%} of the variance"]
    if config.umap:
        found = umap_plane(vectors, config.seed)
        if found is None:
            notes.append("no UMAP picture: umap-learn is not installed (pip install 'lgdea[features]')")
        else:
            items = items.assign(umap_1=found[:, 0], umap_2=found[:, 1])
    return items, notes
