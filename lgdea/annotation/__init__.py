"""Annotation quality: gold standards, scores with intervals, agreement of runs, review and corrections."""
