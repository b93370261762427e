"""Two images of a patient, and a query beside healthy references; what the model lacks is said in a line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lgdea.app.bench import Bench, find_id
from lgdea.app.images import known_findings
from lgdea.comparison.change.pairs import choose_priors, prior_of
from lgdea.comparison.entity.entities import parse_entity
from lgdea.errors import DataError, UsageError
from lgdea.reporting.cases import CaseColumn, CasePicture, CaseSheet

if TYPE_CHECKING:
    import pandas as pd

MAPPED = 3
"""Findings whose maps are drawn where nobody named one."""


@dataclass(frozen=True, eq=False)
class Compared:
    """Cases side by side, and in ``notes`` what the model lacks."""

    sheet: CaseSheet
    notes: tuple[str, ...]


def list_pairs(bench: Bench) -> pd.DataFrame:
    """Pairs of a study and its prior, those of the test split first.

    Args:
        bench: Holds the archive.
    """
    table = choose_priors(bench.archive, "all").table
    split = table["study_current"].map(bench.archive.studies.set_index("study_id")["split"])
    order = split.map({"test": 0, "val": 1}).fillna(2)
    return table.assign(order=order).sort_values("order", kind="stable").drop(columns="order").reset_index(drop=True)


def compare_with_prior(bench: Bench, study: str, entities: str = "") -> Compared:
    """Tell what has become of entities since the prior study, with where the model looked in both images.

    Args:
        bench: Holds model and archive.
        study: Id of the current study, or a part of it.
        entities: Names, one a line or parted by commas; empty: what the images probably show.

    Raises:
        UsageError: No such study, or an entity means nothing.
        DataError: The study has no prior; the line says why.
    """
    if bench.archive.studies.empty:
        raise UsageError("the archive has no studies", remedy="start the app with one that has")
    study = find_id(study, bench.archive.studies["study_id"].tolist(), "study")
    names = [name.strip() for name in entities.replace("\n", ",").split(",") if name.strip()]
    pair = prior_of(bench.archive, study)
    before, now = (bench.read_pixels(str(pair[f"image_{side}"])) for side in ("prior", "current"))
    reader = bench.change_model
    if reader is not None:
        from lgdea.comparison.change.read import read_pair
        from lgdea.reporting.change_sheet import change_sheet

        found = read_pair(reader, before, now, names or None, days=float(pair["days"]))
        return Compared(change_sheet(found, before, now, dict(pair)), ())
    lacks = (
        "the model folder has no change head: each image is read alone, and a difference of two scores says neither "
        "new nor worse; `lgdea compare train MODEL ARCHIVE --config change` trains one"
    )
    return Compared(_two_readings(bench, dict(pair), before, now, names), (lacks,))


def _two_readings(bench: Bench, pair: dict[str, Any], before: Any, now: Any, names: list[str]) -> CaseSheet:
    """Scores of both images and their difference."""
    from lgdea.app.images import list_findings

    texts = [parse_entity(name).text for name in names] or [name for name, _ in list_findings(bench, now, MAPPED)]
    scores = bench.model.score_phrases([before, now], texts)
    maps = [bench.model.heat_maps(pixels, texts) for pixels in (before, now)]
    columns = [CaseColumn(("images",), (CasePicture(before, caption="prior"), CasePicture(now, caption="current")))]
    for i, text in enumerate(texts):
        lines = (text, f"{scores[0, i]:.2f}, then {scores[1, i]:.2f}")
        columns.append(CaseColumn(lines, (CasePicture(before, maps[0][i]), CasePicture(now, maps[1][i]))))
    rows = [
        (text, f"{scores[0, i]:.2f}", f"{scores[1, i]:.2f}", f"{scores[1, i] - scores[0, i]:+.2f}")
        for i, text in enumerate(texts)
    ]
    title = f"{pair['study_current']} beside its prior"
    note = f"prior: {pair['study_prior']}, {pair['days']:g} days earlier, chosen by: {pair['rule']}"
    return CaseSheet(title, tuple(columns), (note,), ("finding", "prior", "current", "difference"), tuple(rows))


def compare_with_references(bench: Bench, image: str, entity: str, *, strategy: str = "demographic") -> Compared:
    """Show an image beside healthy ones of other patients, with where its score comes from alone and beside them.

    Args:
        bench: Holds model and archive.
        image: Id of the query image, or a part of it.
        entity: A finding in words.
        strategy: How references are chosen.

    Raises:
        UsageError: No such image, or the words name no finding.
        DataError: The archive has no healthy image.
    """
    from lgdea.api.beside import read_beside

    image = bench.find_image(image)
    finding = parse_entity(entity).finding
    if finding is None:
        raise UsageError(f"{entity!r} names no finding of the vocabulary", remedy="name one, such as 'effusion'")
    bench.read_pixels(image)  # says what is wrong with the file before anything is computed
    beside = read_beside(
        bench.model, bench.archive, image, finding, strategy=strategy, evidence=bench.settings.evidence, grid=6  # type: ignore[arg-type]
    )  # fmt: skip
    notes = [
        "the model reads one image at a time: the references change what a hidden cell is filled with, not its score; "
        "a vision-language model reads them together (`lgdea compare ask`)"
    ]
    if finding not in known_findings(bench.model):
        notes.append(f"{finding.replace('_', ' ')} is none of the findings that the model was trained on")
    return Compared(beside.sheet, tuple(notes))


def need_pairs(table: pd.DataFrame) -> None:
    """Refuse to compare where no study has a prior.

    Args:
        table: Of :func:`list_pairs`.

    Raises:
        DataError: It is empty.
    """
    if table.empty:
        raise DataError("no study of the archive has a prior", remedy="priors need two dated studies of a patient")
