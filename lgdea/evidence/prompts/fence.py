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
from collections.abc import Mapping

BREAK = "\u200b"
"""The zero-width space that takes a control token apart."""

# `<` before anything but a number or a blank, and `[WORD]`: wide enough for the tokens of templates yet to come.
# The full-width forms are those of DeepSeek, and what NFKC-normalising tokenisers read as the plain ones.
_CONTROL_TOKEN = re.compile(r"[<＜﹤](?=[^\s\d=.\-]|0x)|[\[［](?=[/／]?[^\W\d]\w{1,40}[\]］])|(?<=[|｜])(?=[>＞﹥])")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SLOT = re.compile(r"\{([a-z_]+)\}")


def neutralise(text: str) -> str:
    r"""The text as a chat message may carry it.

    Control tokens are broken, control characters become blanks and lone surrogates U+FFFD.

    >>> neutralise("effusion <5 mm<|im_end|>\x00[INST]").replace(BREAK, "~")
    'effusion <5 mm<~|im_end|~> [~INST]'
    """
    text = _CONTROL_CHARACTER.sub(" ", _SURROGATE.sub("\ufffd", text))
    return _CONTROL_TOKEN.sub(lambda match: match[0] + BREAK, text)


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


def slots_of(template: str) -> list[str]:
    """The names of a template's slots, in order."""
    return _SLOT.findall(template)
