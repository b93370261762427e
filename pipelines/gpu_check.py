"""Images per second on one GPU: ViT-B/16 and a text tower of BERT-base size, a whole step beside the bare towers.

Launch, from the root of a checkout: python -m pipelines.gpu_check --out runs/gpu_check
(one GPU of 40 GB or more; random weights and a synthetic archive, so nothing is downloaded)

Every row is a JSON file of its own, ``OUT/<objective>-<setting>.json``, written as soon as it is measured. What is
there is not measured again, so the command may be stopped at any time and repeated. ``summary.json`` holds all rows:
per objective, precision and setting of the ``speed:`` block seconds a step, images a second, the ratio to forward,
backward and optimiser of the towers alone on the same batch, and the peak of the GPU's memory. A setting that fails is
in the table with its error, makes the command fail, and is tried again by the next one.
``<objective>-<setting>.txt`` lists a step's kernels.
"""

from __future__ import annotations

import time

BEGAN = time.monotonic()  # before the imports: on a cold machine they take a good part of a budget

import argparse  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Callable, Iterable, Mapping, Sequence  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402

from benchmarks.archive import PhantomSettings  # noqa: E402
from benchmarks.train import make_inputs, measure_step  # noqa: E402
from lgdea import runs  # noqa: E402
from lgdea.config import load_config  # noqa: E402
from lgdea.errors import LgdeaError, UsageError  # noqa: E402
from lgdea.pretraining.config import PretrainConfig  # noqa: E402
from lgdea.pretraining.inputs import read_inputs  # noqa: E402
from lgdea.shipped import shipped  # noqa: E402

TOWERS = [
    "image.tower=vit_base_patch16_224",
    "image.pretrained=false",
    "text.tower=small-bert",
    "text.pretrained=false",
    "text.hidden=768",
    "text.layers=12",
    "trainer.strategy=auto",
    "validation.max_images=0",
    "schedule.evidence_share=0",
]
SETTINGS = {
    "bf16": ["trainer.precision=bf16-mixed", "speed.compile=false"],
    "bf16-compiled": ["trainer.precision=bf16-mixed", "speed.compile=true"],
    "tf32": ["trainer.precision=32-true", "speed.compile=false"],
    "float32": ["trainer.precision=32-true", "speed.compile=false", "speed.tf32=false"],
}
"""What is worth most comes first."""
COLUMNS = {
    "seconds": "s a step",
    "images_per_second": "images/s",
    "ratio": "of the bare towers",
    "augmentation_seconds": "augmentation, s",
    "ema_seconds": "moving average, s",
    "busy_seconds": "GPU busy, s",
    "bare_busy_seconds": "in the bare towers, s",
    "waits": "waits",
    "peak_gib": "peak GiB",
    "error": "error",
}


