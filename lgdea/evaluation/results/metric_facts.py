"""Facts about metrics: their written names, chance levels and direction, and the headline metrics of a task."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from lgdea.evaluation.results.result import Value

HEADLINE = {
    "zero-shot": ("auroc_macro", "auprc_macro", "mcc_macro"),
    "retrieval": ("evidence_precision@10", "evidence_ndcg@10", "/recall@10"),
    "grounding": ("pointing_macro", "cnr_macro", "miou_macro"),
    "probe": ("linear@100%/auroc_macro", "linear@10%/auroc_macro", "linear@1%/auroc_macro"),
    "change": ("balanced_accuracy", "balanced_accuracy_macro", "swap_flipped"),
    "references": ("single/balanced_accuracy_macro", "@10/balanced_accuracy_macro", "@10/balanced_accuracy_gain"),
    "features": ("linear_balanced_accuracy", "silhouette", "overlay_shift"),
    "answers": ("accuracy", "set_accuracy", "evidence_f1/together"),
    "entity-retrieval": ("conditioned/recall@1", "reranked/recall@1", "conditioned/ndcg@5"),
}
"""Metrics in the first table, by task: for each of these the first metric whose name ends with it."""

CHANCE = {"auroc": 0.5, "mcc": 0.0, "balanced_accuracy": 0.5}
"""Chance level of metrics, where that does not depend on the data; not CNR, an absolute contrast, which is above 0
for a random map too."""

LOWER_IS_BETTER = ("median_rank", "davies_bouldin", "overlay_shift", "overlay_changed", "iou_false", "iobb_false")
NO_SCORE = ("threshold", "frechet_variance", "p_value")
"""Facts among the metrics that are no score."""


def metric_name(metric: str) -> str:
    """A metric's id as people write it: ``auroc_macro`` -> ``macro AUROC``."""
    stem, _, average = metric.rpartition("_")
    text = f"{average}_{stem}" if average in ("macro", "micro") else metric
    text = text.replace("image_to_report", "image→report").replace("report_to_image", "report→image")
    words = [_WRITTEN.get(word.lower(), word) for word in re.split(r"[_/ ]+", text)]
    return " ".join(words) + (", lower is better" if any(word in metric for word in LOWER_IS_BETTER) else "")


def chance_metric(metric: str) -> str:
    """The metric that holds the chance level of ``metric``, as the evaluation tasks name it.

    For the pointing game it is the best fixed place, for evidence found the best fixed list: a random pixel or order
    knows less than one who never saw the image.

    >>> chance_metric("image_to_report/recall@10"), chance_metric("pointing_macro")
    ('image_to_report/recall_chance@10', 'pointing_prior_macro')
    """
    if metric == "single_label_accuracy":
        return "single_label_chance"
    bare = metric.rpartition("/")[2]
    if bare.startswith("auprc"):  # whatever the probe, as `linear@10%/auprc`
        return bare.replace("auprc", "prevalence", 1)
    stem, end = re.fullmatch(r"(.*?)(@\d+|_macro|_micro|)", metric).groups()  # type: ignore[union-attr]
    fixed = stem == "pointing" or stem.rpartition("/")[2].startswith("evidence_")
    return f"{stem}_prior{end}" if fixed else f"{stem}_chance{end}"


_MOST = 12
_GROUNDING = (
    *("pointing_macro", "pointing_chance_macro", "pointing_prior_macro", "pointing_class_prior_macro"),
    *("cnr_macro", "miou_macro", "iou_hit@0.3_macro", "ap@0.5_macro"),
)


def main_metrics(task: str, metrics: Sequence[str]) -> list[str]:
    """The metrics of a result that a summary shows: all of a few, else the headline ones with their chance levels.

    Args:
        task: Name of the task.
        metrics: Those of the result.

    Example:
        >>> many = [f"{way}/recall{kind}@{k}" for way in "ab" for kind in ("", "_chance") for k in (1, 5, 10, 50)]
        >>> main_metrics("retrieval", many)
        ['a/recall@10', 'a/recall_chance@10', 'b/recall@10', 'b/recall_chance@10']
    """
    if len(metrics) <= _MOST:
        return list(metrics)
    if task == "grounding":
        return [name for name in _GROUNDING if name in metrics]
    if task == "references":
        return _of_references(metrics) or list(metrics)
    if task == "entity-retrieval":
        return _of_entity_retrieval(metrics) or list(metrics)
    found: dict[str, None] = {}
    for end in HEADLINE.get(task, ()):
        for name in metrics:
            if name.endswith(end):
                found |= {known: None for known in (name, chance_metric(name)) if known in metrics}
    return list(found) or list(metrics)


