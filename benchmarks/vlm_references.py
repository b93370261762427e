"""A vision-language model beside healthy references, the way a user goes (``python -m benchmarks.vlm_references``).

Triples as of `lgdea compare references`; a tiny Qwen3-VL trained on them, alone and beside one reference in turn, by
`lgdea compare finetune`, a phantom of strong contrast first; `lgdea compare ask` about the test part in vLLM, `lgdea
eval references` of the answers. Folders that are finished are not made again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tiny_vlm import build_tiny_vlm
from lgdea.comparison.references.choose import Strategy

FINDINGS = ("cardiomegaly", "consolidation", "mass", "pleural_effusion")
PHANTOMS: dict[str, dict[str, Any]] = {"strong": {"studies": 1000, "lesion_contrast": 3.0}, "usual": {"studies": 3000}}
ENGINE = {
    "dtype": "float",
    "max_model_len": 512,
    "max_tokens": 64,
    "engine_enforce_eager": True,
    "engine_gpu_memory_utilization": 0.3,
}
"""vLLM for a tiny model beside other work; its own default asks for nine tenths of the machine's memory."""
STEPS = {"strong": 200, "usual": 500}
"""Training steps on each phantom, in this order."""
STRATEGIES: tuple[Strategy, ...] = ("random", "demographic")
ROWS, SIDE, WIDTH = 24, 32, 96
MOST = 60
"""Test queries that show a finding, and that do not."""


def main() -> None:
    """Make what is missing, and print how the answers are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--vllm", required=True, help="lgdea in an environment with vLLM: .venv-vllm/bin/lgdea")
    arguments = parser.parse_args()
    for name in PHANTOMS:
        make_rows(arguments.out, name)
    for seed in arguments.seeds:
        read(arguments.out, seed, shlex.split(arguments.vllm))


def make_rows(out: Path, name: str) -> None:
    """A phantom with many of the findings that are asked, and the triples of its training part and test part."""
    from lgdea.api.references import make_reference_set
    from lgdea.phantom import generate
    from lgdea.runs import is_finished

    if not is_finished(out / name):
        settings: dict[str, Any] = {"size": 64, "seed": 5, "masks": False, "prevalence": dict.fromkeys(FINDINGS, 3.0)}
        generate(out / name, difficulty="easy", **settings, **PHANTOMS[name])
    for split in ("train", "test") if name == "usual" else ("train",):
        folder, most = out / f"{name}-{split}", MOST if split == "test" else None
        if not (folder / "report.json").exists():
            make_reference_set(
                out / name, folder, strategies=STRATEGIES, k=1, split=split, classes=FINDINGS, most=most
            )  # fmt: skip


def read(out: Path, seed: int, vllm: Sequence[str]) -> None:
    """Train a reader of one seed, ask it, and evaluate its answers."""
    here, folder = [sys.executable, "-m", "lgdea"], out / str(seed)
    rows = write_curriculum(out, folder / "rows.jsonl", seed)
    base = folder / "random"
    if not (base / "config.json").exists():
        lines = rows.read_text(encoding="utf-8").splitlines()[-2000:]
        words = {part["text"] for line in lines for turn in _turns(json.loads(line)) for part in turn["content"]}
        build_tiny_vlm(base, sorted(words), side=SIDE, width=WIDTH, initializer_range=0.06, seed=seed)
    settings: dict[str, Any] = {
        "max_steps": sum(STEPS.values()),
        "rows_per_step": ROWS,
        "rows_per_device": ROWS,
        "seed": seed,
    }
    settings |= {"shuffle": False, "optimizer.lr": 1e-3, "optimizer.weight_decay": 0.01}
    given = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
    run = folder / "run"
    _call(here, "compare", "finetune", "--method=full", "--model", base, "--data", rows, "--out", run, *given)
    asked = ["--backend=vllm", "--model", run / "model", "-k", 1, "--side", SIDE]
    asked += [f"--set=options.{key}={json.dumps(value)}" for key, value in ENGINE.items()]
    _call(vllm, "compare", "ask", out / "usual-test", *asked, "--out", folder / "answers")
    results = folder / "results"
    _call(here, "eval", "references", folder / "answers", out / "usual", "--set", "counts=[1]", "--out", results)
    _call(here, "eval", "compare", results, "--format=markdown", "--out", folder / "results.md", "--overwrite")
    print((folder / "results.md").read_text(encoding="utf-8"))


def write_curriculum(out: Path, file: Path, seed: int) -> Path:
    """Rows of all steps in order, yes and no drawn alike, in turn alone and beside a reference of any strategy."""
    from lgdea.comparison.references.prompt import ANSWERS, load_compare_prompt
    from lgdea.comparison.references.triples import read_triples, training_rows

    if file.exists():
        return file
    rng, lines, prompt = np.random.default_rng(seed), [], load_compare_prompt()
    for name, steps in STEPS.items():
        triples, report = read_triples(out / f"{name}-train")
        root = Path(report["image_root"]).resolve()
        kinds = [list(training_rows(triples, prompt, k)) for k in (0, 1)]
        answers = np.array([row["completion"][0]["content"][0]["text"] for row in kinds[0]])
        sides = [np.flatnonzero(answers == answer) for answer in ANSWERS]
        for n in range(steps * ROWS):
            row = kinds[n % 2][int(rng.choice(sides[int(rng.integers(2))]))]
            lines.append(json.dumps({**row, "images": [str(root / path) for path in row["images"]]}))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def _turns(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [*row["prompt"], *row["completion"]]


def _call(lgdea: Sequence[str], *arguments: object) -> None:
    subprocess.run([*lgdea, *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
