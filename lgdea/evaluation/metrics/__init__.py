"""Metrics as pure functions of NumPy arrays, with ids in :mod:`lgdea.evaluation.results.definitions`."""
