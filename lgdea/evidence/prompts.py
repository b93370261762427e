"""Prompts shipped under ``prompts/<id>``: instruction, user template and examples, hashed and checked before use."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.alignment import Aligner
from lgdea.evidence.response import InvalidResponse, dump_response, parse_response
from lgdea.shipped import shipped

_FILES = ("system.txt", "user.txt", "examples.jsonl")
_SLOT = "{report}"


@dataclass(frozen=True)
class Prompt:
    """A checked prompt.

    ``examples`` are (report, answer) pairs; the answers are JSON of :mod:`lgdea.evidence.response`.
    """

    prompt_id: str
    sha256: str
    system: str
    user: str
    examples: tuple[tuple[str, str], ...]

    def messages(self, report: str) -> tuple[dict[str, str], ...]:
        """The chat messages for one report; all but the last are the same for every report, so a server caches them."""
        return (*self._prefix, {"role": "user", "content": self.user.replace(_SLOT, report)})

    def describe(self) -> dict[str, str]:
        """Id and hash, for ``run.json``."""
        return {"prompt_id": self.prompt_id, "sha256": self.sha256}

    @cached_property
    def _prefix(self) -> tuple[dict[str, str], ...]:
        turns = [{"role": "system", "content": self.system}]
        for report, answer in self.examples:
            turns.append({"role": "user", "content": self.user.replace(_SLOT, report)})
            turns.append({"role": "assistant", "content": answer})
        return tuple(turns)


def load_prompt(prompt_id: str) -> Prompt:
    """Load and check a shipped prompt.

    Raises:
        UsageError: There is no prompt of this id.
        EvidenceError: A file is missing, the template has no ``{report}``, or an example is invalid or quotes words
            that its report does not hold.
    """
    folder = shipped("prompts") / prompt_id
    if not prompt_id or "/" in prompt_id or not folder.is_dir():
        known = sorted(entry.name for entry in shipped("prompts").iterdir() if entry.is_dir())
        raise UsageError(f"no prompt {prompt_id!r}", remedy=f"shipped: {', '.join(known)}")
    digest = hashlib.sha256()
    texts = {}
    for name in _FILES:
        file = folder / name
        if not file.is_file():
            raise EvidenceError(f"prompt {prompt_id!r} lacks {name}", file=str(folder))
        texts[name] = file.read_text(encoding="utf-8")
        digest.update(f"{name}\n{texts[name]}\x1f".encode())
    if _SLOT not in texts["user.txt"]:
        raise EvidenceError(f"has no {_SLOT}", file=str(folder / "user.txt"))
    return Prompt(
        prompt_id=prompt_id,
        sha256=digest.hexdigest(),
        system=texts["system.txt"].strip(),
        user=texts["user.txt"].rstrip("\n"),
        examples=_examples(texts["examples.jsonl"], str(folder / "examples.jsonl")),
    )


def _examples(text: str, file: str) -> tuple[tuple[str, str], ...]:
    examples = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record: dict[str, Any] = json.loads(line)
            report, answer = str(record["report"]), dump_response(record["units"])
            units = parse_response(answer)
        except (ValueError, KeyError, InvalidResponse) as error:
            raise EvidenceError(f"is not a valid example ({error})", file=file, row=number) from None
        aligner = Aligner(report)
        for unit in units:
            found = aligner.align(unit.quote)
            if found is None or found.alignment != "exact":
                raise EvidenceError(f"quotes {unit.quote!r}, which its report does not hold", file=file, row=number)
            if unit.finding_text not in unit.quote:
                raise EvidenceError(f"the words {unit.finding_text!r} are not in their quote", file=file, row=number)
        examples.append((report, answer))
    return tuple(examples)
