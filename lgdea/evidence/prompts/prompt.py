"""A checked prompt: what is asked about a report, and how the answer is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from lgdea.evidence.layout import evidence_sentences
from lgdea.evidence.prompts.fence import fence, fill, neutralise
from lgdea.evidence.prompts.sentence import parse_sentence, sentence_schema
from lgdea.evidence.prompts.verify import Verifier
from lgdea.evidence.response import ResponseUnit, json_schema, parse_response
from lgdea.vocabulary import Vocabulary, load_vocabulary, using_vocabulary

Reads = Literal["report", "sentence"]


class Question(NamedTuple):
    """The chat messages about ``report[start:end]``."""

    start: int
    end: int
    messages: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Prompt:
    """A checked prompt; get it from :func:`~lgdea.evidence.prompts.load_prompt`.

    Args:
        prompt_id: The shipped id, or the name of the user's folder.
        about: One line for people.
        reads: Whether one question shows a whole ``report`` or one ``sentence``.
        system: The instruction, its vocabulary lists filled in.
        user: The template of a question.
        examples: (text, answer) pairs; the answers are what a good model would say.
        files_sha256: Hash of the prompt's files.
        verifier: The second pass, if there is one.
        vocabulary: What the lists were filled in from, and answers are held to.
    """

    prompt_id: str
    about: str
    reads: Reads
    system: str
    user: str
    examples: tuple[tuple[str, str], ...]
    files_sha256: str
    verifier: Verifier | None = None
    vocabulary: Vocabulary = field(default_factory=load_vocabulary, repr=False, compare=False)

    def questions(self, report: str) -> list[Question]:
        """List the questions about a report: one, or one for each sentence of the sections that hold evidence.

        All messages but the last are the same in every question, so that a server computes them once.
        """
        if self.reads == "report":
            return [Question(0, len(report), self.messages(report))]
        with using_vocabulary(self.vocabulary):
            return [Question(a, b, self.messages(report[a:b])) for a, b in evidence_sentences(report)]

    def messages(self, text: str) -> tuple[dict[str, str], ...]:
        """The chat messages of one question about ``text``, whatever that is."""
        return (*self.prefix, self._user_turn(text))

    def parse(self, answer: str, text: str) -> list[ResponseUnit]:
        """Read the answer to the question about ``text``; a ``start`` is relative to ``text``.

        Raises:
            InvalidResponse: The answer is not JSON of :meth:`json_schema`.
        """
        with using_vocabulary(self.vocabulary):
            return parse_response(answer) if self.reads == "report" else parse_sentence(answer, text)

    def json_schema(self) -> dict[str, Any]:
        """The schema for constrained decoding of an answer."""
        with using_vocabulary(self.vocabulary):
            return json_schema() if self.reads == "report" else sentence_schema()

    def describe(self) -> dict[str, str]:
        """Id and hashes, for ``run.json``."""
        return {"prompt_id": self.prompt_id, "sha256": self.sha256, "files_sha256": self.files_sha256}

    @cached_property
    def sha256(self) -> str:
        """Hash of all that decides an answer except the report: the shared messages, the template, the schema.

        It changes with the vocabulary, whose ids the schema and the instruction list; ``files_sha256`` does not.
        """
        second = self.verifier.sha256 if self.verifier else ""
        content = json.dumps([self.reads, self.prefix, self.user, self.json_schema(), second])
        return hashlib.sha256(content.encode()).hexdigest()

    @cached_property
    def prefix(self) -> tuple[dict[str, str], ...]:
        """The messages that all questions share: instruction and examples."""
        turns = [{"role": "system", "content": self.system}]
        for text, answer in self.examples:
            turns += [self._user_turn(text), {"role": "assistant", "content": answer}]
        return tuple(turns)

    def _user_turn(self, text: str) -> dict[str, str]:
        values = {self.reads: neutralise(text), "fence": fence(text)}
        return {"role": "user", "content": fill(self.user, values)}
