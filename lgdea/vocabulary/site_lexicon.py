"""Content of a site's ``lexicon.yaml``: its own words and findings."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from lgdea.config import Config

SECTIONS = (
    "findings", "impression", "addendum", "body", "indication", "comparison", "technique", "examination",
    "recommendation", "notification", "signature", "administrative",
)  # fmt: skip
"""What a heading of one's own may be read as."""

_PLAIN = re.compile(r"[^\W_]+(?:[ '/.-]+[^\W_]+)*[.?]?")

_LONGEST_HEADING = 80  # characters


def _check_words(words: Any) -> Any:
    for word in [words] if isinstance(words, str) else words if isinstance(words, list | tuple) else ():
        if isinstance(word, str) and not _PLAIN.fullmatch(word.strip()):
            raise ValueError(f"{word!r} is not made of words")
    return tuple(words) if isinstance(words, list) else words


def _check_heading(name: Any) -> Any:
    if isinstance(name, str) and (":" in name or len(name) > _LONGEST_HEADING or not any(map(str.isalpha, name))):
        raise ValueError(f"{name!r} is no heading: write its words, without the colon")
    return name


Heading = Annotated[str, BeforeValidator(_check_heading)]
Words = Annotated[tuple[str, ...], BeforeValidator(_check_words)]
Word = Annotated[str, BeforeValidator(_check_words)]


class Cues(Config):
    """Words that turn an assertion, by where they stand."""

    before: Words = ()
    """Words in front of what they speak of: ``nil of`` effusion."""
    after: Words = ()
    """Words behind it: effusion ``not made out``."""


class NewFinding(Config):
    """A finding that the shipped vocabulary lacks."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Identifier in the evidence: lower case, digits and ``_``."""
    name: Word
    """Words for it in prompts and class texts."""
    kind: Literal["finding", "disease", "device"] = "finding"
    """Devices are not denied by a normal report."""
    synonyms: Words = ()
    """Further words of reports for it."""
    parents: tuple[str, ...] = ()
    """Ids of the findings that it is a kind of; those are present where it is."""
    anatomy: str | None = None
    """Id of the structure that it sits in when the report does not say."""
    modalities: tuple[str, ...] = ("xray", "ct")
    """Modalities that it is reported in."""
    present: tuple[str, ...] = ()
    """Zero-shot texts that state it; templates around its name where there are none."""
    absent: tuple[str, ...] = ()
    """Zero-shot texts that deny it, as many as ``present``."""


class SiteLexicon(Config):
    """The content of ``lexicon.yaml``."""

    headings: dict[Heading, Literal[SECTIONS]] = Field(default_factory=dict)  # type: ignore[valid-type]
    """Names of headings, and the section that each is read as."""
    abbreviations: dict[Word, str] = Field(default_factory=dict)
    """Short forms and the finding or structure that each means here; they win over the shipped ones."""
    synonyms: dict[str, Words] = Field(default_factory=dict)
    """Further words for known findings and structures, by id or name."""
    negation: Cues = Field(default_factory=lambda: Cues.model_validate({}))
    """Words that deny."""
    uncertainty: Cues = Field(default_factory=lambda: Cues.model_validate({}))
    """Words of doubt."""
    ignore: Words = ()
    """Words that say nothing of the patient, such as the name of a ward or of a form."""
    findings: tuple[NewFinding, ...] = ()
    """Findings with ids of their own."""

    @property
    def sha256(self) -> str:
        """Hash of the content: comments and order of keys do not matter."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
