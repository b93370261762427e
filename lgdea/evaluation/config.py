"""Settings of the evaluation tasks; ``configs/eval/*.yaml`` hold examples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from lgdea.comparison.references.choose import Strategy
from lgdea.config import Config, plain_text
from lgdea.evaluation.markers import MARKERS, Marker
from lgdea.evaluation.metrics.grounding import THRESHOLDS
from lgdea.imaging.boxes import LEVEL

EvaluatedSplit = Literal["train", "val", "test", "all"]


class EvaluationConfig(Config):
    """Settings that all tasks share."""

    split: EvaluatedSplit = "test"
    """Split whose items are scored; ``all`` takes every study."""
    batch_size: int = Field(64, ge=1)
    """Images given to the model at a time."""
    workers: int = Field(4, ge=1)
    """Threads that read images."""
    image_cache: Path | None = None
    """Folder of an image cache made with the model's own framing; images it lacks are read from their files."""
    bootstrap_replicates: int = Field(1000, ge=0)
    """Bootstrap replicates of the 95% percentile intervals; 0 for no intervals."""
    seed: int = 0
    """Seed of the bootstrap."""


class ZeroShotConfig(EvaluationConfig):
    """Settings of :func:`lgdea.evaluation.tasks.zero_shot`."""

    stage: ClassVar[str | None] = "eval zero-shot"

    classes: str | tuple[str, ...] = "labels"
    """Scored classes: ``labels``, every finding in the labels table; the list of a dataset (``nih14``, ``chexpert14``,
    ``openi14``, ``vindr``, ``phantom``); findings (``[pneumonia, mass]``); or a file with a finding in each line."""
    labeller: str | None = None
    """Name of the labeller whose labels are the truth; may be left out when there is only one."""
    threshold_split: EvaluatedSplit = "val"
    """Split on which the thresholds of F1 and MCC are chosen."""
    texts: Literal["auto", "phrase", "ensemble", "pair"] = "auto"
    """Texts that score a class: its canonical ``phrase``; the mean over the ``ensemble`` of its positive texts; the
    ensemble minus that of its negative texts (``pair``). ``auto`` is ``phrase`` for presence scoring, which is trained
    on canonical phrases, and ``pair`` for the others."""
    min_positive: int = Field(5, ge=1)
    """A class with fewer positive or fewer negative images is not scored."""
    single_label_classes: tuple[str, ...] | None = None
    """Class names that compete in single-label accuracy; all scored findings by default."""
    single_label_per_class: int = Field(200, ge=1)
    """Most images of a class in single-label accuracy."""


class RetrievalConfig(EvaluationConfig):
    """Settings of :func:`lgdea.evaluation.tasks.retrieval`."""

    stage: ClassVar[str | None] = "eval retrieval"

    recall_at: tuple[int, ...] = (1, 5, 10)
    """Ranks k of Recall@k."""
    evidence_at: tuple[int, ...] = (1, 5, 10)
    """Ranks k of evidence precision@k and nDCG@k."""
    laterality: bool = False
    """If true, evidence agrees only when its side does too; needs an evidence folder."""
    labeller: str | None = None
    """Name of the labeller whose labels grade without evidence; may be left out when there is only one."""


class GroundingConfig(EvaluationConfig):
    """Settings of :func:`lgdea.evaluation.tasks.grounding`."""

    stage: ClassVar[str | None] = "eval grounding"

    maps: Literal["own", "occlusion"] = "own"
    """Heat maps: the model's ``own``, or joined with what hiding each place takes from the phrase's score
    (``occlusion``; the model sees each image 65 times)."""
    thresholds: tuple[float, ...] = THRESHOLDS
    """Thresholds of the map, over which IoU is averaged (mIoU)."""
    pointing_tolerance_pixels: float = Field(0.0, ge=0)
    """Allowed distance from a box, in source pixels."""
    prior_splits: tuple[EvaluatedSplit, ...] = ("train", "val")
    """Splits on whose boxes the fixed places of the pointing priors are chosen; scored patients never count."""
    box_level: float = Field(LEVEL, ge=0, le=1)
    """Warmth of a box's region: 0 above the map's mean, 1 its peak (:func:`~lgdea.imaging.boxes.boxes_of_map`)."""
    box_min_area: float = Field(0.001, ge=0, le=1)
    """Smaller regions of the map get no box; share of what the model saw."""
    hit_thresholds: tuple[float, ...] = (0.1, 0.3, 0.5)
    """Thresholds of IoU and of IoBB, for hits and false boxes."""
    ap_thresholds: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    """Thresholds of IoU, for average precision."""


