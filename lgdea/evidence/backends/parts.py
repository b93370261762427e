"""Images in chat messages: one neutral part, which each backend turns into what its model takes.

A message's ``content`` is a text, or a list of parts in the order in which the model sees them::

    {"type": "text", "text": "Image 1 is healthy."}
    {"type": "image", "png": b"..."}
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any

Message = Mapping[str, Any]
Part = dict[str, Any]


def text_part(text: str) -> Part:
    """A text among images.

    Args:
        text: What it says.
    """
    return {"type": "text", "text": text}


def image_part(png: bytes) -> Part:
    """An image among texts.

    Args:
        png: The picture as a PNG file.
    """
    return {"type": "image", "png": png}


def count_images(messages: Iterable[Message]) -> int:
    """Number of images in chat messages.

    >>> count_images([{"role": "user", "content": [text_part("Two:"), image_part(b""), image_part(b"")]}])
    2
    """
    return sum(part["type"] == "image" for message in messages for part in _parts(message))


def with_urls(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages in OpenAI's form: images as data URLs, base64."""

    def url(part: Part) -> Part:
        data = base64.b64encode(part["png"]).decode()
        return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}

    return _replace(messages, url)


def with_pictures(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages in the form of vLLM's offline engine: images as PIL pictures, RGB."""
    from PIL import Image

    def picture(part: Part) -> Part:
        return {"type": "image_pil", "image_pil": Image.open(BytesIO(part["png"])).convert("RGB")}

    return _replace(messages, picture)


def _parts(message: Message) -> list[Part]:
    content = message["content"]
    return [] if isinstance(content, str) else list(content)


def _replace(messages: Iterable[Message], change: Callable[[Part], Part]) -> list[dict[str, Any]]:
    found = []
    for message in messages:
        if isinstance(message["content"], str):
            found.append(dict(message))
        else:
            parts = [change(part) if part["type"] == "image" else part for part in message["content"]]
            found.append({**message, "content": parts})
    return found
