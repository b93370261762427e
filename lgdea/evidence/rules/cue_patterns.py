"""Small pattern language for cue phrases: ``not ~* <seen>`` instead of a list of all the variants.

A pattern is a row of items, each of them optional with ``?`` or repeated with ``*``:

========== =====================================================================================================
``word``   this lemma
``<name>`` a member of a word class, which may have several words
``~``      any one word that opens no phrase of its own: no finding, structure, conjunction, verb or punctuation
``@``      a number
``(a|b)``  either of two rows
``!<name>`` no member of the class follows; takes up no word
``&(a b)``  this row follows; takes up no word
``#``      a finding or a structure follows; takes up no word
``$``      the value ends here: the sentence, a comma, a bracket, or another entry follows; takes up no word
========== =====================================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from lgdea.evidence.rules.spelling import lemma

MASK = "#"
"""What stands for the words of a finding or a structure in the text that patterns are matched against."""
NUMBER = "@"
_ITEM = re.compile(r"<\w+>|[()|*?!&]|[^\s()<>|*?!&]+")
_MOST_REPEATS = 5
_VALUE_ENDS = r"$|[,;()|] |checked |unchecked |(?:[a-z]+ )?(?:# )+[:=|] "


class CuePattern(NamedTuple):
    """A pattern as a regular expression, and the lemmas that it can begin with."""

    source: str
    starts: frozenset[str]

    @property
    def regex(self) -> re.Pattern[str]:
        """The expression, compiled when it is first needed: a report meets few of the hundreds."""
        return compile_once(self.source)


@cache
def compile_once(source: str) -> re.Pattern[str]:
    """Compile an expression, or return what was compiled of it before."""
    return re.compile(source)


class _Part(NamedTuple):
    regex: str
    starts: frozenset[str]
    may_be_empty: bool


class _Compiler:
    """Recursive descent over the items of one pattern."""

    def __init__(self, pattern: str, classes: Mapping[str, Sequence[str]]) -> None:
        self.pattern = pattern
        self.items = _ITEM.findall(pattern)
        self.classes = classes
        self.at = 0
        self.closed = 0  # brackets

    def compile(self) -> CuePattern:
        part = self._alternatives()
        if self.at != len(self.items) or self.closed != self.items.count("(") or part.may_be_empty or not part.starts:
            raise ValueError(f"cue pattern {self.pattern!r} cannot be read, or need not begin with a word")
        return CuePattern(part.regex, part.starts)

    def _peek(self) -> str:
        return self.items[self.at] if self.at < len(self.items) else ""

    def _next(self) -> str:
        self.at += 1
        return self.items[self.at - 1]

    def _alternatives(self) -> _Part:
        parts = [self._row()]
        while self._peek() == "|":
            self._next()
            parts.append(self._row())
        regex = "(?:" + "|".join(part.regex for part in parts) + ")" if len(parts) > 1 else parts[0].regex
        starts = frozenset[str]().union(*(part.starts for part in parts))
        return _Part(regex, starts, any(part.may_be_empty for part in parts))

    def _row(self) -> _Part:
        regex, starts, empty = "", frozenset[str](), True
        while self._peek() not in {"", "|", ")"}:
            part = self._item()
            regex += part.regex
            if empty:
                starts |= part.starts
            empty = empty and part.may_be_empty
        return _Part(regex, starts, empty)

    def _item(self) -> _Part:
        part = self._atom()
        if self._peek() in {"?", "*"}:
            most = 1 if self._next() == "?" else _MOST_REPEATS
            part = _Part(f"(?:{part.regex}){{0,{most}}}", part.starts, may_be_empty=True)
        return part

    def _atom(self) -> _Part:
        item = self._next()
        if item == "(":
            part = self._alternatives()
            self.closed += self._peek() == ")"
            self.at += 1
            return part
        if item in {"!", "&"}:
            return _Part(f"(?{'!' if item == '!' else '='}{self._atom().regex})", frozenset(), may_be_empty=True)
        if item in {"$", MASK}:
            return _Part(f"(?={_VALUE_ENDS if item == '$' else MASK + ' '})", frozenset(), may_be_empty=True)
        if item == NUMBER:
            return _Part(r"\d[\d.]* ", frozenset({NUMBER}), may_be_empty=False)
        if item == "~":
            stops = "|".join(map(re.escape, self.classes["closed"]))
            return _Part(rf"(?!(?:{stops}|{MASK}|[^a-z]) )[a-z][^ ]* ", frozenset(), may_be_empty=False)
        members = self.classes[item[1:-1]] if item[0] == "<" else [item]
        spelled = ["".join(f"{lemma(word)} " for word in member.split()) for member in members]
        starts = frozenset(words.split(" ", 1)[0] for words in spelled)
        return _Part("(?:" + "|".join(map(re.escape, sorted(spelled, reverse=True))) + ")", starts, may_be_empty=False)


def compile_patterns(patterns: Iterable[str], classes: Mapping[str, Sequence[str]]) -> list[CuePattern]:
    """Compile patterns.

    Args:
        patterns: Rows in the language above, such as ``not ~* <seen>``.
        classes: Members of each word class; ``closed`` holds the words that ``~`` does not stand for.

    Raises:
        ValueError: A pattern cannot be read.

    Example:
        >>> (pattern,) = compile_patterns(["not ~* <seen>"], {"closed": ["and"], "seen": ["seen", "identified"]})
        >>> pattern.regex.match("not clearly seen ").end()
        17
    """
    return [_Compiler(pattern, classes).compile() for pattern in patterns]
