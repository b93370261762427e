"""Joining buttons to functions: a mistake becomes one line in the page, and the answer of the last request goes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from lgdea.app.bench import Bench
from lgdea.app.fragments import alert, problem_line
from lgdea.errors import LgdeaError, first_line

_log = logging.getLogger(__name__)


def answering(
    bench: Bench, work: Callable[..., Sequence[Any]], empty: Sequence[Any], *, alone: bool = True
) -> Callable[..., tuple[Any, ...]]:
    """A function for a button: the line of what went wrong first, then what ``work`` gives.

    Args:
        bench: Held while ``work`` runs.
        work: Gives a value for every output but the first, or raises.
        empty: The values of these outputs when it raises: an old answer beside a new question would mislead.
        alone: False for work that needs no model, such as asking a server, so that others need not wait for it.
    """

    def answer(*given: Any) -> tuple[Any, ...]:
        try:
            with bench.working(alone=alone):
                return "", *work(*given)
        except LgdeaError as error:
            line = problem_line(error)
        except MemoryError:
            line = "this needs more memory than the machine has; try a smaller image or fewer cases"
        except Exception as error:  # whatever it is, the page says so in a line, and the log says where
            _log.debug("a request failed", exc_info=True)
            line = f"unexpected {type(error).__name__}: {first_line(error)}; start `lgdea --debug app` to see where"
        return alert(line), *empty

    # Gradio shows the parameters of a function in its description of the page; these have no names of their own.
    answer.__name__ = getattr(work, "__name__", "answer")
    return answer


def picture(label: str) -> gr.Image:
    """A picture that is shown as it was drawn, without loss, and offered to nobody.

    Args:
        label: Its name.
    """
    return gr.Image(
        label=label, format="png", type="pil", interactive=False, buttons=["download", "fullscreen"], alt_text=label
    )
