"""Rows that a vision-language model is fine-tuned on: pictures, a prompt with their places, and the wanted completion.

This is TRL's prompt + completion shape, with which the loss is on the completion alone; rows of ``messages`` would put
it on every token. Picture paths are relative in the file, so that it can be handed on, and made absolute here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgdea.errors import DataError, UsageError
from lgdea.reading import read_json, read_json_lines

REPORT = "report.json"
Message = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One training example.

    ``prompt`` and ``completion`` are chat messages whose content is a list of parts, ``{"type": "text", "text": ...}``
    or ``{"type": "image"}``, one image part for each of ``images``.
    """

    images: tuple[Path, ...]
    prompt: list[Message]
    completion: list[Message]

    @property
    def answer(self) -> str:
        """The text of the completion."""
        return "".join(part["text"] for message in self.completion for part in message["content"])


def read_rows(file: str | Path, image_root: str | Path | None = None, *, max_images: int | None = None) -> list[Row]:
    """Read and check rows.

    Args:
        file: JSON lines of ``images``, ``prompt`` and ``completion``.
        image_root: Folder of the pictures; by default what the ``report.json`` beside the file names, else its folder.
        max_images: Most pictures of a row; null: any number.

    Raises:
        UsageError: There is no such file.
        DataError: A line is no such row, a picture is not there, or there are too many; the message names the row.
    """
    file = Path(file)
    if file.is_dir():
        inside = sorted(child.name for child in file.glob("*.jsonl"))
        at = "trl.jsonl" if "trl.jsonl" in inside else inside[0] if inside else ""
        remedy = f"name the file in it: {file / at}" if at else "make one with `lgdea compare questions`"
        raise UsageError(f"is a folder{'' if at else ' without rows'}, no file of rows", file=file, remedy=remedy)
    if not file.is_file():
        raise UsageError("no such file of rows", file=file, remedy="make one with `lgdea compare questions`")
    root = _image_root(file, image_root)
    rows, there = [], set[Path]()
    for number, content in read_json_lines(file, what="file of rows"):
        row = _row(content, root, file, number)
        if max_images is not None and len(row.images) > max_images:
            raise DataError(
                f"has {len(row.images)} images, the model takes {max_images}", file=file, row=number,
                remedy="make rows of fewer references, or raise max_images if the model takes more",
            )  # fmt: skip
        for image in row.images:
            if image not in there and not image.is_file():
                raise DataError(
                    f"no such picture: {image}",
                    file=file,
                    row=number,
                    remedy="name the folder of the pictures: image_root",
                )
            there.add(image)
        rows.append(row)
    if not rows:
        raise DataError("has no rows", file=file, remedy="make some with `lgdea compare questions`")
    return rows


def _image_root(file: Path, image_root: str | Path | None) -> Path:
    if image_root is not None:
        return Path(image_root)
    report = file.parent / REPORT
    if report.is_file():
        named = read_json(report).get("image_root")
        if named:
            return Path(named)
    return file.parent


def _row(content: Mapping[str, Any], root: Path, file: Path, number: int) -> Row:
    try:
        images = content["images"]
        if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
            raise TypeError("images is not a list of paths")
        prompt, completion = (_messages(content[key], key) for key in ("prompt", "completion"))
    except (ValueError, KeyError, TypeError) as error:
        missing = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"is no row of images, prompt and completion ({missing})", file=file, row=number,
            remedy="with other shapes the loss is on the wrong tokens: write the answer as completion",
        ) from None  # fmt: skip
    places = sum(part["type"] == "image" for message in prompt for part in message["content"])
    if any(part["type"] == "image" for message in completion for part in message["content"]):
        raise DataError("has an image in its completion", file=file, row=number, remedy="put it into the prompt")
    if places != len(images) or not images:
        raise DataError(
            f"has {len(images)} images and {places} places for them in its prompt", file=file, row=number,
            remedy="give a part {'type': 'image'} for each image",
        )  # fmt: skip
    row = Row(tuple((root / image).resolve() for image in images), prompt, completion)
    if not row.answer.strip():
        raise DataError("has an empty completion", file=file, row=number, remedy="leave the row out")
    return row


def _messages(value: Any, key: str) -> list[Message]:
    """Messages whose content is a list of parts, each with the same keys, which Arrow's tables need."""
    if not isinstance(value, list) or not value:
        raise TypeError(f"{key} is not a list of messages")
    messages = []
    for message in value:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            if part["type"] not in ("text", "image"):
                raise TypeError(f"{key} has a part of type {part['type']!r}")
        plain = [{"type": part["type"], "text": "" if part["type"] == "image" else str(part["text"])} for part in parts]
        messages.append({"role": str(message["role"]), "content": plain})
    return messages
