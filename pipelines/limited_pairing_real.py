"""Limited pairing on real data: many unlinked images and reports, a few linked ones.

Launch: python pipelines/limited_pairing_real.py --data DATA --out runs/real
(two CPU cores; add --config limited-pairing on a GPU, --set image.tower=... for pretrained towers, see docs/towers.md)

``DATA`` holds the folders ``openi``, ``nih_cxr14``, ``covid_chestxray`` and ``hannover_covid`` in their own layouts
(``lgdea data card NAME`` says which). Open-I gives reports without images, NIH and Hannover give images without
reports. The links are, by ``--links``:

notes    covid-chestxray's, between an image and the notes of its case
matched  made here: an NIH image of a training patient and an Open-I report with exactly the same findings among those
         that both label. MATCHED BY LABELS, NOT READ BY A RADIOLOGIST: image and report are of two people, and agree in
         what 14 labels say, not in side, place or degree.

The NIH test patients are scored by zero-shot classification, a linear probe and the Open-I test reports that they
find, graded by the labels that both have; the radiologists' boxes by phrase grounding. Patients with such boxes are
kept out of training altogether.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from lgdea import load_model, runs
from lgdea.annotation.scoring import score
from lgdea.config import load_config
from lgdea.errors import LgdeaError
from lgdea.evaluation.metrics.retrieval import ndcg_at_k
from lgdea.evaluation.results.result import write_result
from lgdea.evaluation.tasks import grounding, probe, zero_shot
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.runner import extract
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.fit import fit
from lgdea.records.adapters.base import get_adapter
from lgdea.records.archive import Archive, write_archive
from lgdea.records.merge import merge
from lgdea.records.pairing import make_pairing, write_pairing
from lgdea.records.schema import TABLES
from lgdea.records.verify import verify
from lgdea.reporting.page import build_report
from lgdea.shipped import shipped
from lgdea.statistics.bootstrap import cluster_bootstrap, weighted_mean

Links = Literal["notes", "matched"]

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
    parser.add_argument(
        "--links", choices=("notes", "matched"), default="notes", help="where the linked pairs come from"
    )
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="override of it, KEY=VALUE")
    a = parser.parse_args()
    try:
        run(a.data, a.out, a.seed, a.config, links=a.links, overrides=a.overrides)
    except LgdeaError as error:  # what its user can mend is one line
        parser.exit(error.exit_code, f"{error}\n")


def run(
    data: Path, out: Path, seed: int, config: str, *, links: Links = "notes", overrides: Sequence[str] = ()
) -> None:
    archive = build_archive(data, out / "archives", seed, links)
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
        train_and_evaluate(objective, inputs, archive, out, seed, config, overrides)
    page = build_report(
        out=out / "report.html",
        title="Limited pairing on real chest X-rays",
        runs={name: out / "runs" / name for name in ("clip", "lgdea")},
        results={name: out / "results" / name for name in ("clip", "lgdea")},
        archive=archive.folder,
        evidence=evidence,
    )
    print(f"report: {page}")


def build_archive(data: Path, folder: Path, seed: int, links: Links = "notes") -> Archive:
    """Build the archives and join them; patients with boxes go to the test split."""
    joined, matched = folder / "joined", folder / "matched"
    wanted = joined if links == "notes" else matched
    if runs.is_finished(wanted):
        return Archive.open(wanted)
    names = [name for name in DATASETS if links == "notes" or name != "covid-chestxray"]
    parts = [get_adapter(name).build(data / DATASETS[name], folder / name) for name in names]
    archive = merge(parts, joined, name=f"limited-pairing-{links}", seed=seed, hold_out_boxes=True)
    return archive if links == "notes" else link_where_labels_agree(archive, matched, seed)


def link_where_labels_agree(archive: Archive, folder: Path, seed: int) -> Archive:
    """Give training images of NIH a training report of Open-I that states the same of NIH's labels, where there is one.

    The report is drawn among those that agree, and may be drawn again; reports that were drawn are no more among the
    unlinked ones.
    """
    studies = archive.studies.set_index("study_id")
    shown = stated_findings(archive)
    shown = shown[studies["split"].reindex(shown.index) == "train"]
    texts = archive.reports.set_index("study_id")["text"]
    source = studies["dataset"].reindex(shown.index)
    by_labels = {same: list(group.index) for same, group in shown[source == "openi"].groupby(shown)}
    rng = np.random.default_rng([seed, 14])
    drawn = {
        study: str(rng.choice(by_labels[same]))
        for study, same in shown[source == "nih-cxr14"].sort_index().items()
        if same in by_labels
    }
    used = set(drawn.values())
    print(f"matched by labels: {len(drawn)} images with {len(used)} different reports")
    tables: dict[str, Any] = {name: getattr(archive, name) for name in TABLES}
    for name in ("studies", "reports", "labels"):
        tables[name] = tables[name][~tables[name]["study_id"].isin(used)]
    copies = [{"report_id": f"{s}:matched", "study_id": s, "text": texts[other]} for s, other in drawn.items()]
    tables["reports"] = [*tables["reports"].to_dict("records"), *({**c, "language": "en"} for c in copies)]
    return write_archive(folder, archive.name, tables, archive.image_root, {"matched": drawn})


def train_and_evaluate(
    objective: str,
    inputs: dict[str, Path],
    archive: Archive,
    out: Path,
    seed: int,
    config: str,
    overrides: Sequence[str] = (),
) -> None:
    inputs = {"image_cache": out / "image_cache", "feature_cache": out / "feature_cache", **inputs}
    settings = {"data": inputs, "objective": {"name": objective}, "seed": seed}
    file = Path(str(shipped("configs"))) / "pretrain" / f"{config}.yaml"
    model = load_model(fit(load_config(PretrainConfig, [file], [settings, *overrides]), out / "runs" / objective))
    results = out / "results" / objective
    write_result(zero_shot(model, archive, classes="nih14", labeller="nih-mined", seed=seed), results)
    write_result(grounding(model, archive, seed=seed), results)
    write_result(probe(model, archive, classes="nih14", labeller="nih-mined", fractions=(1.0,), seed=seed), results)
    runs.write_json(results / "retrieval-by-label.json", retrieve_by_label(model, archive, seed))


def retrieve_by_label(model: LgdeaModel, archive: Archive, seed: int) -> dict[str, Any]:
    """nDCG@10 of the Open-I test reports that each NIH test image finds, with its interval by patient.

    A report is graded by the share of findings, of those that either states, that both state. Beside it stand a random
    order, and the order that is the best for all images at once.
    """
    shown = stated_findings(archive)
    test = archive.studies[archive.studies["split"] == "test"].set_index("study_id")
    images = archive.images[archive.images["study_id"].isin(test.index[test["dataset"] == "nih-cxr14"])]
    reports = archive.reports[archive.reports["study_id"].isin(test.index[test["dataset"] == "openi"])]
    images, reports = (table[table["study_id"].isin(shown.index)] for table in (images, reports))
    grades = np.array(
        [[len(a & b) / len(a | b) for b in shown[reports["study_id"]]] for a in shown[images["study_id"]]]
    )
    vectors = model.encode_image([archive.image_path(image) for image in images["image_id"]])
    scores = vectors @ model.encode_text(list(reports["text"])).T
    orders = {"ndcg@10": scores, "chance": np.zeros_like(grades), "best fixed order": grades.mean(0) + 0 * grades}
    patients = test["patient_id"][images["study_id"]].to_numpy()
    found: dict[str, Any] = {"images": len(images), "reports": len(reports)}
    for name, order in orders.items():
        values = weighted_mean(ndcg_at_k(order, grades, 10))
        found[name] = [float(x) for x in cluster_bootstrap(values, patients, seed=seed)]
    return found


def stated_findings(archive: Archive) -> pd.Series:
    """What NIH's and Open-I's labels call present, a frozenset by study, of the findings that both label."""
    dataset = archive.studies.set_index("study_id")["dataset"]
    labels = archive.labels[archive.labels["study_id"].map(dataset).isin(["nih-cxr14", "openi"])]
    known = set.intersection(*(set(group) for _, group in labels["finding"].groupby(labels["labeller"])))
    stated = labels[(labels["value"] == 1) & labels["finding"].isin(known)]
    return stated.groupby("study_id")["finding"].agg(frozenset)


if __name__ == "__main__":
    main()
