"""Extraction backends: the rule engine, language models, recorded responses."""
