"""Peak memory of an extraction of millions of reports: generated text, one process."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.extract import run_extract
from lgdea.evidence.layout import split_sections, split_sentences
from lgdea.manifests import FILES, seal
from lgdea.phantom.config import PhantomConfig
from lgdea.phantom.patients import plan_patient
from lgdea.phantom.reports import write_report
from lgdea.records.archive import ARCHIVE, Archive, write_archive
from lgdea.records.schema import Report
from lgdea.records.streams import TableWriter
from lgdea.runs import write_json

_PATIENTS = 1500
"""Phantom patients whose reports give the sentences that generated reports are put together from."""
_BATCH = 10_000


def generate_texts(count: int, seed: int = 0) -> Iterator[str]:
    """Report texts of the phantom's sentences in new combinations; every one has a sentence of its own."""
    rng = random.Random(seed)
    pool = _sentences()
    for number in range(count):
        findings = rng.sample(pool["findings"], rng.randint(2, 6))
        findings.append(f"Discussed with the ward at {rng.randint(0, 23)}:{rng.randint(0, 59):02} as case {number}.")
        parts = {
            "INDICATION": [rng.choice(pool["indication"])],
            "COMPARISON": [rng.choice(pool["comparison"])],
            "FINDINGS": findings,
            "IMPRESSION": rng.sample(pool["impression"], rng.randint(1, 3)),
        }
        yield "\n\n".join(f"{title}: {' '.join(sentences)}" for title, sentences in parts.items())


def write_generated(folder: Path, count: int, seed: int = 0) -> Archive:
    """An archive of generated reports, written row group by row group."""
    write_archive(folder, "generated", {}, folder)
    with TableWriter(folder / "reports.parquet", Report) as table:
        batch: list[Report] = []
        for number, text in enumerate(generate_texts(count, seed)):
            batch.append(Report(report_id=f"generated:{number}", study_id=f"generated:{number}", text=text))
            if len(batch) == _BATCH:
                table.write(batch)
                batch = []
        table.write(batch)
    manifest = json.loads((folder / ARCHIVE).read_text(encoding="utf-8"))
    manifest["tables"]["reports"] = count
    write_json(folder / ARCHIVE, seal(manifest, folder, manifest[FILES]))
    return Archive.open(folder)


def measure_stream(count: int, out: Path, *, keep: bool = False) -> dict[str, Any]:
    """Extract ``count`` generated reports with the rules in a process of its own.

    Args:
        count: Reports.
        out: Folder for the archive and the evidence, which take about 2.5 GB per million reports while it runs.
        keep: Leave them there.

    Returns:
        ``reports``, ``units``, ``rejected``, ``seconds``, ``reports_per_second``, ``peak_bytes`` and
        ``mean_characters`` of a report.

    Raises:
        EvidenceError: The extraction failed.
    """
    archive = write_generated(out / f"generated-{count}", count)
    evidence = out / f"generated-{count}-evidence"
    shutil.rmtree(evidence, ignore_errors=True)  # of a measurement that was stopped
    summary = run_extract(archive.folder, evidence)
    lengths = [len(text) for text in generate_texts(min(count, 1000))]
    names = ("reports", "units", "rejected", "seconds", "reports_per_second", "peak_bytes")
    if not keep:
        shutil.rmtree(archive.folder)
        shutil.rmtree(evidence)
    summary["seconds"] = round(summary["seconds"], 3)
    return {**{name: summary[name] for name in names}, "mean_characters": round(sum(lengths) / len(lengths))}


@lru_cache(maxsize=1)
def _sentences() -> dict[str, list[str]]:
    """The phantom's sentences by section."""
    config = PhantomConfig.model_validate({})
    found: dict[str, dict[str, None]] = {}
    for patient in range(_PATIENTS):
        (appointment,) = plan_patient(patient, 1, config)
        text = write_report(f"generated:{patient}", appointment, config).text
        for section in split_sections(text):
            for start, end in split_sentences(text, section.start, section.end):
                found.setdefault(section.name, {})[" ".join(text[start:end].split())] = None
    return {name: list(sentences) for name, sentences in found.items()}
