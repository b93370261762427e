"""A report is data: nothing in it may end the quotation it stands in, or the chat turn.

Two things could. A chat template writes turns with control tokens (``<|im_end|>``, ``[INST]``, ``</s>``), and servers
tokenise those inside a message's content as if the template had written them. And a user template marks where the
report ends, which a report could imitate. So control tokens are taken apart by a zero-width space, and the mark is made
from the report's own hash, so that no text can contain the mark that will surround it. The aligner passes over what is
put in here; offsets are always into the raw text.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping

BREAK = "\u200b"
"""The zero-width space that takes a control token apart."""

# `<` before anything but a number or a blank, and `[WORD]`: wide enough for the tokens of templates yet to come.
# The full-width forms are those of DeepSeek, and what NFKC-normalising tokenisers read as the plain ones.
_CONTROL_TOKEN = re.compile(r"[<＜﹤](?=[^\s\d=.\-]|0x)|[\[［](?=/?[A-Za-z_]{2,40}[\]］])|(?<=[|｜])(?=[>＞﹥])")
_SLOT = re.compile(r"\{([a-z_]+)\}")
_KEPT = frozenset("\n\r\t")


def neutralise(text: str) -> str:
    r"""The text as a chat message may carry it.

    Control tokens are broken, control characters become blanks and lone surrogates U+FFFD.

    >>> neutralise("effusion <5 mm<|im_end|>\x00[INST]").replace(BREAK, "~")
    'effusion <5 mm<~|im_end|~> [~INST]'
    """
    return _CONTROL_TOKEN.sub(lambda match: match[0] + BREAK, clean(text))


def clean(text: str) -> str:
    """Control characters but tab and line ends become blanks, lone surrogates U+FFFD; the length stays."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_clean(c) if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def fence(text: str) -> str:
    """A word that stands nowhere in ``text``, the same for the same text."""
    seed = text.encode("utf-8", "replace")
    while True:
        seed = hashlib.sha256(seed).hexdigest()[:8].encode()
        word = f"={seed.decode()}="
        if word not in text:
            return word


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put ``values`` into the slots of a template in one pass: a slot inside a value stays as it is."""
    return _SLOT.sub(lambda match: values.get(match[1], match[0]), template)


def _clean(character: str) -> str:
    if character in _KEPT:
        return character
    return "\ufffd" if unicodedata.category(character) == "Cs" else " "
