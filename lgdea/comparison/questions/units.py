"""Units of questions from an archive's evidence: pairs of one patient over time, pairs of two patients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from lgdea.comparison.change.labels import study_facts
from lgdea.comparison.change.pairs import Pairs, view_class
from lgdea.comparison.change.states import Source, change_truth
from lgdea.comparison.questions.question import Unit
from lgdea.records.archive import Archive
from lgdea.vocabulary.entailment import ABSENT, PRESENT, is_abnormal


def change_units(archive: Archive, pairs: Pairs, evidence: pd.DataFrame, source: Source = "evidence") -> list[Unit]:
    """A unit for each true change of a finding between a study and its prior.

    Args:
        archive: The archive.
        pairs: Studies beside their priors.
        evidence: Rows of :class:`~lgdea.evidence.schema.Unit`; their quotes are the reasons.
        source: Truth of the states, as of :func:`~lgdea.comparison.change.states.change_truth`.
    """
    truth, _ = change_truth(archive, pairs.table, source, evidence)
    paths = archive.images.set_index("image_id")["path"]
    quotes = _quotes(archive, evidence)
    rows = truth.merge(pairs.table.reset_index(drop=True).reset_index(names="pair"), on="pair")
    units = []
    each: Iterator[Any] = rows.itertuples(index=False)
    for row in each:
        said = [quotes.get((study, row.finding)) for study in (row.study_prior, row.study_current)]
        units.append(
            Unit(
                "change", str(row.finding), str(row.state), (paths[row.image_prior], paths[row.image_current]),
                (row.image_prior, row.image_current), (row.patient_id,), (said[0], said[1]),
                None if np.isnan(row.days) else float(row.days),
            )
        )  # fmt: skip
    return units


def difference_units(
    archive: Archive, split: str, evidence: pd.DataFrame, findings: list[str], *, most: int, seed: int
) -> list[Unit]:
    """Units of two patients' images of one view and modality, of which the reports say whether they show a finding.

    Args:
        archive: The archive.
        split: Split of the images; ``all`` takes all.
        evidence: Rows of ``Unit``.
        findings: Vocabulary ids.
        most: Units of each finding and kind: one image alone, both, neither.
        seed: Seed of the draws.
    """
    studies = archive.studies if split == "all" else archive.studies[archive.studies["split"] == split]
    images = archive.images.merge(studies[["study_id", "patient_id"]], on="study_id").drop_duplicates("study_id")
    images = images.assign(view=images["view"].map(view_class))
    facts = study_facts(evidence, archive.reports, images["study_id"].tolist(), findings)
    quotes = _quotes(archive, evidence)
    rng = np.random.default_rng([seed, 2])
    rows: list[Any] = list(images.itertuples(index=False))
    units = []
    for column, finding in enumerate(findings):
        shown, clear = (np.flatnonzero(facts.status[:, column] == value) for value in (PRESENT, ABSENT))
        for label, first, second in (("first", shown, clear), ("both", shown, shown), ("neither", clear, clear)):
            for a, b in _partners(first, second, rows, most, rng):
                pair = (rows[a], rows[b])
                said = [quotes.get((row.study_id, finding)) for row in pair]
                units.append(
                    Unit(
                        "difference", finding, label, (pair[0].path, pair[1].path),
                        (pair[0].image_id, pair[1].image_id), (pair[0].patient_id, pair[1].patient_id),
                        (said[0], said[1]),
                    )
                )  # fmt: skip
    return units


def _partners(first: Any, second: Any, rows: list[Any], most: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """At most ``most`` pairs of different patients, each image at most once on a side."""
    found: list[tuple[int, int]] = []
    pool = [int(i) for i in rng.permutation(second)]
    for a in rng.permutation(first):
        fit = next((b for b in pool if _comparable(rows[a], rows[b])), None)
        if fit is not None:
            pool.remove(fit)
            found.append((int(a), fit))
        if len(found) == most:
            break
    return found


def _comparable(a: Any, b: Any) -> bool:
    return a.patient_id != b.patient_id and a.view == b.view and a.modality == b.modality


def _quotes(archive: Archive, evidence: pd.DataFrame) -> dict[tuple[str, str], str]:
    """What a study's report says of a finding: what it states of its change first."""
    rows = evidence.merge(archive.reports[["report_id", "study_id"]], on="report_id")
    rows = rows.assign(silent=rows["change"].eq("unspecified")).sort_values("silent", kind="stable")
    quotes: dict[tuple[str, str], str] = {}
    normal: dict[str, str] = {}
    for study, finding, quote in zip(rows["study_id"], rows["finding"], rows["quote"], strict=True):
        quotes.setdefault((study, finding), quote)
        if finding == "no_finding":
            normal.setdefault(study, quote)
    return _WithNormal(quotes, normal)


class _WithNormal(dict[tuple[str, str], str]):
    """Quotes by study and finding; what a normal report says stands for every abnormal finding."""

    def __init__(self, quotes: dict[tuple[str, str], str], normal: dict[str, str]) -> None:
        super().__init__(quotes)
        self.normal = defaultdict(str, normal)

    def get(self, key: tuple[str, str], default: Any = None) -> Any:
        """What is said of the finding, else that all is normal."""
        return super().get(key) or (self.normal.get(key[0]) if is_abnormal(key[1]) else None) or default