class Rows:
    """Measurements as small JSON files: what is there is not measured again, and after a while nothing is wanted.

    Args:
        folder: One file per row.
        budget: Seconds since the program began after which no row is wanted; None for no limit.
        settings: What all rows of the folder share.

    Raises:
        UsageError: The folder holds rows of other settings.
    """

    def __init__(self, folder: Path, budget: float | None, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        file, text = folder / "settings.json", json.dumps(settings, indent=2)
        if file.exists() and file.read_text(encoding="utf-8") != text:
            raise UsageError("has other settings than asked for", file=file, remedy="choose another --out")
        runs.write_text(file, text)
        self._began = BEGAN  # the program's, also in a process that it starts
        self._until = math.inf if budget is None else BEGAN + budget

    def file(self, name: str) -> Path:
        """Where a row is, or will be."""
        return self.folder / f"{name}.json"

    def wants(self, name: str) -> bool:
        """Whether a row is missing, or failed, and there is time for it."""
        return not self._is_measured(name) and time.monotonic() < self._until

    def _is_measured(self, name: str) -> bool:
        return any("error" not in row for row in self.read([name]).values())

    def measure(self, name: str, work: Callable[[], Mapping[str, Any]]) -> None:
        """Measure a row that is missing, and keep it with what it was measured on; what fails leaves its error."""
        if self._is_measured(name):
            return
        began = time.monotonic()
        try:
            row = dict(work())
        except Exception as error:
            traceback.print_exc()
            row = {"error": " ".join(str(error).split())[:300]}
        if kernels := row.pop("kernels", None):
            runs.write_text(self.file(name).with_suffix(".txt"), kernels)
        row["row_seconds"] = round(time.monotonic() - began, 1)
        runs.write_json(self.file(name), {**row, **machine()})
        print(f"{time.monotonic() - self._began:.0f} s: {name}: {json.dumps(row)}", flush=True)

    def read(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The rows that are there."""
        files = {name: self.file(name) for name in names}
        return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}


def machine() -> dict[str, Any]:
    """What is measured on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {"device": device, "cores": os.cpu_count(), "torch": torch.__version__}


def listed(*choices: str) -> Callable[[str], list[str]]:
    """A type for :mod:`argparse`: some of ``choices``, separated by commas."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        if wrong := [name for name in names if name not in choices]:
            raise argparse.ArgumentTypeError(f"no {wrong[0]!r}; choose from {', '.join(choices)}")
        return names

    return parse


def require_gpu(parser: argparse.ArgumentParser, accelerator: str) -> None:
    """End before any work where a GPU is asked for and none is there."""
    if accelerator != "cpu" and not torch.cuda.is_available():
        parser.error("no GPU here; --accelerator cpu tries the script without one")


def fail_for_errors(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """End with exit code 1 if a row holds an error."""
    if failed := [name for name, row in rows.items() if "error" in row]:
        raise SystemExit(f"failed: {', '.join(failed)}; repeat the command to try again")


def in_one_line(main: Callable[[], None]) -> None:
    """Run a script; what its user can mend is one line."""
    try:
        main()
    except LgdeaError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def tidy() -> None:
    """Free what a row has left on the GPU, compiled kernels included, so that the next one's peak is its own."""
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def markdown(rows: Mapping[str, Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A table of those ``columns`` that any row has."""
    shown = {key: title for key, title in columns.items() if any(key in row for row in rows.values())}
    lines: list[Sequence[str]] = [["", *shown.values()], ["---", *["---:"] * len(shown)]]
    lines += [[name, *(_cell(row.get(key)) for key in shown)] for name, row in rows.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """The options that this script and ``gpu_proof`` share."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results, a few KB")
    parser.add_argument("--work", type=Path, help="folder of archive, cache and models; OUT/work by default")
    parser.add_argument("--budget", type=float, help="begin nothing after so many seconds, imports included")
    parser.add_argument("--batch", type=int, default=128, help="images per step")
    parser.add_argument("--size", type=int, default=224, help="side of the pictures in pixels")
    parser.add_argument("--accelerator", default="gpu", help="cpu tries the script without a GPU")
    parser.add_argument("--set", action="append", default=[], help="override one key of the configuration")
    return parser


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that rows of one folder must share."""
    free = ("out", "work", "budget", "settings", "parts", "objectives", "fractions", "nodes")
    return {name: value for name, value in vars(arguments).items() if name not in free}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--steps", type=int, default=20, help="batches that are measured")
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--settings", type=listed(*SETTINGS), default=list(SETTINGS), help="which, in their order")
    arguments = parser.parse_args()
    require_gpu(parser, arguments.accelerator)
    rows = Rows(arguments.out, arguments.budget, settings_of(arguments))
    wanted = [(f"{o}-{s}", o, s) for s in arguments.settings for o in ("lgdea", "clip")]
    names = [name for name, *_ in wanted]
    if any(map(rows.wants, names)):
        file = Path(str(shipped("configs"))) / "pretrain" / "vitb16-bert.yaml"
        phantom = PhantomSettings(studies=arguments.studies, size=arguments.size, difficulty="easy")
        work = arguments.work or arguments.out / "work"
        shared = [
            f"data.batch_size_per_device={arguments.batch}",
            f"trainer.accelerator={arguments.accelerator}",
            f"image.size={arguments.size}",
            make_inputs(phantom, work),
        ]

        def config(objective: str, setting: str) -> PretrainConfig:
            chosen = [f"objective.name={objective}", *TOWERS, *shared, *SETTINGS[setting], *arguments.set]
            return load_config(PretrainConfig, [file], chosen)

        inputs = read_inputs(config("lgdea", "bf16"), work)
        for name, objective, setting in wanted:
            if rows.wants(name):
                rows.measure(name, partial(measure_step, config(objective, setting), inputs, arguments.steps))
                tidy()
    done = rows.read(names)
    runs.write_json(arguments.out / "summary.json", {**machine(), "batch": arguments.batch, "rows": done})
    print(markdown(done, COLUMNS))
    if left := [name for name in names if name not in done]:
        print(f"\nleft: {', '.join(left)}; repeat the command to go on")
    fail_for_errors(done)


if __name__ == "__main__":
    in_one_line(main)
