"""How good a model is: metrics (pure functions), tasks (zero-shot, retrieval, grounding), results and their comparison.

Importing a metric costs no torch; a task imports what it needs when it runs.
"""
