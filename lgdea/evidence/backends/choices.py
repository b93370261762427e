"""Answers that are one of a few choices: their schema, and their probabilities by the first token.

A server that knows choices answers ``yes``; any other with structured output answers ``{"answer": "yes"}``. Either way
the token in which the answer begins tells how probable each choice was, without a further request.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

TOP_TOKENS = 20
"""Most tokens whose log-probabilities OpenAI's interface gives at one place."""

Token = tuple[str, Mapping[str, float]]
"""A token of an answer, and the log-probabilities of the most probable tokens at its place, itself included."""

_BEGIN = re.compile(r'\s*(?:\{\s*"answer"\s*:\s*"|")?\s*')


def choice_schema(choices: Sequence[str]) -> dict[str, Any]:
    """JSON schema of an object whose ``answer`` is one of the choices.

    Args:
        choices: The answers.
    """
    return {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": list(choices)}},
        "required": ["answer"],
        "additionalProperties": False,
    }


def read_choice(text: str, choices: Sequence[str]) -> str | None:
    """The choice that an answer is, None where it is none of them.

    >>> read_choice('{"answer": "yes"}', ["yes", "no"]), read_choice(" No.", ["yes", "no"])
    ('yes', 'no')

    Args:
        text: The answer: a choice, or an object whose ``answer`` is one.
        choices: The answers.
    """
    try:
        content = json.loads(text)
    except ValueError:
        content = text
    answer = content.get("answer") if isinstance(content, dict) else content
    word = str(answer).strip().rstrip(".").casefold()
    return next((choice for choice in choices if choice.casefold() == word), None)


def choice_logprobs(tokens: Sequence[Token], choices: Sequence[str]) -> dict[str, float] | None:
    """Log-probability of each choice by the token in which the answer begins.

    Tokens that begin the same choice (``yes``, ``Y``, `` yes``) are added up. A choice whose tokens are not among the
    listed ones is given the least of these, which is the most that it can have.

    >>> choice_logprobs([("yes", {"yes": -0.1, "no": -2.5, "it": -4.0})], ["yes", "no"])
    {'yes': -0.1, 'no': -2.5}

    Args:
        tokens: The tokens of an answer, in order.
        choices: The answers; no two begin with the same letter.

    Returns:
        None where no token begins any of the choices.
    """
    text = "".join(token for token, _ in tokens)
    start = _BEGIN.match(text).end()  # type: ignore[union-attr]  # it matches the empty text
    ends = list(accumulate(len(token) for token, _ in tokens))
    place = next((n for n, end in enumerate(ends) if start < end), None)
    if place is None:
        return None
    token, alternatives = tokens[place]
    before = token[: start - (ends[place] - len(token))]
    found: dict[str, list[float]] = {choice: [] for choice in choices}
    for other, logprob in alternatives.items():
        if not other.startswith(before):
            continue
        word = other[len(before) :].strip().casefold()
        for choice in choices:
            known = choice.casefold()
            if word and (known.startswith(word) or word.startswith(known)):
                found[choice].append(logprob)
    if not any(found.values()):
        return None
    least = min(alternatives.values())
    return {choice: _log_sum(values) if values else least for choice, values in found.items()}


def _log_sum(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values)) if len(values) > 1 else top
