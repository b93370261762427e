"""Limited pairing on real data: many unlinked images and reports, a few linked ones.

Launch: python pipelines/limited_pairing_real.py --data DATA --out runs/real
(two CPU cores; add --config limited-pairing on a GPU)

``DATA`` holds the folders ``openi``, ``nih_cxr14``, ``covid_chestxray`` and ``hannover_covid`` in their own layouts
(``lgdea data card NAME`` says which). Open-I gives reports without images, NIH and Hannover give images without
reports, covid-chestxray gives the linked pairs. The NIH test patients are scored by zero-shot classification, the
radiologists' boxes by phrase grounding; patients with such boxes are kept out of training altogether.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lgdea import load_model, runs
from lgdea.annotation.scoring import score
from lgdea.config import load_config
from lgdea.evaluation.results.result import write_result
from lgdea.evaluation.tasks import grounding, zero_shot
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.runner import extract
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.fit import fit
from lgdea.records.adapters.base import get_adapter
from lgdea.records.archive import Archive
from lgdea.records.merge import merge
from lgdea.records.pairing import make_pairing, write_pairing
from lgdea.records.verify import verify
from lgdea.reporting.page import build_report
from lgdea.shipped import shipped

DATASETS = {
    "openi": "openi",
    "nih-cxr14": "nih_cxr14",
    "covid-chestxray": "covid_chestxray",
    "hannover-covid": "hannover_covid",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the datasets' folders")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an unfinished one is resumed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", default="limited-pairing-cpu", help="name of a shipped pretraining configuration")
    arguments = parser.parse_args()
    run(arguments.data, arguments.out, arguments.seed, arguments.config)


def run(data: Path, out: Path, seed: int, config: str) -> None:
    archive = build_archive(data, out / "archives", seed)
    for problem in {p.kind: p for p in verify(archive)}.values():
        print(f"{problem.severity}: {problem.kind}: {problem.detail}")
    pairing = make_pairing(archive, fraction=1.0, seed=seed)
    write_pairing(pairing, out / "pairing.parquet")
    print("pairing:", pairing["state"].value_counts().to_dict())

    evidence = out / "evidence"
    extract(archive, get_backend("rules"), evidence)
    print(f"openi-14: micro-F1 {score(evidence, 'openi-14', archive).micro.f1:.3f}")

    inputs = {"archive": archive.folder, "evidence": evidence, "pairing": out / "pairing.parquet"}
    for objective in ("clip", "lgdea"):
        train_and_evaluate(objective, inputs, archive, out, seed, config)
    page = build_report(
        out=out / "report.html",
        title="Limited pairing on real chest X-rays",
        runs={name: out / "runs" / name for name in ("clip", "lgdea")},
        results={name: out / "results" / name for name in ("clip", "lgdea")},
        archive=archive.folder,
        evidence=evidence,
    )
    print(f"report: {page}")


def build_archive(data: Path, folder: Path, seed: int) -> Archive:
    """Build the four archives and join them; patients with boxes go to the test split."""
    joined = folder / "joined"
    if runs.is_finished(joined):
        return Archive.open(joined)
    parts = [get_adapter(name).build(data / source, folder / name) for name, source in DATASETS.items()]
    return merge(parts, joined, name="limited-pairing-real", seed=seed, hold_out_boxes=True)


def train_and_evaluate(
    objective: str, inputs: dict[str, Path], archive: Archive, out: Path, seed: int, config: str
) -> None:
    settings = {"data": inputs, "objective": {"name": objective}, "seed": seed}
    file = Path(str(shipped("configs"))) / "pretrain" / f"{config}.yaml"
    model = load_model(fit(load_config(PretrainConfig, [file], [settings]), out / "runs" / objective))
    results = out / "results" / objective
    write_result(zero_shot(model, archive, classes="nih14", labeller="nih-mined", seed=seed), results)
    write_result(grounding(model, archive, seed=seed), results)


if __name__ == "__main__":
    main()
