"""Evaluation of models: metrics (pure functions), tasks, results and their comparison.

Importing a metric costs no torch; a task imports what it needs when it runs.
"""
