"""Models that bring Python files along: transformers asks whether to run them, lgdea never does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lgdea.errors import UsageError


@contextmanager
def never_run(name: str | Path) -> Iterator[None]:
    """Load ``name`` inside this block; a model that cannot do without its own Python files is refused.

    It also covers what other packages load through transformers, such as open_clip's text towers: transformers asks
    nobody when it may wait no time for the answer.

    Raises:
        UsageError: The model needs its own code.
    """
    from transformers import dynamic_module_utils

    patience = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise UsageError(
            f"{name} needs Python code of its own, which lgdea never runs",
            remedy="choose a model of a kind that transformers knows",
        ) from None
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = patience
