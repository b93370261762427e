"""Make a phantom archive: plan patients, draw pictures, write reports, in parallel and always the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image as Picture
from threadpoolctl import threadpool_limits

from lgdea.config import validate
from lgdea.errors import ConfigError
from lgdea.evidence.schema import Unit
from lgdea.phantom.config import PhantomConfig, catalogue, presets
from lgdea.phantom.film import render
from lgdea.phantom.marks import Lesion, Mark, bounding_box
from lgdea.phantom.patients import Appointment, count_visits, plan_patient
from lgdea.phantom.reports import write_report
from lgdea.phantom.wording import place_words, severity_word, wording
from lgdea.processes import make_pool
from lgdea.records.archive import Archive, require_free, write_archive
from lgdea.records.schema import Box, Image, Report, Study
from lgdea.runs import SUCCESS
from lgdea.vocabulary import load_vocabulary
from lgdea.vocabulary.phrases import canonical_phrase

NAME = "phantom"
LABELLER = "phantom-truth"
SPLIT = (("train", 0.7), ("val", 0.8), ("test", 1.0))
"""Cumulative shares of the patients."""
TRUTH_COLUMNS = [
    "study_id",
    "image_id",
    "finding",
    "anatomy",
    "laterality",
    "zone",
    "severity",
    "severity_value",
    "change",
]
ERROR_COLUMNS = ["study_id", "kind", "finding", "image_laterality", "report_laterality"]


@dataclass
class Rows:
    """The rows of some studies, ready for the tables."""

    studies: list[Study] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    labels: list[tuple[str, str, float]] = field(default_factory=list)
    evidence: list[Unit] = field(default_factory=list)
    truth: list[tuple[Any, ...]] = field(default_factory=list)
    errors: list[tuple[Any, ...]] = field(default_factory=list)

    def extend(self, other: Rows) -> None:
        """Append the rows of ``other``."""
        for name in self.__dataclass_fields__:
            getattr(self, name).extend(getattr(other, name))


def resolve(difficulty: str = "standard", **settings: Any) -> PhantomConfig:
    """The settings of a difficulty preset with ``settings`` laid over it.

    Raises:
        ConfigError: No such preset, setting or finding.
    """
    if difficulty not in presets():
        raise ConfigError(f"no phantom difficulty {difficulty!r}", remedy=f"choose one of {', '.join(presets())}")
    config = validate(
        PhantomConfig,
        {**presets()[difficulty], **settings},
        remedy=f"settings of the phantom: {', '.join(PhantomConfig.model_fields)}",
    )
    unknown = sorted(set(config.prevalence) - set(catalogue()))
    if unknown:
        raise ConfigError(
            f"prevalence.{unknown[0]}: the phantom draws no such finding", remedy=f"it draws {', '.join(catalogue())}"
        )
    return config


def generate(
    out: str | Path,
    *,
    workers: int = 2,
    difficulty: str = "standard",
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Archive:
    """Write a phantom archive; the same settings give the same bytes for any number of workers.

    Besides the usual tables the archive holds ``evidence_truth`` (what the reports say, exact units), ``image_truth``
    (what the pictures have, one row per finding) and ``report_errors`` (where the two differ on purpose).

    Args:
        out: Archive folder; a phantom that is there already is replaced.
        workers: Processes.
        difficulty: A preset of ``presets.yaml``.
        progress: Called with studies done and studies in all.
        settings: Fields of :class:`~lgdea.phantom.config.PhantomConfig`, such as ``studies``, ``size`` and ``seed``.

    Raises:
        ConfigError: A setting is unknown or out of range.
        UsageError: ``out`` holds something else.
    """
    config, out = resolve(difficulty, **settings), Path(out)
    _clear(out)
    (out / "images").mkdir(parents=True, exist_ok=True)
    if config.masks:
        (out / "masks").mkdir(exist_ok=True)
    counts = count_visits(config)
    splits = _splits(len(counts), config.seed)
    rows, jobs = Rows(), [(p, n, splits[p], config, out) for p, n in enumerate(counts)]
    for part in _run(jobs, workers):
        rows.extend(part)
        if progress:
            progress(len(rows.studies), config.studies)
    info = {"difficulty": difficulty, "settings": config.model_dump(mode="json"), "findings": list(catalogue())}
    return write_archive(out, NAME, _tables(rows), image_root=out, info=info, extra_tables=_extra(rows))


def _clear(out: Path) -> None:
    """Remove the pictures of an older phantom, finished or not; refuse a folder that holds anything else."""
    require_free(out, NAME)
    (out / SUCCESS).unlink(missing_ok=True)  # killed from here on, the archive is unfinished and says so
    for name in ("images", "masks"):
        shutil.rmtree(out / name, ignore_errors=True)


def _run(jobs: list[tuple[int, int, str, PhantomConfig, Path]], workers: int) -> Iterator[Rows]:
    """Rows per patient, in the order of the patients."""
    if workers <= 1:
        with threadpool_limits(1):
            yield from map(_patient, jobs)
        return
    with make_pool(workers, start=threadpool_limits, given=(1,)) as pool:
        yield from pool.map(_patient, jobs, chunksize=max(1, min(32, len(jobs) // (4 * workers))))


def _splits(patients: int, seed: int) -> list[str]:
    """70 / 10 / 20 percent of the patients, in seeded order."""
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,))).permutation(patients)
    return [next(name for name, upper in SPLIT if rank < upper * patients) for rank in order]


def _patient(job: tuple[int, int, str, PhantomConfig, Path]) -> Rows:
    patient, visits, split, config, out = job
    rows = Rows()
    for appointment in plan_patient(patient, visits, config):
        _study(rows, appointment, split, config, out)
    return rows


def _study(rows: Rows, appointment: Appointment, split: str, config: PhantomConfig, out: Path) -> None:
    visit = appointment.visit
    patient_id = f"{NAME}:p{appointment.patient:05d}"
    study_id = f"{patient_id}s{appointment.number + 1}"
    image_id, report_id, stem = f"{study_id}:frontal", f"{study_id}:report", study_id.partition(":")[2]
    picture, instances = render(visit, config)
    Picture.fromarray(picture).save(out / "images" / f"{stem}.png", compress_level=1)
    anatomy = visit.anatomy
    rows.studies.append(
        Study(
            study_id=study_id, patient_id=patient_id, dataset=NAME, site=visit.site, day=appointment.day,
            sex=anatomy.sex, age=anatomy.age, split=split,  # type: ignore[arg-type]
        )
    )  # fmt: skip
    height, width = picture.shape
    view = "AP" if visit.portable else "PA"
    rows.images.append(
        Image(image_id=image_id, study_id=study_id, path=f"images/{stem}.png", width=width, height=height, view=view)
    )
    for number, (lesion, mark) in enumerate(instances):
        box = _box(
            f"{study_id}:b{number}", image_id, lesion, mark, f"masks/{stem}_{number}.png" if config.masks else None, out
        )
        if box is not None:
            rows.boxes.append(box)
    for lesion in visit.lesions:
        anatomy_id = _anatomy(lesion, lesion.laterality)
        word = severity_word(lesion.severity)
        rows.truth.append(
            (
                study_id,
                image_id,
                lesion.finding,
                anatomy_id,
                lesion.laterality,
                lesion.zone,
                word,
                lesion.severity,
                lesion.change,
            )
        )
    present = {x.finding for x in visit.lesions}
    rows.labels += [(study_id, finding, float(finding in present)) for finding in catalogue()]
    rows.labels.append((study_id, "no_finding", float(not present)))
    report = write_report(report_id, appointment, config)
    rows.reports.append(Report(report_id=report_id, study_id=study_id, text=report.text))
    rows.evidence += report.units
    if report.error:
        error = report.error
        rows.errors.append((study_id, error.kind, error.finding, error.image_laterality, error.report_laterality))


def _box(box_id: str, image_id: str, lesion: Lesion, mark: Mark, mask_path: str | None, out: Path) -> Box | None:
    """The box of one instance, its mask written; None when the instance lies outside the picture."""
    mask = mark.mask()
    corners = bounding_box(mask)
    if corners is None:
        return None
    if mask_path:
        Picture.fromarray(mask).save(out / mask_path, compress_level=1)
    # A finding of both lungs by nature is one phrase with two boxes; one that can stand alone is a phrase per side.
    side = "bilateral" if catalogue()[lesion.finding].side == "bilateral" else mark.side
    severity = "unspecified" if lesion.finding in wording()["no_severity"] else severity_word(lesion.severity)
    return Box(
        box_id=box_id,
        image_id=image_id,
        finding=lesion.finding,
        label=load_vocabulary().findings[lesion.finding].name,
        phrase=canonical_phrase(lesion.finding, _anatomy(lesion, side), side, severity),
        laterality=mark.side,  # type: ignore[arg-type]
        x_min=corners[0],
        y_min=corners[1],
        x_max=corners[2],
        y_max=corners[3],
        mask_path=mask_path,
    )


def _anatomy(lesion: Lesion, side: str) -> str:
    """The most exact anatomy id of a lesion."""
    if lesion.zone is None or catalogue()[lesion.finding].anatomy != "lung":
        return catalogue()[lesion.finding].anatomy
    return place_words(side, lesion.zone, lobes=True)[1]


def _tables(rows: Rows) -> dict[str, Any]:
    labels = pd.DataFrame(rows.labels, columns=["study_id", "finding", "value"])
    labels.insert(1, "image_id", pd.Series([None] * len(labels), dtype="str"))
    labels["labeller"] = LABELLER
    return {
        "studies": rows.studies,
        "images": rows.images,
        "reports": rows.reports,
        "boxes": rows.boxes,
        "labels": labels,
    }


def _extra(rows: Rows) -> dict[str, pd.DataFrame]:
    errors = pd.DataFrame(rows.errors, columns=ERROR_COLUMNS)
    truth = pd.DataFrame(rows.truth, columns=TRUTH_COLUMNS)
    texts = [name for name in TRUTH_COLUMNS if name != "severity_value"]
    return {
        "evidence_truth": pd.DataFrame([u.model_dump() for u in rows.evidence], columns=list(Unit.model_fields)),
        "image_truth": truth.astype(dict.fromkeys(texts, "str")),
        "report_errors": errors.astype("str"),
    }
