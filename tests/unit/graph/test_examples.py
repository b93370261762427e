"""The examples in the docstrings of the graph and of the model's heads."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = (
    "graph.coverage",
    "graph.diffusion",
    "graph.hetero",
    "graph.links",
    "graph.neighbours",
    "models.retrieval_head",
)


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"lgdea.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
