"""Files of a question set: neutral rows, rows for TRL, chat messages for an OpenAI-compatible server, the report.

Picture paths are relative to the archive's pictures in every file, so a set can be handed on; they are made absolute
when it is loaded, with the root at hand.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lgdea import runs
from lgdea.comparison.questions.baselines import Baseline
from lgdea.comparison.questions.build import describe
from lgdea.comparison.questions.question import Question
from lgdea.errors import DataError, UsageError
from lgdea.manifests import check_file, read_manifest, seal
from lgdea.reading import read_json_lines

QUESTIONS, TRL, CHAT, REPORT = "questions.jsonl", "trl.jsonl", "chat.jsonl", "report.json"
MI_CXR = "micxr.jsonl"
FILES = (QUESTIONS, TRL, CHAT, MI_CXR, REPORT)
MADE_BY = "lgdea compare questions"


def write_questions(
    folder: str | Path,
    questions: list[Question],
    found: list[Baseline],
    *,
    image_root: Path,
    facts: dict[str, Any],
    timelines: list[dict[str, Any]] | None = None,
) -> Path:
    """Write a set in the place of one that is there; ``report.json`` comes last.

    Args:
        folder: Folder of the set, made if need be.
        questions: The questions.
        found: Their baselines.
        image_root: Folder to which picture paths are relative.
        facts: What is to be known of how the set was made.
        timelines: Rows of questions about five visits; None for none.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (REPORT, MI_CXR):  # of an earlier set: one says that it is whole, the other may not be made again
        (folder / name).unlink(missing_ok=True)
    _lines(folder / QUESTIONS, (question.to_json() for question in questions))
    _lines(folder / TRL, map(trl_row, questions))
    _lines(folder / CHAT, map(chat_row, questions))
    if timelines is not None:
        _lines(folder / MI_CXR, timelines)
    report = {
        "image_root": str(image_root),
        "questions": len(questions),
        "counts": describe(questions),
        "baselines": [baseline.to_json() for baseline in found],
        **facts,
    }
    made = [QUESTIONS, TRL, CHAT, *([] if timelines is None else [MI_CXR])]
    runs.write_json(folder / REPORT, seal(report, folder, made))
    return folder


def trl_row(question: Question) -> dict[str, Any]:
    """One row of TRL's prompt + completion shape: the loss is on the answer alone; pictures have places."""
    content: list[dict[str, str]] = []
    for number in range(1, len(question.images) + 1):
        content += [{"type": "text", "text": _caption(question, number)}, {"type": "image", "text": ""}]
    content.append({"type": "text", "text": question.prompt})
    return {
        "qid": question.qid,
        "images": question.images,
        "prompt": [{"role": "user", "content": content}],
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": completion(question)}]}],
    }


def chat_row(question: Question) -> dict[str, Any]:
    """One request of an OpenAI-compatible server; :func:`load_chat` puts the pictures in."""
    content: list[dict[str, Any]] = []
    for number, image in enumerate(question.images, start=1):
        content += [
            {"type": "text", "text": _caption(question, number)},
            {"type": "image_url", "image_url": {"url": image}},
        ]
    content.append({"type": "text", "text": question.prompt})
    return {"qid": question.qid, "messages": [{"role": "user", "content": content}], "answer": question.answer}


def completion(question: Question) -> str:
    """The answer and, on a line of its own, the reason."""
    return f"{question.answer}\n{question.reason}"


def read_questions(folder: str | Path) -> list[Question]:
    """Read a set.

    Raises:
        UsageError: There is none.
        DataError: A line is no question.
    """
    file = _file(folder, QUESTIONS)
    questions = []
    for row, content in read_json_lines(file, what="set of questions"):
        try:
            questions.append(Question(**content))
        except (ValueError, TypeError) as error:
            raise DataError(f"is not a question ({error})", file=file, row=row, remedy="make the set anew") from None
    return questions


def load_trl(folder: str | Path, image_root: str | Path | None = None) -> list[dict[str, Any]]:
    """Rows for TRL with absolute picture paths.

    Args:
        folder: Folder of a set.
        image_root: Where its pictures stand; where they stood when it was made, by default.

    Raises:
        UsageError: There is no set.
        DataError: A picture is not there.
    """
    root = _root(folder, image_root)
    rows = [row for _, row in read_json_lines(_file(folder, TRL))]
    return [row | {"images": [str(_picture(root, image)) for image in row["images"]]} for row in rows]


def load_chat(folder: str | Path, image_root: str | Path | None = None) -> list[dict[str, Any]]:
    """Requests for an OpenAI-compatible server with the pictures as data URLs; arguments as of :func:`load_trl`."""
    root = _root(folder, image_root)
    rows = [row for _, row in read_json_lines(_file(folder, CHAT))]
    for row in rows:
        for part in row["messages"][0]["content"]:
            if part["type"] == "image_url":
                part["image_url"]["url"] = _data_url(_picture(root, part["image_url"]["url"]))
    return rows


def _caption(question: Question, number: int) -> str:
    if question.kind != "change":
        return f"Image {number}, of patient {number}:"
    return f"Image {number} ({'earlier' if number == 1 else 'later'} study of the same patient):"


def _data_url(file: Path) -> str:
    kind = mimetypes.guess_type(file.name)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def image_root_of(report: Path) -> Path:
    """The folder of pictures that the report of a set names.

    Raises:
        DataError: It names none.
    """
    content = read_manifest(report, what="report")
    if not isinstance(content.get("image_root"), str):
        raise DataError("names no image_root", file=report, remedy="make the set anew")
    return Path(content["image_root"])


def _root(folder: str | Path, image_root: str | Path | None) -> Path:
    if image_root is not None:
        return Path(image_root)
    return image_root_of(_file(folder, REPORT))


def _picture(root: Path, image: str) -> Path:
    file = (root / image).resolve()
    if not file.is_file():
        raise DataError("no such picture", file=file, remedy="name the folder of the pictures: image_root")
    return file


def _file(folder: str | Path, name: str) -> Path:
    file = Path(folder) / name
    if not file.is_file():
        raise UsageError("holds no question set", file=folder, remedy=f"make one with `{MADE_BY}`")
    report = file.with_name(REPORT)
    if name != REPORT and report.is_file():
        check_file(file, read_manifest(report, what="report"), file.parent)
    return file


def _lines(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    runs.write_text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
