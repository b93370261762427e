"""Findings, anatomy, laterality, severity and change: one table for label mapping, extraction and class texts."""

from __future__ import annotations

from lgdea.vocabulary.tables import Anatomy, Finding, ScoredClass, Vocabulary, load_vocabulary, using_vocabulary

__all__ = ["Anatomy", "Finding", "ScoredClass", "Vocabulary", "load_vocabulary", "using_vocabulary"]
