"""Uncertainty: bootstrap intervals by patient and paired tests, for evidence and for models alike."""
