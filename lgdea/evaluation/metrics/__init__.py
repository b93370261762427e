"""Metrics as pure functions of NumPy arrays; each has a definition id in :mod:`lgdea.evaluation.definitions`."""
