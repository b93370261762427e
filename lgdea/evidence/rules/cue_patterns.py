"""Small pattern language for cue phrases: ``not ~* <seen>`` instead of a list of all the variants.

A pattern is a row of items, each of them optional with ``?`` or repeated with ``*``:

========== =====================================================================================================
``word``   this lemma
``<name>`` a member of a word class, which may have several words
``~``      any one word that opens no phrase of its own: no finding, structure, conjunction, verb or punctuation
``@``      a number
``_``      any one word, also one of a finding or a structure
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
from itertools import count, groupby
from typing import NamedTuple

from lgdea.evidence.rules.spelling import lemma

MASK = "#"
"""What stands for the words of a finding or a structure in the text that patterns are matched against."""
NUMBER = "@"
ANY = "_"
_ITEM = re.compile(r"<\w+>|[()|*?!&]|[^\s()<>|*?!&]+")
_MOST_REPEATS = 5
_MOST_KEPT = 100_000  # words
_VALUE_ENDS = (",", ";", "(", ")", "|", "checked", "unchecked")
# Private characters that stand for words of a kind; the first of each range for all words that no pattern has.
_KINDS = (
    (re.compile(r"[a-z]+"), 0xF0000),
    (re.compile(r"[a-z].*", re.DOTALL), 0xF8000),
    (re.compile(r"\d[\d.]*"), 0x100000),
    (re.compile(r".*", re.DOTALL), 0x108000),
)
_CLOSED = 0xE000
_PLAIN = "[\ue000-\uf8ff\U000f0000-\U000f7fff]"
_OPEN, _NUMBERS = "[\U000f0000-\U000fffff]", "[\U00100000-\U00107fff]"


class Alphabet(dict[str, str]):
    """One character for each lemma, so that a sentence is a short text and a class of words a set of characters.

    Words that patterns have get characters of their own, see :meth:`add`; all others share one for each kind of word.

    Args:
        closed: The words that ``~`` does not stand for.
    """

    def __init__(self, closed: Iterable[str]) -> None:
        super().__init__({MASK: MASK})
        self._closed = frozenset(closed)
        self._next = count(1)

    def add(self, word: str) -> str:
        """Return the character of a word of a pattern."""
        if word not in self:
            self[word] = chr(self._kind(word) + next(self._next))
        return self[word]

    def encode(self, words: Iterable[str]) -> str:
        """Return the text of some lemmas, a character for each."""
        return "".join([self[word] for word in words])

    def __missing__(self, word: str) -> str:
        shared = chr(self._kind(word))
        if len(self) < _MOST_KEPT:
            self[word] = shared
        return shared

    def _kind(self, word: str) -> int:
        return _CLOSED if word in self._closed else next(first for pattern, first in _KINDS if pattern.fullmatch(word))


class CuePattern(NamedTuple):
    """A pattern as the source of a regular expression over an :class:`Alphabet`, and the lemmas it can begin with."""

    source: str
    starts: frozenset[str]


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

    def __init__(self, pattern: str, classes: Mapping[str, Sequence[str]], alphabet: Alphabet) -> None:
        self.pattern = pattern
        self.alphabet = alphabet
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
        regex = _any_of([part.regex for part in parts])
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
            part = _Part(f"{_as_one(part.regex)}{{0,{most}}}", part.starts, may_be_empty=True)
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
            return _Part(f"(?={self._value_end() if item == '$' else MASK})", frozenset(), may_be_empty=True)
        if item in {ANY, NUMBER}:
            starts = frozenset({NUMBER} if item == NUMBER else ())
            return _Part(r"[^\n]" if item == ANY else _NUMBERS, starts, may_be_empty=False)
        if item == "~":
            return _Part(_OPEN, frozenset(), may_be_empty=False)
        members = self.classes[item[1:-1]] if item[0] == "<" else [item]
        spelled = [[lemma(word) for word in member.split()] for member in members]
        phrases = ["".join(map(self.alphabet.add, words)) for words in spelled if len(words) > 1]
        single = self._set([words[0] for words in spelled if len(words) == 1])
        regex = _any_of([*filter(None, [*sorted(phrases, key=len, reverse=True), single])])
        return _Part(regex, frozenset(words[0] for words in spelled), may_be_empty=False)

    def _set(self, words: Iterable[str]) -> str:
        """An expression for any of these lemmas; empty without one."""
        return _set_of(map(self.alphabet.add, words))

    def _value_end(self) -> str:
        add = self.alphabet.add
        return f"$|{self._set(_VALUE_ENDS)}|{_PLAIN}?{MASK}+[{add(':')}{add('=')}{add('|')}]"


def _set_of(characters: Iterable[str]) -> str:
    """An expression for any of some characters, neighbours as ranges: they are compiled faster."""
    codes = sorted({ord(character) for character in characters})
    runs = [[code for _, code in run] for _, run in groupby(enumerate(codes), key=lambda item: item[1] - item[0])]
    ranges = "".join(chr(run[0]) if len(run) == 1 else f"{chr(run[0])}-{chr(run[-1])}" for run in runs)
    return f"[{ranges}]" if len(codes) > 1 else ranges


def _any_of(regexes: Sequence[str]) -> str:
    """An expression for any of some, tried in their order."""
    if len(regexes) == 1:
        return regexes[0]
    return _set_of(regexes) if all(len(regex) == 1 for regex in regexes) else f"(?:{'|'.join(regexes)})"


def _as_one(regex: str) -> str:
    """An expression that a quantifier after it takes as a whole."""
    is_one = len(regex) == 1 or (regex[0] == "[" and regex.find("]") == len(regex) - 1)
    return regex if is_one else f"(?:{regex})"


def compile_patterns(
    patterns: Iterable[str], classes: Mapping[str, Sequence[str]], alphabet: Alphabet
) -> list[CuePattern]:
    """Compile patterns.

    Args:
        patterns: Rows in the language above, such as ``not ~* <seen>``.
        classes: Members of each word class.
        alphabet: Gets the words of the patterns.

    Raises:
        ValueError: A pattern cannot be read.

    Example:
        >>> classes, alphabet = {"seen": ["seen", "identified"]}, Alphabet(closed=["and"])
        >>> (pattern,) = compile_patterns(["not ~* <seen>"], classes, alphabet)
        >>> compile_once(pattern.source).match(alphabet.encode(["not", "clearly", "seen", "today"])).end()
        3
    """
    return [_Compiler(pattern, classes, alphabet).compile() for pattern in patterns]
