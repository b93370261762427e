"""Ask a vision-language model the questions of a set, through a backend of extraction; its words are kept as they are.

What is answered is on disk before it is looked at, and the same call asks only what is missing.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lgdea import runs
from lgdea.comparison.pictures import Pictures
from lgdea.comparison.questions.files import QUESTIONS, REPORT, chat_row, image_root_of, read_questions
from lgdea.comparison.questions.question import Question
from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.answer_log import answering
from lgdea.evidence.backends.base import ExtractorBackend
from lgdea.evidence.backends.parts import image_part, text_part
from lgdea.evidence.io import RAW
from lgdea.evidence.request_loop import PendingRequest, Progress, Questions, is_unanswered, run_requests

ANSWERS = "answers.jsonl"
_CACHED = 1024  # pictures; one stands in several questions


def ask_questions(
    folder: str | Path,
    backend: ExtractorBackend,
    out: str | Path,
    *,
    side: int | None = None,
    image_root: str | Path | None = None,
    max_attempts: int = 2,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Ask every question of a set; answers are free text.

    Args:
        folder: Folder of the set.
        backend: Who answers; one whose model reads several images.
        out: Folder of the answers, with ``answers.jsonl``; an unfinished one is resumed.
        side: Longest side of the pictures that are sent, pixels; None for their own.
        image_root: Where the pictures stand; where they stood when the set was made, by default.
        max_attempts: Number of times that a question is asked whose answer is cut; each has twice the tokens.
        progress: Called with what is being done, done and all questions.

    Returns:
        Summary: ``model``, ``questions``, ``asked``, ``unanswered`` (cut or refused), ``unreadable`` (``{"id",
        "reason"}`` of each picture that cannot be read), ``not_asked`` (questions about those).

    Raises:
        UsageError: There is no set, a backend reads no images, or its model takes fewer in one message.
        DataError: No question has pictures that can all be read.
        EvidenceError: The backend broke, or failed on some questions; what it answered is kept.
    """
    folder, out = Path(folder), Path(out)
    asked_for = read_questions(folder)
    if not backend.needs_prompt:
        raise UsageError(f"backend {backend.name!r} reads no images", remedy="use --backend vllm or http")
    root = Path(image_root) if image_root else image_root_of(folder / REPORT)
    described = backend.describe()
    config = {"backend": described, "side": side}
    pictures = Pictures(root, side, _CACHED)
    asker = _Asker(pictures, side)
    asked_of = {"questions": folder / QUESTIONS}
    with answering(out, RAW, stage="compare answer", config=config, inputs=asked_of) as log:
        questions = Questions(lambda: map(asker.requests, asked_for), len(asked_for), {}, "asking")
        run_requests(backend, questions, log, max_attempts=max_attempts, progress=progress)
        readable = [q for q in asked_for if pictures.all_readable(q.images)]
        if asked_for and not readable:
            raise pictures.nothing_readable()
        records = [log.read(asker.key(q)) for q in readable]
    known = [(q.qid, r.text) for q, r in zip(readable, records, strict=True) if r is not None and r.text is not None]
    lines = "".join(json.dumps({"qid": qid, "answer": text}, ensure_ascii=False) + "\n" for qid, text in known)
    runs.write_text(out / ANSWERS, lines)
    model = str(described.get("model", described.get("backend")))
    summary = {
        "model": model,
        "questions": len(asked_for),
        "asked": log.appended,
        "unanswered": len(readable) - len(known),
        "unreadable": pictures.skipped,
        "not_asked": len(asked_for) - len(readable),
    }
    failed = sum(record is None or is_unanswered(record) for record in records)
    if failed:
        runs.record(out, summary=summary)
        remedy = "run the same command again to ask only these"
        raise EvidenceError(f"the backend failed on {failed} of {len(asked_for)} questions", file=out, remedy=remedy)
    runs.finish(out, [ANSWERS], summary=summary)
    return summary


class _Asker:
    """Makes the requests; pictures are read when they are needed."""

    def __init__(self, pictures: Pictures, side: int | None) -> None:
        self._pictures, self._side = pictures, side

    def key(self, question: Question) -> str:
        """Hash of all that decides the answer, but for the pictures' contents: 24 hexadecimal digits."""
        content = json.dumps([chat_row(question)["messages"], self._side])
        return hashlib.sha256(content.encode()).hexdigest()[:24]

    def requests(self, question: Question) -> list[PendingRequest]:
        """The request of a question; none where one of its pictures cannot be read."""
        if not self._pictures.can_read(question.images):
            return []
        messages = tuple(
            {"role": message["role"], "content": [self._part(part) for part in message["content"]]}
            for message in chat_row(question)["messages"]
        )
        return [PendingRequest(self.key(question), question.qid, "", messages, str)]

    def _part(self, part: dict[str, Any]) -> dict[str, Any]:
        if part["type"] == "text":
            return text_part(part["text"])
        return image_part(self._pictures.png(part["image_url"]["url"]))
