"""Alignment of quotes with the raw report."""
