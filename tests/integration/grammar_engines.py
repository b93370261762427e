"""Run by vLLM's Python: which JSON texts two grammar engines let a model write under each schema.

Reads ``[{"schema": ..., "answers": [...]}, ...]`` on stdin; writes, per engine, a list of booleans per schema.
An answer is compact JSON; xgrammar, which writes a blank after commas and colons, gets it in its own form.
"""

from __future__ import annotations

import json
import re
import sys

import xgrammar
from llguidance import LLMatcher, LLTokenizer

BYTES = [bytes([value]) for value in range(256)]


def _xgrammar(schema: dict, answers: list[str]) -> list[bool]:
    tokens = xgrammar.TokenizerInfo(
        [*BYTES, b"<eos>"], vocab_type=xgrammar.VocabType.RAW, vocab_size=257, stop_token_ids=[256]
    )
    grammar = xgrammar.GrammarCompiler(tokens).compile_json_schema(json.dumps(schema), any_whitespace=False)
    return [_ends(xgrammar.GrammarMatcher(grammar), answer) for answer in answers]


def _ends(matcher: xgrammar.GrammarMatcher, answer: str) -> bool:
    spaced = re.sub(r'(?<=["}\]e])([,:])(?=["{\[tf])', r"\1 ", answer)
    return matcher.accept_string(spaced.encode()) and matcher.accept_token(256)


def _llguidance(schema: dict, answers: list[str]) -> list[bool]:
    tokens = LLTokenizer("byte")
    grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), {"whitespace_flexible": False})
    problem = LLMatcher.validate_grammar(grammar, tokens)
    if problem:
        raise ValueError(problem)
    found = []
    for answer in answers:
        matcher = LLMatcher(tokens, grammar)
        ids = list(answer.encode())
        found.append(matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting())
    return found


if __name__ == "__main__":
    cases = json.load(sys.stdin)
    engines = {"xgrammar": _xgrammar, "llguidance": _llguidance}
    print(json.dumps({name: [run(c["schema"], c["answers"]) for c in cases] for name, run in engines.items()}))
