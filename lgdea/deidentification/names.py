"""Names of people: behind titles and labels, before credentials, and by lists of names."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from lgdea.deidentification.spans import Identifier
from lgdea.deidentification.words import WordLists, load_words, parts

_TOKEN = re.compile(r"(?:[^\W\d_]+['’-])*[^\W\d_]+")
_GAP = re.compile(r"[ \t]|\.?[ \t]|\^")
_SPACE = re.compile(r"[ \t]")
_COMMA = re.compile(r",[ \t]?|\^")
_SMALL_TITLE = re.compile(r"\b(?:dr|mr|mrs|ms)\.?[ \t]+([a-z][\w'’-]+)")
_SUFFIXES = frozenset({"Jr", "Sr", "II", "III", "IV", "JR", "SR"})
_MOST = 5  # words of a name
_SENTENCE_END = re.compile(r"(?:^|[.!?:;)\]\"]\s*|\n\s*|\d[.)]\s*|-\s+)$")


class _Token(NamedTuple):
    start: int
    end: int
    text: str

    @property
    def lower(self) -> str:
        return self.text.lower()

    @property
    def is_initial(self) -> bool:
        return len(self.text) == 1 and self.text.isupper()

    @property
    def is_capitalised(self) -> bool:
        return self.text[0].isupper() or (len(self.text) > 2 and self.text[1] in "'’" and self.text[2].isupper())


def find_names(text: str, language: str = "en") -> list[Identifier]:
    """Find likely names of people.

    Args:
        text: A report.
        language: ISO 639-1 code; in German, whose nouns are capitalised, lists of names alone tell nothing.
    """
    return _Names(text, language, load_words()).find()


class _Names:
    def __init__(self, text: str, language: str, words: WordLists) -> None:
        self.text, self.language, self.words = text, language, words
        self.tokens = [_Token(*m.span(), m[0]) for m in _TOKEN.finditer(text)]
        self.at = {token.start: place for place, token in enumerate(self.tokens)}
        self.lines = [match.end() for match in re.finditer("\n", text)]
        self.shouted: dict[int, bool] = {}
        self.found: list[Identifier] = []
        self.sure: set[str] = set()

    def find(self) -> list[Identifier]:
        self._after(_title_pattern(), self._is_anything, comma=False)
        self._behind_small_titles()
        self._after(_label_pattern(), self._is_anything, comma=True)
        self._after(_cue_pattern(), self._is_likely, comma=True)
        self._before_credentials()
        self._last_first()
        self._by_lists()
        self._again()
        return self.found

    def _after(self, pattern: re.Pattern[str], first: Callable[[_Token], bool], *, comma: bool) -> None:
        """Names that begin where ``pattern`` ends; titles between are passed over."""
        for match in pattern.finditer(self.text):
            place, test = self.at.get(match.end()), first
            for _ in range(_MOST):
                if place is None or not self._is_title(self.tokens[place]):
                    break
                place, test = self._next(place, _GAP), self._is_anything
            if place is not None:
                self._add(self._run(place, test, comma=comma))

    def _run(self, place: int, first: Callable[[_Token], bool], *, comma: bool) -> tuple[int, int] | None:
        """The tokens (from, to) of a name that begins at ``place``; the first one has to pass ``first``."""
        begin, last, has_word = place, None, False
        is_free = False  # behind a particle or an initial
        for _ in range(_MOST):
            token = self.tokens[place]
            test = self._is_anything if is_free else self._is_likely if has_word else first
            if self._is_particle(token) and self._particle_leads(place):
                is_free = True
            elif token.is_initial or (has_word and token.text in _SUFFIXES) or (token.is_capitalised and test(token)):
                last, has_word, is_free = place, has_word or not token.is_initial, has_word and token.is_initial
            else:
                break
            following = self._next(place, _GAP)
            if following is None and comma and has_word:
                following = self._next(place, _COMMA)
                given = self._is_likely if first == self._is_anything else self._is_given
                if following is not None and not given(self.tokens[following]):
                    following = None
                comma = False
            if following is None or self._ends_sentence(place, following):
                break
            place = following
        return (begin, last) if last is not None and has_word else None

    def _ends_sentence(self, place: int, following: int) -> bool:
        """Whether a full stop between two tokens is no initial's or abbreviation's."""
        gap = self.text[self.tokens[place].end : self.tokens[following].start]
        return gap.startswith(".") and len(self.tokens[place].text) > 2

    def _behind_small_titles(self) -> None:
        """Text without capitals: "dr. smith" alone says that a name follows."""
        for match in _SMALL_TITLE.finditer(self.text):
            if not self.words.is_other(match[1]) or self.words.is_name(match[1]):
                self.found.append(Identifier(*match.span(1), "NAME"))

    def _next(self, place: int, gap: re.Pattern[str]) -> int | None:
        if place + 1 >= len(self.tokens):
            return None
        between = self.text[self.tokens[place].end : self.tokens[place + 1].start]
        return place + 1 if gap.fullmatch(between) else None

    def _is_title(self, token: _Token) -> bool:
        return token.lower in self.words.tables["titles"] or token.lower in self.words.tables["title_parts"]

    def _is_particle(self, token: _Token) -> bool:
        return token.lower in self.words.tables["particles"]

    def _particle_leads(self, place: int) -> bool:
        """Whether a capitalised word follows the particle, or another particle and then one."""
        for step in (1, 2):
            if self._next(place + step - 1, _SPACE) is None:
                return False
            token = self.tokens[place + step]
            if token.is_capitalised and token.lower not in self.words.kept and not self._is_particle(token):
                return True
            if not self._is_particle(token):
                return False
        return False

    def _is_anything(self, token: _Token) -> bool:
        """Behind a title or a label: any capitalised word but one of radiology that is no name."""
        word = token.lower
        return word not in self.words.kept or (self.words.is_name(word) and not self._is_shouted(token))

    def _is_likely(self, token: _Token) -> bool:
        """A capitalised word that is known as a name, or not known at all."""
        word = token.lower
        if self._is_before_named_thing(token) or word in self.words.kept or self._is_title(token):
            return False
        if word in self.words.tables["grammar"].get(self.language, ()):
            return False
        if self.words.is_name(word):
            return not self._is_shouted(token) or not self.words.is_other(word)
        return not self.words.is_other(word) and len(word) > 2

    def _is_given(self, token: _Token) -> bool:
        """Behind the comma of LAST, FIRST."""
        return token.is_capitalised and self._is_likely(token) and self.words.is_name(token.lower)

    def _is_shouted(self, token: _Token) -> bool:
        """Whether capitals say nothing, because the whole line has no small letters."""
        line = bisect_right(self.lines, token.start)
        if line not in self.shouted:
            start = self.lines[line - 1] if line else 0
            stop = self.lines[line] if line < len(self.lines) else len(self.text)
            self.shouted[line] = self.text[start:stop].isupper()
        return self.shouted[line]

    def _is_before_named_thing(self, token: _Token) -> bool:
        """Whether it is the name in "Smith fracture" or "maladie de Smith"."""
        behind = re.match(r"(?:['’]s)?(?:[ -][A-Z][\w]+)?[ -]([^\W\d_]+)", self.text[token.end : token.end + 50])
        if behind is not None and behind[1].lower() in self.words.named_things:
            return True
        direct = re.match(r"(?:['’]s)?[ -]([^\W\d_]+)", self.text[token.end : token.end + 30])
        if direct is not None and direct[1].lower() in self.words.named_things:
            return True
        before = re.search(r"([^\W\d_]+) (?:de |d['’]|von )?$", self.text[max(0, token.start - 30) : token.start])
        return before is not None and before[1].lower() in self.words.tables["named_before"] and before[1] != "de"

    def _add(self, run: tuple[int, int] | None, *, is_sure: bool = True) -> None:
        if run is None:
            return
        first, last = run
        end = self.tokens[last].end - (2 if re.search(r"['’]s$", self.tokens[last].text) else 0)
        self.found.append(Identifier(self.tokens[first].start, end, "NAME"))
        if is_sure:
            self.sure |= {token.text for token in self.tokens[first : last + 1] if len(token.text) > 2}

    def _before_credentials(self) -> None:
        ends = {token.end: place for place, token in enumerate(self.tokens)}
        for match in _credential_pattern().finditer(self.text):
            place = ends.get(match.start())
            if place is not None and self._may_have_credentials(self.tokens[place]):
                self._add((self._back(place), place))

    def _may_have_credentials(self, token: _Token) -> bool:
        if not token.is_capitalised or token.is_initial or self._is_title(token) or not self._is_anything(token):
            return False
        if _credential_pattern().fullmatch(f"x {token.text}", 1):  # MD, PhD
            return False
        return not self._is_shouted(token) or self.words.is_name(token.lower)

    def _back(self, place: int) -> int:
        """The first token of a name that ends at ``place``."""
        first = place
        for before in range(place - 1, max(-1, place - _MOST), -1):
            token = self.tokens[before]
            gap = self.text[token.end : self.tokens[before + 1].start]
            is_comma = gap == ", " and self._is_likely(token) and self._is_given(self.tokens[before + 1])
            if not (_GAP.fullmatch(gap) or is_comma) or (gap.startswith(".") and len(token.text) > 2):
                break
            if self._is_particle(token) and not token.is_initial:
                continue
            if not token.is_capitalised or not (token.is_initial or self._is_likely(token)) or self._is_title(token):
                break
            first = before
        return first

    def _last_first(self) -> None:
        """LAST, FIRST and LAST^FIRST, both known as names or at least the given one."""
        for place in range(len(self.tokens) - 1):
            one, other = self.tokens[place], self.tokens[place + 1]
            gap = self.text[one.end : other.start]
            if gap not in (", ", "^", ","):
                continue
            if gap == "^" or (
                self._is_likely(one)
                and one.is_capitalised
                and self.words.is_first_name(other.lower)
                and other.is_capitalised
            ):
                self._add((self._back(place), place + 1))

    def _by_lists(self) -> None:
        """Two names in a row, an initial and a name, and a name alone inside a sentence."""
        for place, token in enumerate(self.tokens):
            if not token.is_capitalised or token.is_initial or not self._is_likely(token):
                continue
            begin = self._back(place)
            names = [t.lower for t in self.tokens[begin : place + 1] if not t.is_initial]
            known = [self.words.is_only_name(name) for name in names]
            has_first = any(self.words.is_first_name(name) for name in names[:-1])
            has_initial = any(t.is_initial for t in self.tokens[begin:place])
            if len(names) > 1 and has_first and (self.language != "de" or all(known)):
                self._add((begin, place))
            elif self.language == "de" or self._is_shouted(token):
                continue
            elif has_initial and (known[-1] or not self.words.is_other(names[-1])):
                self._add((begin, place))
            elif self._opens_sentence(self.tokens[begin]):
                if self._does_something(token) and (known[-1] or self.words.is_name(names[-1])):
                    self._add((begin, place), is_sure=known[-1])
            elif known[-1] or self._is_unknown(token):
                self._add((begin, place), is_sure=known[-1])

    def _is_unknown(self, token: _Token) -> bool:
        """Capitalised, in small letters else, and in no list; English text alone, as the lists are."""
        word = token.text.split("'s")[0]
        return (
            self.language == "en"
            and word[1:].islower()
            and len(word) > 3
            and not any(part in self.words.other_words for part in parts(word))
        )

    def _does_something(self, token: _Token) -> bool:
        """Whether a verb of people stands behind a word."""
        behind = re.match(r"[ \t]+([^\W\d_]+)", self.text[token.end : token.end + 30])
        return behind is not None and behind[1].lower() in self.words.tables["deeds"]

    def _opens_sentence(self, token: _Token) -> bool:
        return _SENTENCE_END.search(self.text[max(0, token.start - 6) : token.start]) is not None

    def _again(self) -> None:
        """Further places of a name that is sure, as far as its words mean nothing else."""
        wanted = {name.lower() for name in self.sure if not self.words.is_other(name.lower())}
        exact = {name for name in self.sure if self.words.is_name(name.lower())} | {
            n.upper() for n in self.sure if n.lower() in wanted
        }
        for token in self.tokens:
            plain = re.sub(r"['’]s$", "", token.text)
            if not token.is_capitalised or self._is_before_named_thing(token):
                continue
            if plain.lower() not in wanted and (plain not in exact or plain.isupper()):
                continue
            if not (self.words.is_other(plain.lower()) and self._opens_sentence(token)):
                self.found.append(Identifier(token.start, token.end, "NAME"))


def _any_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word).replace(r"\ ", r"[ \t]+") for word in sorted(words, key=len, reverse=True))


@lru_cache(maxsize=1)
def _title_pattern() -> re.Pattern[str]:
    titles = load_words().tables["titles"]
    usual = _any_of([*map(str.capitalize, titles), "Dr", "dr", "mr", "mrs", "ms", "prof"])
    # In capitals MR, MS and PR are words of radiology too.
    shouted = _any_of([title.upper() for title in titles if title not in ("mr", "ms", "pr", "sr")])
    return re.compile(rf"\b(?:{usual}|{shouted}|(?:MR|MS)(?=\.)|(?:M|D|Fr|Hrn)(?=\.))(?:\.?[ \t]+|\.(?=[A-ZÀ-Þ]))")


@lru_cache(maxsize=1)
def _label_pattern() -> re.Pattern[str]:
    labels = _any_of(load_words().tables["labels"])
    return re.compile(
        rf"\b(?i:{labels})[ \t]*(?:\([^)\n]{{1,20}}\))?[ \t]*[:#][ \t]*(?=[A-ZÀ-Þ\w])|(?m:^)(?i:signed|cc|gez\.?|gezeichnet|firmado|signé)[ \t]+"
    )


@lru_cache(maxsize=1)
def _cue_pattern() -> re.Pattern[str]:
    cues = _any_of(load_words().tables["cues"])
    return re.compile(rf"\b(?i:{cues})(?:[,:]?[ \t]+|,?\n)(?:(?i:the|der|die|la|el|le|a la|al|à|frau|herr)[ \t]+)?")


@lru_cache(maxsize=1)
def _credential_pattern() -> re.Pattern[str]:
    return re.compile(rf"(?<=\w)\.?,?[ \t]{{1,3}}(?:{'|'.join(load_words().tables['credentials'])})(?![\w-])")


def known_names(names: Iterable[str]) -> Callable[[str], Iterator[Identifier]]:
    """Make a finder of the identifiers that somebody knows, such as a list of staff; case does not count.

    Args:
        names: Each as it may stand in a report; of one letter or none are left out.
    """
    plain = sorted({" ".join(name.split()) for name in names if len(name.strip()) > 1}, key=len, reverse=True)
    if not plain:
        return lambda _: iter(())
    words = "|".join(re.escape(name).replace(r"\ ", r"\s+") for name in plain)
    pattern = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)
    return lambda text: (Identifier(*match.span(), "NAME") for match in pattern.finditer(text))
