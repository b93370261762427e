"""Healthy references: a query is read beside images of healthy people."""
