"""Interval change: a study beside its prior, per entity new, worse, stable, better or resolved."""
