"""Interval change on the phantom: a head per seed, with its baselines (``python -m benchmarks.change``).

One JSON per run in ``OUT/results``; a run that is there is not done again. The table is made of what is there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from benchmarks.cells import format_metric
from lgdea.config import load_config
from lgdea.shipped import config_files

METRICS = (
    "balanced_accuracy",
    "balanced_accuracy_difference",
    "balanced_accuracy_chance",
    "swap_flipped",
    "set_accuracy",
)


def run_seed(arguments: argparse.Namespace, seed: int) -> None:
    """Train and evaluate the head of one seed unless its result is there."""
    import lgdea
    from lgdea.comparison.change.config import ChangeTrainingConfig
    from lgdea.comparison.change.train import train_change_head

    file = arguments.out / "results" / f"{arguments.name}-{seed}.json"
    if file.exists():
        return
    data = {"archive": arguments.archive, "evidence": arguments.evidence, "pairing": arguments.pairing}
    given = {"model": arguments.model, "seed": seed, "data": data | {"image_cache": arguments.out / "cache"}}
    config = load_config(ChangeTrainingConfig, config_files("compare", ["change"]), [given, *arguments.set])
    began = time.monotonic()
    model = train_change_head(config, arguments.out / "runs" / f"{arguments.name}-{seed}")
    seconds = time.monotonic() - began
    result = lgdea.evaluate(model, arguments.archive, ["change"])["change"]
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"seed": seed, "steps": config.max_steps, "training_seconds": round(seconds), **result.to_dict()}
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def table(folder: Path) -> str:
    """Markdown of all results."""
    lines = ["| run | steps | " + " | ".join(METRICS) + " |", "|---" * (len(METRICS) + 2) + "|"]
    for file in sorted(folder.glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        cells = [format_metric(content["metrics"].get(metric)) for metric in METRICS]
        lines.append(f"| {file.stem} | {content['steps']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--evidence", type=Path, required=True)
    parser.add_argument("--pairing", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default="change")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[])
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        run_seed(arguments, seed)
    print(table(arguments.out / "results"))


if __name__ == "__main__":
    main()
