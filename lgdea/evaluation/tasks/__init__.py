"""Evaluation tasks: ``task(model, archive, config) -> Result``."""

from __future__ import annotations

from lgdea.evaluation.tasks.change import change
from lgdea.evaluation.tasks.entity_retrieval import entity_retrieval
from lgdea.evaluation.tasks.features import features
from lgdea.evaluation.tasks.grounding import grounding
from lgdea.evaluation.tasks.probe import probe
from lgdea.evaluation.tasks.references import references
from lgdea.evaluation.tasks.retrieval import retrieval
from lgdea.evaluation.tasks.zero_shot import zero_shot

__all__ = ["change", "entity_retrieval", "features", "grounding", "probe", "references", "retrieval", "zero_shot"]
