"""Benchmark suites: fixed tasks on fixed items, so that two results mean the same."""