class ProbeConfig(EvaluationConfig):
    """Settings of :func:`lgdea.evaluation.tasks.probe`."""

    stage: ClassVar[str | None] = "eval probe"

    classes: str | tuple[str, ...] = "labels"
    """Scored classes: ``labels``, every finding in the labels table; the list of a dataset (``nih14``, ``chexpert14``,
    ``openi14``, ``vindr``, ``phantom``); findings (``[pneumonia, mass]``); or a file with a finding in each line."""
    labeller: str | None = None
    """Name of the labeller whose labels are the truth; may be left out when there is only one."""
    train_split: EvaluatedSplit = "train"
    """Split on which the probes are trained."""
    choose_split: EvaluatedSplit = "val"
    """Split on which the cost and the number of neighbours are chosen."""
    min_positive: int = Field(5, ge=1)
    """A class with fewer positive or fewer negative images in ``split`` is not scored."""
    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((0.01, 0.1, 1.0), min_length=1)
    """Shares of the training patients whose labels are used."""
    draws: int = Field(5, ge=1)
    """Random choices of the patients below 100%."""
    costs: tuple[Annotated[float, Field(gt=0)], ...] = Field((1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0), min_length=1)
    """Inverse penalties of the logistic regression to choose from."""
    neighbours: tuple[Annotated[int, Field(ge=1)], ...] = Field((5, 10, 20, 50), min_length=1)
    """Numbers of neighbours to choose from."""
    temperature: float = Field(0.07, gt=0)
    """Temperature of the neighbours' votes (Caron et al. 2021)."""


class FeaturesConfig(EvaluationConfig):
    """Settings of :func:`lgdea.evaluation.tasks.features`."""

    stage: ClassVar[str | None] = "eval features"

    classes: str | tuple[str, ...] = "labels"
    """Scored classes: ``labels``, every finding in the labels table; the list of a dataset (``nih14``, ``chexpert14``,
    ``openi14``, ``vindr``, ``phantom``); findings (``[pneumonia, mass]``); or a file with a finding in each line.
    Images with exactly one of them present, and all others absent, are used."""
    labeller: str | None = None
    """Name of the labeller whose labels are the truth; may be left out when there is only one."""
    min_images: int = Field(10, ge=2)
    """A class with fewer images is left out."""
    max_images: int = Field(300, ge=2)
    """Number of images drawn of a class with more; distances between all pairs are kept in memory."""
    folds: int = Field(5, ge=2)
    """Number of folds of the cross-validation by patient of the probes and the nearest class mean."""
    costs: tuple[Annotated[float, Field(gt=0)], ...] = Field((1e-4, 1e-3, 1e-2, 1e-1, 1.0), min_length=1)
    """Inverse penalties of the logistic regression to choose from, on a fifth of the training patients."""
    neighbours: int = Field(20, ge=1)
    """Number of neighbours that vote."""
    temperature: float = Field(0.07, gt=0)
    """Temperature of the neighbours' votes (Caron et al. 2021)."""
    frechet_components: int = Field(16, ge=1)
    """Principal components in which the classes' Gaussians are fitted; fewer where a class has fewer images."""
    permutations: int = Field(20, ge=1)
    """Shufflings of the classes whose mean is the chance level of the geometric metrics."""
    markers: tuple[Marker, ...] = MARKERS
    """Texts burnt into the images; none for no such test."""
    marked_images: int = Field(200, ge=1)
    """Number of images that get every marker, drawn when there are more."""
    umap: bool = True
    """If true, a UMAP is drawn too, where umap-learn is installed."""


