"""The model card: what the model is, what it saw, how to use it, what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

USE = """```python
import lgdea

model = lgdea.load_model("path/to/this/folder")
model.encode_image("chest.png")                            # (1, D), to compare with reports
model.encode_text(["Small left pleural effusion."])        # (1, D)
model.heat_map("chest.png", "left pleural effusion")       # (H, W) in source pixels, NaN outside the crop
model.evidence("chest.png", top=5)                         # the most probable findings
```"""

LIMITS = """For research only. It is no medical device: do not use it for diagnosis, triage or decisions about
a patient. Scores are not calibrated for archives other than the training archive.
Left and right are always the patient's."""


def model_card(config: Mapping[str, Any], weights: Mapping[str, Tensor], fields: Mapping[str, Any]) -> str:
    """The card as Markdown with a YAML head that the Hugging Face hub reads.

    Args:
        config: The content of config.json.
        weights: All tensors, for their count.
        fields: Sections to add, title -> text or mapping (``data``, ``training``, ``results``, ...).
    """
    settings, image, text = config["model"], config["image_tower"], config["text_tower"]
    facts = {
        "image tower": f"{image['name']}, {image['image_size']} px, stride {image['stride']}",
        "text tower": f"{text['name']} ({text['pooling']} pooling)",
        "shared dimension": settings["dim"],
        "lesion queries": settings["lesion_queries"],
        "prototypes": settings["prototypes"],
        "scoring": settings["scoring"],
        "parameters": f"{sum(t.numel() for t in weights.values() if t.is_floating_point()):,}",
        "lgdea": config["lgdea_version"],
    }
    title = str(fields.get("name", "lgdea model"))
    parts = [
        "---\nlibrary_name: lgdea\ntags: [radiology, chest-x-ray, vision-language]\n---",
        f"# {title}",
        "Image-text model pretrained on diagnostic evidence with lgdea.",
        _table(facts),
        "## Use",
        USE,
    ]
    for key, value in fields.items():
        if key != "name" and value is not None:
            parts += [
                f"## {key.replace('_', ' ').capitalize()}",
                _table(value) if isinstance(value, Mapping) else str(value),
            ]
    parts += ["## Limits", LIMITS]
    return "\n\n".join(parts) + "\n"


def _table(rows: Mapping[str, Any]) -> str:
    cells = [f"| {key} | {str(value).replace('|', '/')} |" for key, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *cells])
