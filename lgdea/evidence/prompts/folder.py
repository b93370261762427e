"""Reading a prompt's folder; all that is wrong with it is found in one go.

``prompt.yaml`` says what it reads, ``system.txt`` and ``user.txt`` what is asked, ``examples.jsonl`` what good answers
look like. ``verify/`` holds the same three text files for the second pass. A prompt that ``extends`` another has only
``verify/`` of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lgdea.config_errors import explain
from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.prompts.examples import read_report_example, read_sentence_example, read_verify_example
from lgdea.evidence.prompts.fence import fill, slots_of
from lgdea.evidence.prompts.prompt import Prompt, Reads
from lgdea.evidence.prompts.verify import Verifier
from lgdea.evidence.response import UNSPECIFIED
from lgdea.reading import parse_json, parse_yaml
from lgdea.shipped import shipped
from lgdea.vocabulary import load_vocabulary

MANIFEST = "prompt.yaml"
_TEXTS = ("system.txt", "user.txt", "examples.jsonl")


class Manifest(BaseModel):
    """``prompt.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    """One line for people."""
    reads: Reads = "report"
    extends: str | None = None
    """The prompt whose extraction this one uses; this folder then holds ``verify/`` alone."""


@dataclass(frozen=True)
class PromptProblem:
    """One thing that is wrong with a prompt; ``row`` counts the lines of a file of examples."""

    file: str
    row: int | None
    problem: str

    def __str__(self) -> str:
        return f"{self.file}{'' if self.row is None else f' row {self.row}'}: {self.problem}"

    def error(self) -> EvidenceError:
        """The problem as an error."""
        return EvidenceError(self.problem, file=self.file, row=self.row, remedy="see `lgdea prompts check`")


def shipped_prompts() -> list[str]:
    """The ids of the prompts that ship with lgdea."""
    return sorted(entry.name for entry in shipped("prompts").iterdir() if (entry / MANIFEST).is_file())


def load_prompt(prompt_id: str) -> Prompt:
    """Load and check a prompt.

    Args:
        prompt_id: A shipped id, or the path of a folder of one's own.

    Raises:
        UsageError: There is no such prompt.
        EvidenceError: The first thing that is wrong with it: a file or a slot is missing, an example is invalid or
            quotes words that its report does not hold.
    """
    prompt, problems = inspect_prompt(prompt_id)
    if prompt is None:
        raise problems[0].error()
    return prompt


def inspect_prompt(prompt_id: str) -> tuple[Prompt | None, list[PromptProblem]]:
    """The prompt, or None with all that is wrong with it.

    Raises:
        UsageError: There is no such prompt.
    """
    if prompt_id in shipped_prompts():
        return _Reader(prompt_id, shipped("prompts") / prompt_id, shipped("prompts")).read()
    folder = Path(prompt_id)
    if not prompt_id or not folder.is_dir():
        known = ", ".join(shipped_prompts())
        raise UsageError(f"no prompt {prompt_id!r}", remedy=f"shipped: {known}; or give the path of a folder")
    folder = folder.resolve()
    return _Reader(folder.name, folder, folder.parent).read()


