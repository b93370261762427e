"""Load one model under several versions of transformers and compare what it computes.

    python pipelines/transformers_versions.py MODEL PYTHON [PYTHON ...]

MODEL is a model folder or ORG/NAME of the Hugging Face Hub; each PYTHON is the interpreter of an environment that has
lgdea and a version of transformers. The first is what the others are compared with: embeddings of two texts and of a
picture, and a heat map. Leaves with 1 where one differs by more than 1e-5.
"""

from __future__ import annotations

import json
import subprocess
import sys

TOLERANCE = 1e-5
LOAD = """
import json, sys
import huggingface_hub, numpy, tokenizers, torch, transformers
import lgdea

model = lgdea.load_model(sys.argv[1])
picture = numpy.random.default_rng(0).random((300, 240)).astype(numpy.float32)
texts = ["Moderate left pleural effusion, new since the prior study.", "No pneumothorax."]
found = {
    "texts": model.encode_text(texts).tolist(),
    "image": model.encode_image(picture).tolist(),
    "heat map": numpy.nan_to_num(model.heat_map(picture, "left pleural effusion"), nan=-9).tolist(),
}
versions = {m.__name__: m.__version__ for m in (transformers, tokenizers, huggingface_hub, torch)}
print(json.dumps({"versions": versions, "model": model.name, "found": found}))
"""


def main(model: str, pythons: list[str]) -> int:
    """Print one line for each environment."""
    first, worst = None, 0.0
    for python in pythons:
        done = subprocess.run([python, "-c", LOAD, model], capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"{python}: {last}")
            worst = float("inf")
            continue
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        first = first or answer["found"]
        differences = {key: _largest(first[key], answer["found"][key]) for key in first}
        worst = max(worst, *differences.values())
        versions = ", ".join(f"{name} {version}" for name, version in answer["versions"].items())
        print(f"{versions}: " + ", ".join(f"{key} {value:.1g}" for key, value in differences.items()))
    return int(worst > TOLERANCE)


def _largest(one: list, other: list) -> float:  # type: ignore[type-arg]
    if isinstance(one, list):
        return max((_largest(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    return abs(one - other)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
