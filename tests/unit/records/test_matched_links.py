"""The setting "matched" of the pipeline on real data: links where all labels agree, in the training part alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from lgdea.records.archive import Archive, write_archive
from lgdea.records.schema import Image, Label, Report, Study
from lgdea.records.verify import verify

FINDINGS = ("pneumonia", "nodule", "no_finding")
NIH = {"a": ("train", {"pneumonia"}), "b": ("train", {"nodule", "pneumonia"}), "c": ("train", {"no_finding"})}
NIH |= {"d": ("test", {"pneumonia"}), "e": ("train", set()), "f": ("train", {"pneumonia"})}
OPENI = {"1": ("train", {"pneumonia"}), "2": ("train", {"no_finding"}), "3": ("val", {"nodule", "pneumonia"})}
OPENI |= {"4": ("train", {"nodule"}), "5": ("train", set())}


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    tables: dict[str, list] = {"studies": [], "images": [], "reports": [], "labels": []}
    for dataset, items in (("nih-cxr14", NIH), ("openi", OPENI)):
        for key, (split, shown) in items.items():
            study = f"{dataset}:{key}"
            tables["studies"].append(Study(study_id=study, patient_id=study, dataset=dataset, split=split))
            if dataset == "openi":
                tables["reports"].append(Report(report_id=study, study_id=study, text=f"Report {key}."))
            else:
                Picture.fromarray(np.full((8, 8), ord(key), np.uint8)).save(tmp_path / f"{key}.png")
                tables["images"].append(Image(image_id=study, study_id=study, path=f"{key}.png", width=8, height=8))
            for finding in (*FINDINGS, *(["hernia"] if dataset == "nih-cxr14" else [])):
                value = float(finding in shown or finding == "hernia")
                tables["labels"].append(Label(study_id=study, finding=finding, value=value, labeller=dataset))
    return write_archive(tmp_path / "joined", "matched", tables, tmp_path)


@pytest.fixture
def pipeline():
    file = Path(__file__).resolve().parents[3] / "pipelines" / "limited_pairing_real.py"
    spec = importlib.util.spec_from_file_location("limited_pairing_real", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_join_equal_labels_and_leave_the_rest_alone(pipeline, archive: Archive, tmp_path: Path) -> None:
    matched = pipeline.link_where_labels_agree(archive, tmp_path / "matched", seed=0)
    texts = matched.reports.set_index("study_id")["text"].to_dict()
    # Hernia, which one side alone labels, does not count; a report may be drawn twice; "3" is no training report.
    assert {k: v for k, v in texts.items() if k.startswith("nih")} == {
        "nih-cxr14:a": "Report 1.",
        "nih-cxr14:f": "Report 1.",
        "nih-cxr14:c": "Report 2.",
    }
    assert {k for k in texts if k.startswith("openi")} == {"openi:3", "openi:4", "openi:5"}
    assert set(matched.studies["study_id"]) == {f"nih-cxr14:{k}" for k in NIH} | {f"openi:{k}" for k in "345"}
    assert not [problem for problem in verify(matched) if problem.severity == "error"]
    assert len(matched.images) == len(archive.images)
    again = pipeline.link_where_labels_agree(archive, tmp_path / "again", seed=0)
    assert again.reports.equals(matched.reports)


class Oracle:
    """Knows what the image or report of each study of the archive shows, but for what it is told to mistake."""

    def __init__(self, archive: Archive, shown, mistaken=()) -> None:
        paths = {str(archive.image_path(row.image_id)): row.study_id for row in archive.images.itertuples()}
        texts = {row.text: row.study_id for row in archive.reports.itertuples()}
        self.shown = {key: shown.get(study, frozenset()) for key, study in (paths | texts).items()}
        self.mistaken = set(mistaken)

    def _vectors(self, keys, swap):
        found = [{"nodule"} if swap and key in self.mistaken else self.shown[key] for key in keys]
        rows = np.array([[name in items for name in FINDINGS] for items in found], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_image(self, images):
        return self._vectors(map(str, images), swap=True)

    def encode_text(self, texts):
        return self._vectors(texts, swap=False)


def test_reports_are_found_by_the_labels_that_both_have(pipeline, archive: Archive) -> None:
    studies = archive.studies.assign(split="test")
    archive = archive.with_tables(studies=studies)
    shown = pipeline.stated_findings(archive)
    assert shown["nih-cxr14:b"] == {"nodule", "pneumonia"}
    perfect = pipeline.retrieve_by_label(Oracle(archive, shown), archive, seed=0)
    assert (perfect["images"], perfect["reports"]) == (5, 4)  # without the studies of which nothing is stated
    assert perfect["ndcg@10"][0] == pytest.approx(1, abs=0.02)
    assert perfect["chance"][0] < perfect["best fixed order"][0] < perfect["ndcg@10"][0]
    wrong = [str(archive.image_path(f"nih-cxr14:{key}")) for key in "acdf"]
    assert pipeline.retrieve_by_label(Oracle(archive, shown, wrong), archive, seed=0)["ndcg@10"][0] < 0.8
