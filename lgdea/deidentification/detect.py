"""All likely identifiers of a report, and the report with masks in their place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from lgdea.deidentification.names import find_names
from lgdea.deidentification.numbers import find_numbers
from lgdea.deidentification.places import find_places
from lgdea.deidentification.spans import Identifier, resolve

_MASKED = re.compile(r"\[(?:NAME|DATE|AGE|PHONE|EMAIL|URL|ADDRESS|HOSPITAL|ID)\]|\[\*\*.*?\*\*\]|X{3,}|_{3,}|<[A-Z_]+>")

# Longer texts are gone through in windows: the time of some patterns can grow with the square of a hostile text.
_WINDOW, _OVERLAP = 8000, 200


def find_identifiers(
    text: str, language: str = "en", known: Callable[[str], Iterable[Identifier]] | None = None
) -> list[Identifier]:
    """Find likely identifiers of a patient, or of anybody else, in a report.

    Names, dates (not years alone), ages over 89, telephone and fax numbers, addresses of mail and web, postal
    addresses, hospitals, and numbers of records, accessions and social security. Do not rely on it
    that all are found.

    Args:
        text: A report.
        language: ISO 639-1 code of its language; the rules know English best, then German, French and Spanish.
        known: Finds identifiers that are known beforehand (:func:`~lgdea.deidentification.names.known_names`).

    Returns:
        Disjoint spans in the order of the text; what is masked already is none.
    """
    plain = _MASKED.sub(lambda mask: "\x00" * len(mask[0]), text)

    def in_turn() -> Iterator[Identifier]:
        if known is not None:
            yield from known(plain)
        for find in (find_numbers, lambda part: find_places(part, language), lambda part: find_names(part, language)):
            for at in range(0, max(1, len(plain) - _OVERLAP), _WINDOW - _OVERLAP):
                for start, end, kind in find(plain[at : at + _WINDOW]):
                    yield Identifier(at + start, at + end, kind)

    return [found for found in resolve(in_turn(), len(text)) if any(map(str.isalnum, text[found.start : found.end]))]


def mask(text: str, identifiers: Iterable[Identifier]) -> str:
    """Put ``[NAME]``, ``[DATE]`` and so on in the place of identifiers.

    Args:
        text: A report.
        identifiers: Disjoint spans in it, in order.

    Example:
        >>> from lgdea.deidentification.spans import Identifier
        >>> mask("Seen by Dr. Young on 3/4.", [Identifier(12, 17, "NAME"), Identifier(21, 24, "DATE")])
        'Seen by Dr. [NAME] on [DATE].'
    """
    masked, at = [], 0
    for start, end, kind in identifiers:
        masked += [text[at:start], f"[{kind}]"]
        at = end
    return "".join([*masked, text[at:]])
