"""Losses of image-text pretraining as pure functions of tensors, for your own training loop.

Between embeddings, evidence histograms and presence logits; none of them communicates between processes: gather first
(:func:`gather`), then compute.
"""

from lgdea.objectives.average_precision import smooth_average_precision
from lgdea.objectives.baselines import caption_pseudo_label, keyword_pseudo_label, transport
from lgdea.objectives.contrastive import (
    evidence_contrastive,
    histogram_info_nce,
    info_nce,
    similarity_targets,
    soft_contrastive,
    soft_cross_entropy,
)
from lgdea.objectives.gather import gather
from lgdea.objectives.histograms import consistency, histogram_similarity, kl, report_histogram
from lgdea.objectives.presence import phrase_ranking, presence_loss, presence_targets
from lgdea.objectives.prototypes import histogram_information, reconstruction, usage_entropy

__all__ = [
    "caption_pseudo_label",
    "consistency",
    "evidence_contrastive",
    "gather",
    "histogram_info_nce",
    "histogram_information",
    "histogram_similarity",
    "info_nce",
    "keyword_pseudo_label",
    "kl",
    "phrase_ranking",
    "presence_loss",
    "presence_targets",
    "reconstruction",
    "report_histogram",
    "similarity_targets",
    "smooth_average_precision",
    "soft_contrastive",
    "soft_cross_entropy",
    "transport",
    "usage_entropy",
]