class _Reader:
    """Reads one folder and collects problems and the hash on the way."""

    def __init__(self, prompt_id: str, folder: Traversable, siblings: Traversable) -> None:
        self._id = prompt_id
        self._folder = folder
        self._siblings = siblings
        self._digest = hashlib.sha256()
        self._problems: list[PromptProblem] = []

    def read(self) -> tuple[Prompt | None, list[PromptProblem]]:
        prompt = self._read_prompt()
        return (None if self._problems else prompt), self._problems

    def _read_prompt(self) -> Prompt | None:
        manifest = self._read_manifest()
        if manifest is None:
            return None
        verifier = self._read_verifier()
        if manifest.extends is None:
            texts = self._read_texts(self._folder, (manifest.reads,))
            examples = tuple(self._read_examples(self._folder, texts, manifest.reads))
            system, user = texts["system.txt"], texts["user.txt"]
        else:
            base = self._read_base(manifest, verifier)
            if base is None:
                return None
            self._digest.update(base.files_sha256.encode())
            system, user, examples = base.system, base.user, base.examples
        return Prompt(
            prompt_id=self._id,
            about=manifest.about,
            reads=manifest.reads,
            system=system,
            user=user,
            examples=examples,
            files_sha256=self._digest.hexdigest(),
            verifier=verifier,
        )

    def _read_manifest(self) -> Manifest | None:
        text = self._read_text(self._folder / MANIFEST)
        if text is None:
            return None
        try:
            return Manifest.model_validate(parse_yaml(text))
        except ValidationError as error:
            self._add_problem(self._folder / MANIFEST, explain(error))
        except ValueError as error:
            self._add_problem(self._folder / MANIFEST, f"is not YAML ({error})")
        return None

    def _read_base(self, manifest: Manifest, verifier: Verifier | None) -> Prompt | None:
        file = self._folder / MANIFEST
        for name in _TEXTS:
            if (self._folder / name).is_file():
                self._add_problem(self._folder / name, f"is not read, because the prompt extends {manifest.extends!r}")
        if verifier is None and not self._problems:
            self._add_problem(file, "extends another prompt but has no verify/ folder")
        known = str(manifest.extends)
        at = next((root / known for root in (self._siblings, shipped("prompts")) if (root / known).is_dir()), None)
        if at is None or "/" in known or known == self._id:
            self._add_problem(file, f"extends {known!r}, which is no prompt")
            return None
        base, problems = _Reader(known, at, self._siblings).read()
        self._problems += problems
        if base is not None and (base.verifier is not None or base.reads != manifest.reads):
            self._add_problem(file, f"can extend only a one-pass prompt that reads the same; {known!r} is not one")
        return base

    def _read_verifier(self) -> Verifier | None:
        folder = self._folder / "verify"
        if not folder.is_dir():
            return None
        texts = self._read_texts(folder, ("sentence", "statement"))
        return Verifier(texts["system.txt"], texts["user.txt"], tuple(self._read_examples(folder, texts, "verify")))

    def _read_texts(self, folder: Traversable, slots: tuple[str, ...]) -> dict[str, str]:
        texts = {name: self._read_text(folder / name) for name in _TEXTS}
        vocabulary = load_vocabulary()
        findings, anatomy = (
            [vocabulary.introduce(key) for key in table] for table in (vocabulary.findings, vocabulary.anatomy)
        )
        lists = {"findings": ", ".join(findings), "anatomy": ", ".join([*anatomy, UNSPECIFIED])}
        self._check_slots(folder / "system.txt", texts["system.txt"], (), set(lists))
        self._check_slots(folder / "user.txt", texts["user.txt"], slots, {*slots, "fence"})
        return {
            "system.txt": fill((texts["system.txt"] or "").strip(), lists),
            "user.txt": (texts["user.txt"] or "").strip("\n"),
            "examples.jsonl": texts["examples.jsonl"] or "",
        }

    def _check_slots(self, file: Traversable, text: str | None, needed: tuple[str, ...], known: set[str]) -> None:
        if text is None:
            return
        present = slots_of(text)
        for slot in needed:
            if slot not in present:
                self._add_problem(file, f"has no {{{slot}}}")
        for slot in sorted(set(present) - known):
            names = ", ".join(f"{{{name}}}" for name in sorted(known))
            self._add_problem(file, f"has the unknown slot {{{slot}}} (known: {names})")
        if (
            needed
            and needed[0] in present
            and "fence" not in present
            and text.rpartition(f"{{{needed[0]}}}")[2].strip()
        ):
            self._add_problem(
                file, f"goes on after {{{needed[0]}}} without {{fence}}, so that a text could imitate its end"
            )

    def _read_examples(self, folder: Traversable, texts: dict[str, str], kind: str) -> list[Any]:
        read = {"report": read_report_example, "sentence": read_sentence_example, "verify": read_verify_example}[kind]
        examples = []
        for number, line in enumerate(texts["examples.jsonl"].split("\n"), start=1):
            if not line.strip():
                continue
            try:
                examples.append(read(parse_json(line)))
            except KeyError as error:
                self._add_problem(folder / "examples.jsonl", f"is not a valid example (no {error})", number)
            except (ValueError, TypeError, AttributeError) as error:
                self._add_problem(folder / "examples.jsonl", f"is not a valid example ({error})", number)
        return examples

    def _read_text(self, file: Traversable) -> str | None:
        try:
            if not file.is_file():
                raise FileNotFoundError(file)
            text = file.read_text(encoding="utf-8")
        except OSError:
            self._add_problem(file, "is missing")
            return None
        except UnicodeDecodeError as error:
            self._add_problem(file, f"is not UTF-8 ({error.reason} at byte {error.start})")
            return None
        self._digest.update(f"{len(text)}\x1f{text}".encode())
        return text

    def _add_problem(self, file: Traversable, problem: str, row: int | None = None) -> None:
        self._problems.append(PromptProblem(str(file), row, problem))