def _of_references(metrics: Sequence[str]) -> list[str]:
    """Balanced accuracy and AUROC of the query alone and beside the most references of each kind, and what is gained.

    Example:
        >>> methods = ["single", "z/random@1", "z/random@20", "ratio/random@1", "ratio/random@20"]
        >>> names = [f"{m}/{end}" for m in methods for end in ("balanced_accuracy_macro", "f1_macro", "auroc_macro")]
        >>> main_metrics("references", names)[2:4]
        ['z/random@20/balanced_accuracy_macro', 'z/random@20/auroc_macro']
    """
    largest: dict[str, int] = {}
    methods = list(
        dict.fromkeys(name.rpartition("/")[0] for name in metrics if name.endswith("/balanced_accuracy_macro"))
    )
    for method in methods:
        stem, _, count = method.rpartition("@")
        if count.isdigit():
            largest[stem] = max(largest.get(stem, 0), int(count))
    shown = [m for m in methods if "@" not in m or m == f"{(stem := m.rpartition('@')[0])}@{largest.get(stem)}"]
    ends = ("balanced_accuracy_macro", "balanced_accuracy_gain", "auroc_macro")
    return [name for m in shown for end in ends if (name := f"{m}/{end}") in metrics]


def _of_entity_retrieval(metrics: Sequence[str]) -> list[str]:
    """The first recall and nDCG of every way of ranking, then their chance levels, which all ways share."""
    ways = [name.rpartition("/") for name in metrics]
    counts = sorted(int(m[7:]) for _, _, m in ways if re.fullmatch(r"recall@\d+", m))
    ends = (f"recall@{counts[0]}" if counts else "", "ndcg@")
    found = [name for name, (way, _, m) in zip(metrics, ways, strict=True) if m.startswith(ends[1]) or m == ends[0]]
    found = [name for name in found if "-" not in name]  # differences of two ways
    chance = [level for name in found if (level := chance_metric(name)) in metrics]
    return [*found, *chance[:2]]


_WRITTEN = {"auroc": "AUROC", "auprc": "AUPRC", "mcc": "MCC", "f1": "F1", "cnr": "CNR", "miou": "mIoU"}
_WRITTEN |= {"pointing": "pointing game", "bleu": "BLEU", "meteor": "METEOR"}
_WRITTEN |= {f"rouge{kind.lower()}": f"ROUGE-{kind}" for kind in ("1", "2", "L")}
_WRITTEN |= {f"ndcg@{k}": f"nDCG@{k}" for k in (1, 5, 10, 50, 100)}


def reference_name(metric: str) -> str:
    """Name the level that a metric is drawn beside: ``prior``, ``prevalence`` or ``chance``.

    Args:
        metric: The metric's name, as the task writes it.

    Example:
        >>> [reference_name(name) for name in ("auroc_macro", "pointing_macro", "auprc_macro")]
        ['chance', 'prior', 'prevalence']
    """
    level = chance_metric(metric)
    return next((name for name in ("prior", "prevalence") if name in level), "chance")


def score_names(found: Sequence[Mapping[str, Value]]) -> list[str]:
    """Metric names in order, without those that are the one chance level of another one or no score."""
    names = list(dict.fromkeys(name for metrics in found for name in metrics))
    # A chance level that is not the same for all models, as that of a distance in their own space, has its own row.
    chances = {chance_metric(name) for name in names if len(_distinct_chances(name, found)) == 1}
    chances |= {level.replace("_prior", "_chance") for level in chances}  # who knows less than the chance level
    return [name for name in names if name not in chances and name not in NO_SCORE]


def chance_level(metric: str, found: Sequence[Mapping[str, Value]]) -> float | None:
    """Chance level of ``metric`` in the metrics of some models; None where it has none, or theirs differ.

    Args:
        metric: A metric's name, as the task writes it.
        found: Metrics of each model, of one class or over all classes.
    """
    levels = _distinct_chances(metric, found)
    if levels:
        return levels[0] if len(levels) == 1 else None
    return CHANCE.get(re.sub(r".*/|_(macro|micro)$", "", metric))


def _distinct_chances(metric: str, found: Sequence[Mapping[str, Value]]) -> list[float]:
    """The different chance levels that the models' results hold for a metric."""
    levels = [m[chance_metric(metric)].value for m in found if is_defined(m.get(chance_metric(metric)))]
    return [level for i, level in enumerate(levels) if not any(math.isclose(level, other) for other in levels[:i])]


def is_defined(value: Value | None) -> bool:
    """True when there is a value and it is finite."""
    return value is not None and math.isfinite(value.value)


def headline_metrics(task: str, metrics: Iterable[str]) -> list[str]:
    """The few metrics that stand for a task, of :data:`HEADLINE`; the first two of an unknown task."""
    names = list(metrics)
    matches = [next((name for name in names if name.endswith(end)), None) for end in HEADLINE.get(task, ())]
    return [name for name in matches if name is not None] or names[:2]
