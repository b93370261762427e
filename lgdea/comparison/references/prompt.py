"""The comparative prompt: healthy references and a query in one message, answered yes or no.

``prompts/compare-v1`` ships with lgdea; a folder of one's own with a ``compare.yaml`` works the same way. Training rows
and requests are made from the same texts, so that a fine-tuned model is asked what it has learned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lgdea.config_errors import explain
from lgdea.errors import DataError, UsageError
from lgdea.evidence.backends.choices import choice_schema
from lgdea.evidence.backends.parts import Part, image_part, text_part
from lgdea.evidence.prompts.fence import fill, slots_of
from lgdea.reading import parse_yaml
from lgdea.shipped import shipped
from lgdea.vocabulary.phrases import canonical_phrase

MANIFEST = "compare.yaml"
DEFAULT_PROMPT = "compare-v1"
YES, NO = "yes", "no"
ANSWERS = (YES, NO)


class Texts(BaseModel):
    """``compare.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    """One line for people."""
    beside: str
    """What comes first where there are references."""
    healthy: str
    """What stands before a reference; ``{number}`` is that of the image, from 1."""
    query: str
    """What stands before the query; slot ``{number}``."""
    question: str
    """What is asked after the images; slots ``{number}`` of the query and ``{phrase}`` of the finding."""


@dataclass(frozen=True)
class ComparePrompt:
    """A comparative prompt; get it from :func:`load_compare_prompt`.

    Args:
        prompt_id: The shipped id, or the name of the user's folder.
        texts: What is said around the images.
        files_sha256: Hash of the file.
    """

    prompt_id: str
    texts: Texts
    files_sha256: str

    def parts(self, finding: str, references: Sequence[Part], query: Part) -> list[Part]:
        """Content of the user turn: each reference behind its caption, the query, the question.

        Args:
            finding: Vocabulary id, or any phrase.
            references: Image parts of K healthy people; none for the query alone.
            query: Image part of the query.
        """
        number = str(len(references) + 1)
        parts = [text_part(self.texts.beside)] if references else []
        for n, reference in enumerate(references, start=1):
            parts += [text_part(fill(self.texts.healthy, {"number": str(n)})), reference]
        parts += [text_part(fill(self.texts.query, {"number": number})), query]
        return [*parts, text_part(fill(self.texts.question, {"number": number, "phrase": phrase_of(finding)}))]

    def messages(self, finding: str, references: Sequence[bytes], query: bytes) -> tuple[dict[str, Any], ...]:
        """Chat messages of one request, for a backend (:mod:`lgdea.evidence.backends.parts`).

        Args:
            finding: Vocabulary id, or any phrase.
            references: PNG files of K healthy people; none for the query alone.
            query: PNG file of the query.
        """
        parts = self.parts(finding, [image_part(png) for png in references], image_part(query))
        return ({"role": "user", "content": parts},)

    def training_row(self, finding: str, references: Sequence[str], query: str, label: bool) -> dict[str, Any]:
        """One row of TRL's prompt + completion shape; the loss is on the answer alone.

        Args:
            finding: Vocabulary id, or any phrase.
            references: Paths of pictures of K healthy people; none for the query alone.
            query: Path of the query's picture.
            label: Whether the query shows the finding.

        Returns:
            ``images`` (paths, in the order of their places), ``prompt`` and ``completion``; every content part has the
            keys ``type`` and ``text``, as Arrow wants it.
        """
        place: Part = {"type": "image", "text": ""}
        answer = text_part(YES if label else NO)
        return {
            "images": [*references, query],
            "prompt": [{"role": "user", "content": self.parts(finding, [place] * len(references), place)}],
            "completion": [{"role": "assistant", "content": [answer]}],
        }

    def json_schema(self) -> dict[str, Any]:
        """The schema of an answer, for servers that do not know choices."""
        return choice_schema(ANSWERS)

    def describe(self) -> dict[str, str]:
        """Id and hash, for results."""
        return {"prompt_id": self.prompt_id, "files_sha256": self.files_sha256}


def phrase_of(finding: str) -> str:
    """The phrase that stands for a vocabulary id; other words stay as they are.

    >>> phrase_of("pleural_effusion"), phrase_of("a small bright spot")
    ('pleural effusion', 'a small bright spot')
    """
    from lgdea.vocabulary import load_vocabulary

    return canonical_phrase(finding) if finding in load_vocabulary().findings else finding


def shipped_compare_prompts() -> list[str]:
    """The ids of the comparative prompts that ship with lgdea."""
    return sorted(entry.name for entry in shipped("prompts").iterdir() if (entry / MANIFEST).is_file())


def load_compare_prompt(prompt_id: str = DEFAULT_PROMPT) -> ComparePrompt:
    """Load and check a comparative prompt.

    Args:
        prompt_id: A shipped id, or the path of a folder of one's own.

    Raises:
        UsageError: There is no such prompt.
        DataError: Its file is not YAML, or a text or a slot is missing or unknown.
    """
    is_shipped = prompt_id in shipped_compare_prompts()
    file = shipped("prompts") / prompt_id / MANIFEST if is_shipped else Path(prompt_id) / MANIFEST
    if not prompt_id or not file.is_file():
        known = ", ".join(shipped_compare_prompts())
        raise UsageError(
            f"no comparative prompt {prompt_id!r}", remedy=f"shipped: {known}; or a folder with {MANIFEST}"
        )
    text = file.read_text(encoding="utf-8")
    try:
        texts = Texts.model_validate(parse_yaml(text))
    except ValidationError as error:
        raise DataError(explain(error), file=str(file), remedy="see prompts/README.md") from None
    except ValueError as error:
        raise DataError(f"is not YAML ({error})", file=str(file)) from None
    for name, slots in {"beside": (), "healthy": ("number",), "query": ("number",), "question": ("phrase",)}.items():
        found = slots_of(getattr(texts, name))
        missing = [slot for slot in slots if slot not in found]
        unknown = sorted(set(found) - {*slots, *(("number",) if name == "question" else ())})
        if missing or unknown:
            what = f"has no {{{missing[0]}}}" if missing else f"has the unknown slot {{{unknown[0]}}}"
            raise DataError(f"{name} {what}", file=str(file), remedy="see prompts/README.md")
    name = prompt_id if is_shipped else Path(prompt_id).resolve().name
    return ComparePrompt(name, texts, hashlib.sha256(text.encode()).hexdigest())
