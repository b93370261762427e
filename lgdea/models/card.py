"""The model card: what the model is, what it saw, how good it was, how to use it, what it must not be used for."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TAGS = ("radiology", "medical", "vision-language")
PIPELINE = "zero-shot-image-classification"
"""What the Hub files the model under; its name of the one task that all models of lgdea can do."""
TASK_TYPES = {"zero-shot": PIPELINE, "retrieval": "image-text-retrieval", "grounding": "phrase-grounding"}
"""Task to the Hub's name for it, where another is usual; others keep their own."""
MARK = re.compile(r"\n<!-- Written by lgdea; sha256 of the text above: ([0-9a-f]{64}) -->\n$")

USE = """```python
import lgdea

model = lgdea.load_model("path/to/this/folder")            # or ORG/NAME of the Hugging Face Hub
model.encode_image("chest.png")                            # (1, D), to compare with reports
model.encode_text(["Small left pleural effusion."])        # (1, D)
model.heat_map("chest.png", "left pleural effusion")       # (H, W) in source pixels, NaN outside the crop
model.evidence("chest.png", top=5)                         # the most probable findings
```"""

LIMITS = """For research only. It is no medical device: do not use it for diagnosis, triage or decisions about
a patient. Scores are not calibrated for archives other than the training archive, and what was measured on one archive
need not hold on another: devices, views, patients and reporting habits differ. Left and right are always the
patient's."""

WORDS = """The tokenizer was trained on the training reports and holds words of them. Where reports carry names, look
through `tokenizer.json` before you give the model away."""

NO_LICENSE = "None has been given yet: ask those who trained the model before you use it."

NO_METRICS = """None here. `lgdea eval TASK MODEL ARCHIVE --out RESULTS` measures, and
`lgdea model card MODEL --results RESULTS` adds what it found."""


@dataclass(frozen=True)
class Metric:
    """One measured number of a card, with its 95% interval and how many items are behind it."""

    task: str
    archive: str
    split: str
    name: str
    value: float
    low: float
    high: float
    n: int
    definition: str


def model_card(
    config: Mapping[str, Any],
    parameters: int,
    fields: Mapping[str, Any],
    *,
    license: str = "",
    tags: Sequence[str] = (),
    metrics: Sequence[Metric] = (),
) -> str:
    """Write the card as Markdown with a YAML head that the Hugging Face Hub reads.

    Args:
        config: The content of config.json.
        parameters: Number of weights.
        fields: Sections to add, title -> text or mapping (``data``, ``training``, ...).
        license: Identifier of the Hub's list, or ``other``; empty: none was given.
        tags: Tags beside the usual ones.
        metrics: What was measured.
    """
    title = _line(fields.get("name", "lgdea model"))
    parts = [
        f"---\n{_head(title, license, tags, metrics)}\n---",
        f"# {title}",
        "Image-text model pretrained on diagnostic evidence with lgdea. **Not for diagnosis.**",
        _table(_facts(config, parameters)),
        "## Use",
        USE,
    ]
    for key, value in fields.items():
        if key != "name" and value is not None:
            title = key.replace("_", " ")
            parts += [f"## {title[:1].upper()}{title[1:]}", _table(value) if isinstance(value, Mapping) else str(value)]
    parts += ["## Metrics", _metrics(metrics) if metrics else NO_METRICS]
    parts += ["## License", f"`{license}`" if license else NO_LICENSE]
    parts += ["## Limits", LIMITS]
    if config["text_tower"]["name"] == "small-bert":
        parts.append(WORDS)
    text = "\n\n".join(parts) + "\n"
    return f"{text}\n<!-- Written by lgdea; sha256 of the text above: {_digest(text)} -->\n"


def is_edited(card: Path) -> bool:
    """Tell whether a person has changed a card, or written it."""
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    found = MARK.search(text)
    return bool(text) and (found is None or _digest(text[: found.start()]) != found[1])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _head(title: str, license: str, tags: Sequence[str], metrics: Sequence[Metric]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=TASK_TYPES.get(m.task, m.task),
            task_name=m.task,
            dataset_type=re.sub(r"[^a-z0-9]+", "-", m.archive.lower()).strip("-") or "archive",
            dataset_name=m.archive,
            dataset_split=m.split,
            metric_type=m.name,
            metric_name=f"{m.name} ({m.definition})",
            metric_value=m.value,
            metric_args={"low": _number(m.low), "high": _number(m.high), "n": m.n},
        )
        for m in metrics
    ]
    data = ModelCardData(
        license=license or None,
        library_name="lgdea",
        pipeline_tag=PIPELINE,
        tags=list(dict.fromkeys([*TAGS, *tags])),
        model_name=title if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml(line_break="\n"))


def _facts(config: Mapping[str, Any], parameters: int) -> dict[str, Any]:
    settings, image, text = config["model"], config["image_tower"], config["text_tower"]
    return {
        "image tower": f"{image['name']}, {image['image_size']} px, stride {image['stride']}",
        "text tower": f"{text['name']} ({text['pooling']} pooling)",
        "shared dimension": settings["dim"],
        "lesion queries": settings["lesion_queries"],
        "prototypes": settings["prototypes"],
        "scoring": settings["scoring"],
        "findings": ", ".join(settings.get("findings", ())) or "all of the vocabulary",
        "parameters": f"{parameters:,}",
        "lgdea": config["lgdea_version"],
    }


def _metrics(metrics: Sequence[Metric]) -> str:
    rows = ["| task | archive (part) | metric | value | 95% interval | n |", "|---|---|---|---|---|---|"]
    for m in metrics:
        interval = f"{m.low:.3f} to {m.high:.3f}" if math.isfinite(m.low) and math.isfinite(m.high) else "-"
        cells = [m.task, f"{m.archive} ({m.split})", m.name, f"{m.value:.3f}", interval, f"{m.n:,}"]
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    ids = ", ".join(sorted({m.definition for m in metrics}))
    return "\n".join(rows) + f"\n\nIntervals: 95% percentile bootstrap over patients. Definitions: {ids}."


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {_cell(key)} | {_cell(value)} |" for key, value in rows.items())])


def _cell(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _line(value)
    return text.replace("|", "/")


def _line(value: Any) -> str:
    return " ".join(str(value).split())


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
