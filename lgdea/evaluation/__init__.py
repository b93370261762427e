"""Metrics (pure functions) and tasks: zero-shot, retrieval, grounding."""
