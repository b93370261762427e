"""Phantom patients with an earlier film, and later films with and without a new finding, to learn comparison on.

Films are the phantom's own. A level says how hard they are; level by level they make a curriculum, which is written as
rows for ``lgdea compare finetune``, once with a reference beside each query and once with the query alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lgdea.phantom.anatomy import draw_patient, draw_visit
from lgdea.phantom.config import catalogue
from lgdea.phantom.film import Visit, render
from lgdea.phantom.generate import resolve
from lgdea.phantom.marks import Lesion

SIDES, ZONES = ("right", "left"), ("upper", "middle", "lower")
FILM = 64
READINGS = {
    "single": "Image: <image> Does it show a finding?",
    "prior": "Healthy, the same patient: <image> Image: <image> Does it show a finding?",
    "other": "Healthy, another patient: <image> Image: <image> Does it show a finding?",
    "new-single": "Image: <image> Is there a new finding?",
    "new-prior": "Before: <image> Image: <image> Is there a new finding?",
}
"""What is asked, by what stands beside the query: nothing, a film of the same patient before, or one of another."""
ANSWERS = ("no", "yes right", "yes left")


@dataclass(frozen=True)
class Level:
    """Difficulty: how much a patient's films differ in pose, breath and exposure, and how much a finding shows."""

    nuisance: float
    contrast: float
    severity: tuple[float, float]
    old: int = 0
    """Most findings that a patient has had for long, of the same kinds, on all films; 0: films before are healthy."""


@dataclass(frozen=True)
class Patients:
    """Films of patients, (N, H, W) uint8 each: one before, one after, and one after with a finding that is new."""

    before: NDArray[np.uint8]
    normal: NDArray[np.uint8]
    abnormal: NDArray[np.uint8]
    finding: NDArray[np.int64]
    """Index into the findings that were asked for, (N,)."""
    left: NDArray[np.bool_]
    """Whether it is on the patient's left, (N,)."""


def draw_patients(
    file: Path,
    number: int,
    level: Level,
    findings: Sequence[str],
    *,
    site: str = "harbour",
    seed: int,
    workers: int = 2,
) -> Patients:
    """Draw films of patients, or read those that were drawn before.

    Args:
        file: Where they are kept (``.npz``).
        number: Patients.
        level: Difficulty.
        findings: Catalogue ids, drawn evenly.
        site: Site of the phantom, whose look the films have.
        seed: With the patient's number the seed of all draws.
        workers: Processes.
    """
    if not file.exists():
        jobs = [(level, tuple(findings), site, seed, n) for n in range(number)]
        with ProcessPoolExecutor(workers) as pool:
            drawn = list(pool.map(_patient, jobs, chunksize=max(1, number // (8 * workers))))
        films, finding, left = zip(*drawn, strict=True)
        arrays = [np.stack([three[k] for three in films]) for k in range(3)]
        file.parent.mkdir(parents=True, exist_ok=True)
        names = [field.name for field in fields(Patients)]
        content: dict[str, Any] = dict(zip(names, (*arrays, np.array(finding), np.array(left)), strict=True))
        np.savez(file, **content)
    with np.load(file) as kept:
        return Patients(**dict(kept))


def _patient(job: tuple[Level, tuple[str, ...], str, int, int]) -> tuple[list[NDArray[np.uint8]], int, bool]:
    level, findings, site, seed, number = job
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    anatomy = draw_patient(rng)
    settings = resolve("easy", size=FILM, nuisance=level.nuisance, lesion_contrast=level.contrast)
    finding, side = int(rng.integers(len(findings))), int(rng.integers(2))
    zones = catalogue()[findings[finding]].zones
    zone = None if zones is None else ZONES[int(rng.choice(3, p=np.asarray(zones) / sum(zones)))]
    severity = float(rng.uniform(*level.severity))
    lesion = Lesion(findings[finding], SIDES[side], zone, severity, int(rng.integers(2**31)))
    old = tuple(
        Lesion(
            findings[int(rng.integers(len(findings)))],
            SIDES[int(rng.integers(2))],
            ZONES[int(rng.integers(3))],
            float(rng.uniform(*level.severity)),
            int(rng.integers(2**31)),
        )
        for _ in range(int(rng.integers(level.old + 1)) if level.old else 0)
    )
    films = []
    for lesions in (old, old, (*old, lesion)):
        day = draw_visit(anatomy, rng, False, level.nuisance)
        films.append(render(Visit(day, lesions, site, False, int(rng.integers(2**31))), settings)[0])
    return films, finding, SIDES[side] == "left"


def write_films(patients: Patients, folder: Path, side: int) -> None:
    """Write the films as PNG files, by area averaging ``side`` pixels high."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, films in zip(("before", "normal", "abnormal"), astuple(patients)[:3], strict=True):
        for number, film in enumerate(films):
            width = round(side * film.shape[1] / film.shape[0])
            Image.fromarray(film).resize((width, side), Image.Resampling.BOX).save(folder / f"{number}-{kind}.png")


def write_curriculum(
    file: Path, levels: Sequence[tuple[str, Patients, int]], reading: str, *, rows_per_step: int, seed: int
) -> Path:
    """Write rows for ``lgdea compare finetune``, level by level; twins of other readings have the same queries.

    Args:
        file: JSON lines; picture paths are relative to its folder.
        levels: Name of the folder of the films, patients, and steps to spend on them, easiest first.
        reading: A key of :data:`READINGS`.
        rows_per_step: Rows of a step.
        seed: Of the draws.
    """
    rng, rows = np.random.default_rng(seed), []
    for name, patients, steps in levels:
        for _ in range(steps * rows_per_step):
            n, other, shown, swapped = (int(rng.integers(k)) for k in (len(patients.left), len(patients.left), 2, 2))
            # two films of a patient without news are as good as each other
            before, after = ("normal", "before") if swapped else ("before", "normal")
            reference = references(reading, f"{name}/{n}-{before}.png", f"{name}/{other}-{before}.png")
            query = f"{name}/{n}-{'abnormal' if shown else after}.png"
            answer = ANSWERS[1 + int(patients.left[n])] if shown else ANSWERS[0]
            rows.append(row([*reference, query], reading, answer))
    file.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return file


def references(reading: str, prior: str, other: str) -> list[str]:
    """The pictures beside the query."""
    return [] if reading.endswith("single") else [other if reading == "other" else prior]


def row(images: list[str], reading: str, answer: str) -> dict[str, Any]:
    """One row of prompt and completion."""
    content: list[dict[str, str]] = []
    for number, text in enumerate(READINGS[reading].split("<image>")):
        content += [{"type": "image", "text": ""}] if number else []
        content.append({"type": "text", "text": text})
    return {
        "images": images,
        "prompt": [{"role": "user", "content": content}],
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": answer}]}],
    }