class ChangeConfig(EvaluationConfig):
    """Settings of :func:`lgdea.evaluation.tasks.change`."""

    stage: ClassVar[str | None] = "eval change"

    pairs: Literal["dates", "listed"] = "dates"
    """Choice of pairs: of each study and a prior by ``dates``, or those ``listed`` by the archive's source."""
    prefer: Literal["same-view", "latest"] = "same-view"
    """Choice of the prior by date: the latest study of the ``same-view`` where there is one, or the ``latest``."""
    max_days: float | None = Field(None, gt=0)
    """Most days between a study and its prior; null for no limit."""
    truth: Literal["auto", "listed", "image", "evidence"] = "auto"
    """Source of the true states: those ``listed`` by the archive's source, of the phantom's ``image`` contents, or of
    the reports' ``evidence``; ``auto``: the first that there is."""
    findings: tuple[str, ...] | None = None
    """Vocabulary ids of the scored findings; null for all that have a true state."""
    states: Literal[5, 3] = 5
    """Number of states told apart; with 3, new counts as worse and resolved as better."""
    min_items: int = Field(5, ge=1)
    """A state of a finding with fewer items does not count in that finding's value; with fewer than two such states a
    finding has none of its own."""
    baseline_split: EvaluatedSplit = "val"
    """Split on which the thresholds of the difference of zero-shot scores are chosen."""


class EntityRetrievalConfig(EvaluationConfig):
    """Settings of :func:`lgdea.evaluation.tasks.entity_retrieval`."""

    stage: ClassVar[str | None] = "eval entity-retrieval"

    entities: tuple[str, ...] = ()
    """Entities to ask for, as text; by default all findings (with their sides), devices and structures that the
    evidence speaks of."""
    least_images: int = Field(5, ge=2)
    """Entities that fewer images show are not asked for."""
    recall_at: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 3, 5), min_length=1)
    """Ranks k of Recall@k."""
    ndcg_at: int = Field(5, ge=1)
    """Rank k of nDCG@k."""
    positive_grade: float = Field(0.75, gt=0, le=1)
    """Least graded agreement of a right answer of Recall@k."""
    same_modality: bool = True
    """If true, candidates are of the query's modality, where the archive has several."""


class ReferencesConfig(EvaluationConfig):
    """Settings of :func:`lgdea.evaluation.tasks.references`."""

    stage: ClassVar[str | None] = "eval references"

    classes: str | tuple[str, ...] = "labels"
    """Scored classes: ``labels``, every finding in the labels table; the list of a dataset (``nih14``, ``chexpert14``,
    ``openi14``, ``vindr``, ``phantom``); findings (``[pneumonia, mass]``); or a file with a finding in each line."""
    labeller: str | None = None
    """Name of the labeller whose labels are the truth; may be left out when there is only one."""
    strategies: tuple[Strategy, ...] | None = Field(None, min_length=1)
    """Ways in which references are chosen; null for all that the archive allows."""
    counts: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 5, 10, 20, 30), min_length=1)
    """Numbers K of references."""
    pool_split: EvaluatedSplit = "train"
    """Split whose healthy images are references; the query's own patient never is."""
    threshold_split: EvaluatedSplit = "val"
    """Split on which thresholds are chosen and relative scores are calibrated."""
    site: str | None = None
    """Site of the scored images; null for all."""
    threshold_site: str | None = None
    """Site of the images on which thresholds are chosen; null for all. Another than ``site`` gives the cross-site
    setting."""
    min_positive: int = Field(5, ge=1)
    """A class with fewer positive or fewer negative images, scored or of ``threshold_split``, is left out."""
    standardise: bool = False
    """If true, every image is scored with its display standardised by its references, and by itself: once more for each
    strategy and number."""
    attribution: int = Field(0, ge=0)
    """Number of findings with boxes, drawn at random, whose queries are scored with each cell hidden; 0 for none."""
    grid: int = Field(8, ge=2)
    """Cells along each side of a query in attribution."""


def list_settings() -> list[tuple[str, str, Any, str]]:
    """List the settings of every task.

    Returns:
        Rows of task (``all`` for what they share), setting, default and description.

    Example:
        >>> ("all", "seed", 0, "Seed of the bootstrap.") in list_settings()
        True
    """
    shared = EvaluationConfig.model_fields
    rows = [("all", name, field) for name, field in shared.items()]
    for task, config in TASK_CONFIGS.items():
        rows += [(task, name, field) for name, field in config.model_fields.items() if name not in shared]
    return [(task, name, field.default, plain_text(field.description or "")) for task, name, field in rows]


TASK_CONFIGS: dict[str, type[EvaluationConfig]] = {
    "zero-shot": ZeroShotConfig,
    "retrieval": RetrievalConfig,
    "grounding": GroundingConfig,
    "probe": ProbeConfig,
    "features": FeaturesConfig,
    "change": ChangeConfig,
    "entity-retrieval": EntityRetrievalConfig,
    "references": ReferencesConfig,
}
"""Settings of each task of ``lgdea eval``."""
