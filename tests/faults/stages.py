"""The stages that are disturbed, their inputs, and what an undisturbed run of each writes."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.faults.process import Fault, run
from tests.helpers.openai_server import OpenAIServer

STUDIES = 40
STEPS = 4
DISTURBED = ("build", "extract", "extract http", "pretrain", "frozen", "embed", "eval", "compare")
UNSTABLE = {".ckpt"}
"""Files that hold how often a run was stopped; what they are for is compared as the model."""
_OF_A_PROCESS = (":.summary.resumed", ":.summary.asked", ":.summary.verified", ":.summary.seconds")
"""Values that tell what the last process did and how long it took, and not what the folder holds."""
_SMALL = ["data.batch_size_per_device=8", "data.unpaired_reports_per_device=4", "image.size=32", "text.hidden=32"]
_RUN = [
    "--set",
    f"trainer.max_steps={STEPS}",
    "--set",
    "trainer.log_every_n_steps=1",
    "--set",
    "checkpoint.every_steps=2",
]


@dataclass(frozen=True)
class Stage:
    """A command whose last argument is the folder that it writes.

    Attributes:
        name: Its name.
        command: Arguments without the folder.
    """

    name: str
    command: tuple[str, ...]

    def into(self, folder: Path) -> list[str]:
        """The whole command."""
        return [*self.command, "--out", str(folder)]


class Workspace:
    """Inputs of all stages, made once.

    Args:
        folder: Where they stand; what is there already is used.
        server: Answers ``extract http``.
        disturbed: Names of the stages that are killed, signalled and so on.
    """

    def __init__(self, folder: Path, server: OpenAIServer, disturbed: Sequence[str] = DISTURBED) -> None:
        self.folder, self.server, self.disturbed = folder, server, disturbed
        self.inputs = folder / "inputs"
        self.trials = folder / "trials"

    def build(self) -> None:
        """Make the inputs."""
        made = self.inputs / "_made"
        if made.exists():
            return
        shutil.rmtree(self.inputs, ignore_errors=True)
        self.inputs.mkdir(parents=True)
        for name in ("build", "extract", "extract http", "pair", "pretrain", "frozen", "embed", "eval", "compare"):
            self._make(name)
        made.touch()

    def _make(self, name: str) -> None:
        if name == "pair":
            archive, out = self.inputs / "build", self.inputs / "pairing.parquet"
            command = ["data", "pair", str(archive), "--fraction", "0.5", "--out", str(out)]
        else:
            command = self.stages[name].into(self.inputs / name)
        ended = run(command, self.folder / "log" / name)
        if ended.code:
            raise RuntimeError(f"the undisturbed {name} failed: {ended.err}")

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Every stage by name; each reads what the ones before it wrote into ``inputs``."""
        inputs = self.inputs
        archive, evidence, model = inputs / "build", inputs / "extract", inputs / "pretrain" / "model"
        data = [f"data.archive={archive}", f"data.evidence={evidence}", f"data.pairing={inputs / 'pairing.parquet'}"]
        sets = [part for setting in [*data, "validation.max_images=0", *_SMALL] for part in ("--set", setting)]
        frozen = ["image.freeze=all", "image.cached_views=1", "text.freeze=all", "trainer.accumulate_grad_batches=2"]
        commands = {
            "build": ["data", "build", "phantom", "default", *_options(studies=STUDIES, size=64, workers=1)],
            "extract": ["extract", str(archive), "--backend", "rules"],
            "extract http": [
                "extract",
                str(archive),
                "--backend",
                "http",
                "--url",
                self.server.url,
                "--prompt",
                "evidence-v1",
            ],
            "pretrain": ["pretrain", "--config", "demo-lgdea", *sets, *_RUN],
            "frozen": ["pretrain", "--config", "demo-clip", *sets, *_RUN, *_sets(frozen)],
            "embed": ["embed", str(model), str(archive)],
            "eval": ["eval", "zero-shot", str(model), str(archive), "--set", "min_positive=1"],
            "compare": ["compare", "train", str(model), str(archive), "--config", "entity-cpu", *_RUN, "--evidence"],
        }
        commands["compare"].append(str(evidence))
        return {name: Stage(name, tuple(command)) for name, command in commands.items()}

    def undisturbed(self, name: str) -> tuple[dict[str, str], float, int]:
        """What two undisturbed runs have in common, the seconds of one, and the number of its writes."""
        file = self.folder / "undisturbed" / f"{name}.json"
        if not file.exists():
            seen, seconds, writes = [], 0.0, 0
            for turn in range(2):
                time.sleep(1.1 * turn)  # so that times of a second differ, and are not compared
                out = self.trials / f"whole-{name}-{turn}" / "out"
                shutil.rmtree(out.parent, ignore_errors=True)
                ended = run(self.stages[name].into(out), out.parent / "log", fault=Fault(str(out.parent / "out")))
                if ended.code:
                    raise RuntimeError(f"the undisturbed {name} failed: {ended.err}")
                seen.append(observe(out))
                seconds, writes = ended.seconds, ended.writes
                shutil.rmtree(out.parent)
            same = {key: value for key, value in seen[0].items() if seen[1].get(key) == value}
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps([same, seconds, writes]))
        same, seconds, writes = json.loads(file.read_text())
        return same, seconds, writes


def _options(**options: object) -> list[str]:
    return [part for name, value in options.items() for part in ("--option", f"{name}={value}")]


def _sets(settings: list[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def observe(folder: Path) -> dict[str, str]:
    """Everything in a folder by name: a file's hash, each value of a JSON file, each row of a CSV file."""
    found: dict[str, str] = {}
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        name = file.relative_to(folder).as_posix()
        if file.suffix in UNSTABLE:
            found[name] = ""
        elif file.suffix == ".jsonl":
            found[name] = _hash(b"".join(sorted(file.read_bytes().splitlines(keepends=True))))
        elif file.suffix == ".json":
            found |= {f"{name}:{key}": value for key, value in _flat(json.loads(file.read_text())).items()}
        elif file.suffix == ".csv":
            found |= _rows(name, file)
        else:
            found[name] = _hash(file.read_bytes())
    return {key: value for key, value in found.items() if not key.endswith(_OF_A_PROCESS)}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _flat(content: Any, path: str = "") -> dict[str, str]:
    if isinstance(content, Mapping):
        return {k: v for key, below in content.items() for k, v in _flat(below, f"{path}.{key}").items()}
    return {path: json.dumps(content)}


def _rows(name: str, file: Path) -> dict[str, str]:
    """Rows by their text without the value, and how often each stands there."""
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for row in rows:
        key = ",".join(str(row.get(column)) for column in ("step", "name"))
        found[f"{name}:{key}"] = str(row.get("value"))
        counts[key] += 1
    return found | {f"{name}:{key}:times": str(count) for key, count in counts.items()}


def differences(expected: Mapping[str, str], folder: Path) -> tuple[str, str]:
    """Outcome and detail of a folder beside the undisturbed one: recovered, lost, doubled or silent."""
    found = observe(folder)
    for key, value in expected.items():
        if key not in found:
            return "lost", key
        if found[key] != value:
            doubled = key.endswith(":times") and int(found[key]) > int(value)
            return ("doubled" if doubled else "silent"), f"{key} is {found[key][:60]}, not {value[:60]}"
    left = sorted(key for key in found if Path(key).name.startswith(".") and key not in expected)
    return "recovered", f"left behind: {', '.join(left)}" if left else ""
