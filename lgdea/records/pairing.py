"""Limited pairing of an archive: the studies that keep the link between image and report."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.records.archive import Archive
from lgdea.records.schema import Pairing
from lgdea.records.split import patient_position
from lgdea.records.tables import read_metadata, read_table, to_arrow, write_table

_SEAL = "rows_sha256"


def has_links(archive: Archive) -> bool:
    """Tell whether any training study of an archive has an image and a report.

    Args:
        archive: Its studies are split.
    """
    return bool(_sides(archive)[2].any())


def make_pairing(archive: Archive, fraction: float, seed: int = 0) -> pd.DataFrame:
    """Link ``fraction`` of the training patients who have both sides, and hide the other links.

    Whole patients are drawn, in an order that depends on ``seed`` and the patient alone, so with one seed the
    links at 1% are among those at 5%, and these among those at 20%. Links of validation and test studies are hidden
    as well; evaluation goes back to the archive for them.

    Args:
        archive: Its studies must be split.
        fraction: Share, in [0, 1], of the training patients with both an image and a report in one study; rounded to
            whole patients, at least one unless it is 0.
        seed: Another seed, another draw.

    Returns:
        One row of :class:`~lgdea.records.schema.Pairing` per study that has an image or a report; ``attrs`` holds the
        archive's name, the fraction and the seed.

    Raises:
        UsageError: ``fraction`` is outside [0, 1].
        DataError: The studies have no split, or no training study has both sides.
    """
    if not 0 <= fraction <= 1:
        raise UsageError(f"the paired fraction {fraction} is not in [0, 1]", remedy="0.05 means 5%")
    studies = archive.studies
    if studies["split"].isna().any():
        row = studies.loc[studies["split"].isna(), "study_id"].iloc[0]
        raise DataError("has no split", file=archive.folder / "studies.parquet", row=row, remedy="split by patient")
    has_image, has_report, linkable = _sides(archive)
    candidates = studies.loc[linkable, "patient_id"].unique()
    if fraction > 0 and not len(candidates):
        raise DataError(
            "has no training study with an image and a report, so nothing can be linked",
            file=archive.folder,
            remedy="join images and reports by their study: `lgdea data merge`, or name links: `lgdea data link`",
        )
    order = sorted(candidates, key=lambda patient: (patient_position(seed, patient, "pairing"), patient))
    count = max(1, int(fraction * len(order) + 0.5)) if fraction > 0 else 0
    linked = linkable & studies["patient_id"].isin(order[:count])
    state = pd.Series("unlinked", index=studies.index)
    state[linked] = "paired"
    state[has_image & ~has_report] = "image_only"
    state[has_report & ~has_image] = "text_only"
    pairing = studies.assign(state=state).loc[has_image | has_report, list(Pairing.model_fields)]
    pairing = pairing.reset_index(drop=True)
    pairing.attrs = {"archive": archive.name, "fraction": fraction, "seed": seed}
    return pairing


def _sides(archive: Archive) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Tell which studies have an image, which a report, and which training studies have both."""
    studies = archive.studies
    image, report = (studies["study_id"].isin(table["study_id"]) for table in (archive.images, archive.reports))
    return image, report, image & report & (studies["split"] == "train")


def write_pairing(pairing: pd.DataFrame, file: str | Path) -> None:
    """Write a pairing; the recipe that :func:`make_pairing` left in ``attrs`` stands in the file's metadata."""
    recipe = {str(key): str(value) for key, value in pairing.attrs.items()}
    rows = to_arrow(pairing, Pairing, file=file).to_pandas()
    write_table(file, pairing, Pairing, metadata={**recipe, _SEAL: _digest(rows)})


def read_pairing(file: str | Path) -> pd.DataFrame:
    """Read what :func:`write_pairing` wrote.

    Raises:
        UsageError: There is no such file.
        DataError: It is no pairing, or is not as it was written.
    """
    pairing = read_table(file, Pairing)
    expected = read_metadata(file).get(_SEAL)  # none in files of earlier versions
    if expected not in {None, _digest(pairing)}:
        raise DataError("is not as it was written", file=file, remedy="restore it, or make it again: `lgdea data pair`")
    return pairing


def is_pairing(file: str | Path) -> bool:
    """Tell whether a Parquet file is a pairing."""
    try:
        return read_metadata(file).get("lgdea_schema") == Pairing.__name__
    except DataError:
        return False


def _digest(pairing: pd.DataFrame) -> str:
    """Hash of the rows: a pairing is a file by itself, without a manifest that could hold the file's hash."""
    return hashlib.sha256(pairing.to_csv(index=False).encode()).hexdigest()
