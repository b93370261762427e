"""Quality by share of linked pairs: objectives x shares of linked pairs x seeds on the phantom, resumable run by run.

Every run leaves one small JSON file, ``results/<variant>/<fraction>-<seed>.json``; models are not kept. What is there
is not run again, so a grid of many hours can be made in pieces, by several processes that share the folder (each run
has a lock), and on several machines, and the files put together.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from pydantic import Field

from benchmarks.archive import PhantomSettings, make_archive
from benchmarks.evidence import EvidenceKind, make_evidence
from benchmarks.tower import TowerConfig, make_tower
from lgdea import runs
from lgdea.config import Config, load_config
from lgdea.errors import UsageError
from lgdea.shipped import shipped
from lgdea.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from lgdea.pretraining.config import PretrainConfig

METRICS = {
    "zero-shot": {"auroc_macro": "zero-shot AUROC"},
    "retrieval": {
        "image_to_report/evidence_ndcg@10": "evidence nDCG@10",
        "image_to_report/evidence_precision@10": "evidence precision@10",
    },
    "grounding": {"pointing_macro": "pointing game", "cnr_macro": "CNR", "miou_macro": "mIoU"},
}


class Variant(Config):
    """One line of the plot: what is changed in the shared pretraining configuration."""

    set: list[str] = Field(default_factory=list)
    """Overrides, as on the command line."""
    evidence: EvidenceKind = "rules"
    """Evidence that the runs are given."""
    fractions: list[float] | None = None
    """Shares of links that it is run at; null: all of the grid."""


class PairingBenchConfig(Config):
    """A grid of pretraining runs."""

    phantom: PhantomSettings = PhantomSettings()
    """The archive of all runs."""
    pretrain: str
    """Name of a shipped pretraining configuration, the same for all variants."""
    set: list[str] = Field(default_factory=list)
    """Overrides for all variants."""
    tower: TowerConfig | None = None
    """Training of the image tower that all runs start from; null: random weights."""
    variants: dict[str, Variant]
    """Lines of the plot by name."""
    fractions: list[float] = Field(default=[0.005, 0.01, 0.02, 0.05, 0.2, 1.0])
    """Shares of the linkable training patients that keep their link."""
    seeds: list[int] = Field(default=[0, 1, 2])
    """Of pairing and training together."""


@dataclass(frozen=True)
class Cell:
    """One run of the grid."""

    variant: str
    fraction: float
    seed: int

    @property
    def name(self) -> str:
        """Names it among all runs."""
        return f"{self.variant}/{self.fraction:g}-{self.seed}"

    @property
    def file(self) -> str:
        """Path of its result, below ``results``."""
        return f"{self.name}.json"


def run_grid(
    config: PairingBenchConfig, out: Path, *, say: Callable[[str], Any], minutes: float | None = None
) -> list[dict[str, Any]]:
    """Run what is missing of the grid.

    Args:
        config: The grid.
        out: ``archive``, ``evidence``, ``results``; the running model lives in ``work``.
        say: Called with a line per run.
        minutes: No run is started after this time, 0: none, and what all runs share is not made; None runs all.

    Returns:
        The grid's results that are there, one dict per run; ``out`` may hold those of other grids too.

    Raises:
        UsageError: ``out`` holds results of other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    missing = [c for c in cells(config) if not (out / "results" / c.file).exists()]
    with FileLock(out / ".lock"):
        check_settings(config, out)
        if missing and minutes != 0:
            shared = prepare(config, out)
    began = time.monotonic()
    for number, cell in enumerate(missing, start=1):
        if minutes is not None and time.monotonic() - began >= 60 * minutes:
            say(f"{len(missing) - number + 1} runs are left; repeat the command to go on")
            break
        file = out / "results" / cell.file
        try:
            (out / "work" / cell.variant).mkdir(parents=True, exist_ok=True)
            with FileLock(out / "work" / f"{cell.name}.lock", blocking=False):
                if file.exists():  # another process has run it since
                    continue
                result = run_cell(config, cell, shared, out)
                runs.write_json(file, result)
        except Timeout:  # another process is running it
            continue
        auroc = result["metrics"]["auroc_macro"]
        say(f"{number}/{len(missing)} {cell.name}: AUROC {auroc:.3f}, {result['seconds']:.0f} s")
    return read_results(out / "results", cells(config))


def cells(config: PairingBenchConfig) -> Iterator[Cell]:
    """All runs, seed by seed, so that an unfinished grid compares all variants at fewer seeds."""
    for seed in config.seeds:
        for fraction in config.fractions:
            for name, variant in config.variants.items():
                if variant.fractions is None or fraction in variant.fractions:
                    yield Cell(name, fraction, seed)


@dataclass(frozen=True)
class Shared:
    """Inputs of all runs of a grid: the archive, its evidence by kind, the image cache, the tower's weights."""

    archive: Path
    evidence: dict[EvidenceKind, Path]
    image_cache: Path
    weights: Path | None


