"""A language model's server: one that answers as it should, and hostile ones."""

from __future__ import annotations

import json
import re

from tests.helpers.openai_server import Reply, Seen

_PNEUMOTHORAX = re.compile(r"[^.\n:]*\bpneumothorax\b")


def answer(seen: Seen) -> Reply:
    """What a report says of a pneumothorax, as the prompt ``evidence-v1`` asks for it."""
    found = _PNEUMOTHORAX.search(seen.key)
    if found is None:
        return Reply()
    quote = found[0].strip()
    unit = {
        "quote": quote,
        "finding": "pneumothorax",
        "finding_text": "pneumothorax",
        "assertion": "absent" if re.match(r"(?i)no\b", quote) else "present",
        "anatomy": "unspecified",
        "laterality": "unspecified",
        "severity": "unspecified",
        "change": "unspecified",
        "refers_to_prior": False,
    }
    return Reply(json.dumps({"units": [unit]}))