def prepare(config: PairingBenchConfig, out: Path) -> Shared:
    """Make what is not there of what all runs share."""
    archive = make_archive(config.phantom, out / "archive")
    weights = None
    if config.tower is not None:
        image = load_pretraining(config, {"data": dict.fromkeys(("archive", "evidence", "pairing"), ".")}).image
        weights = make_tower(config.tower, image, out / "tower")
    kinds = sorted({variant.evidence for variant in config.variants.values()})
    evidence = {kind: make_evidence(kind, archive, out / "evidence") for kind in kinds}
    return Shared(archive, evidence, out / "image_cache", weights)


def run_cell(config: PairingBenchConfig, cell: Cell, shared: Shared, out: Path) -> dict[str, Any]:
    """Pretrain and evaluate one run; nothing but the returned numbers is kept."""
    from lgdea.records.archive import Archive
    from lgdea.records.pairing import make_pairing

    pairing = make_pairing(Archive.open(shared.archive), fraction=cell.fraction, seed=cell.seed)
    return {**vars(cell), **train_on(config, cell.variant, cell.seed, pairing, shared, out / "work" / cell.name)}


def train_on(
    config: PairingBenchConfig, variant: str, seed: int, pairing: pd.DataFrame, shared: Shared, work: Path
) -> dict[str, Any]:
    """Pretrain on a pairing in the folder ``work``, which is removed again, and evaluate."""
    from lgdea.pretraining.fit import fit
    from lgdea.records.pairing import write_pairing

    began = time.monotonic()
    file = work.parent / f"{work.name}.parquet"
    write_pairing(pairing, file)
    inputs = {
        "archive": shared.archive,
        "evidence": shared.evidence[config.variants[variant].evidence],
        "pairing": file,
        "image_cache": shared.image_cache,
    }
    settings: dict[str, Any] = {"seed": seed, "data": inputs}
    if shared.weights is not None:
        settings["image"] = {"weights": shared.weights}
    model = fit(load_pretraining(config, *config.variants[variant].set, settings), work)
    result = {
        "linked": int((pairing["state"] == "paired").sum()),
        "metrics": evaluate(model, shared.archive, shared.image_cache),
        "training": json.loads((work / runs.MANIFEST).read_text(encoding="utf-8")).get("metrics", {}),
        "validation": read_curve(work / "metrics.csv"),
        "seconds": round(time.monotonic() - began, 1),
        "lgdea_version": __version__,
    }
    shutil.rmtree(work)
    return result


def evaluate(model_folder: Path, archive: Path, image_cache: Path) -> dict[str, float]:
    """The grid's metrics on the test part."""
    from lgdea.evaluation.tasks import grounding, retrieval, zero_shot
    from lgdea.models.serialization import load_model
    from lgdea.records.archive import Archive

    model, tables = load_model(model_folder), Archive.open(archive)
    found = {}
    for task in (zero_shot, retrieval, grounding):
        result = task(model, tables, bootstrap_replicates=0, image_cache=str(image_cache))
        found.update({name: result.metrics[name].value for name in METRICS[result.task]})
    return found


def read_curve(file: Path) -> list[list[float]]:
    """``[step, AUROC]`` of each validation while training, from a run's ``metrics.csv``; none where it was off."""
    import pandas as pd

    if not file.exists():  # a run shorter than the interval of logging
        return []
    metrics = pd.read_csv(file)
    return metrics.loc[metrics["name"] == "val/auroc", ["step", "value"]].to_numpy().tolist()


def read_results(folder: Path, wanted: Iterable[Cell]) -> list[dict[str, Any]]:
    """The results below ``folder`` of the ``wanted`` runs that are there, in the order of these."""
    files = [folder / cell.file for cell in wanted]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]


def load_pretraining(config: PairingBenchConfig, *overrides: str | dict[str, Any]) -> PretrainConfig:
    """The pretraining configuration that all runs share, with overrides."""
    from lgdea.pretraining.config import PretrainConfig

    file = Path(str(shipped("configs"))) / "pretrain" / f"{config.pretrain}.yaml"
    return load_config(PretrainConfig, [file], [*config.set, *overrides])


def check_settings(config: PairingBenchConfig, out: Path) -> None:
    """Results of one folder must be comparable; more fractions, seeds or variants may join them."""
    shared = config.model_dump(mode="json", include={"phantom", "pretrain", "set", "tower"})
    text = json.dumps(shared, sort_keys=True)
    variants = {name: variant.model_dump(mode="json") for name, variant in config.variants.items()}
    file = out / "results" / "grid.json"
    if file.exists():
        old = json.loads(file.read_text(encoding="utf-8"))
        known = {name: Variant.model_validate(variant) for name, variant in old["variants"].items()}
        changed = [n for n, v in config.variants.items() if known.get(n, v) != v]
        if old["shared"] != shared or changed:
            what = f"variant {changed[0]!r}" if changed else "settings"
            raise UsageError(f"holds results of other {what}", file=out, remedy="choose another --out")
        variants = {**old["variants"], **variants}
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    runs.write_json(file, {"sha256": digest, "shared": shared, "variants": variants})
