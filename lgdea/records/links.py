"""Links that a clerk has made: a spreadsheet of images and reports that belong together, brought into an archive."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.records.archive import Archive, write_archive
from lgdea.records.csv_io import read_spreadsheet
from lgdea.records.pairing import make_pairing
from lgdea.records.schema import TABLES
from lgdea.records.tables import Rows

LINK_COLUMNS = ("image_id", "report_id")


@dataclass(frozen=True)
class Link:
    """A filled row: an image and the report of the same examination, with their studies and patients."""

    file: Path
    row: int
    image_id: str
    report_id: str
    image_study: str
    report_study: str

    def error(self, problem: str, remedy: str) -> DataError:
        """An error that names the row."""
        return DataError(problem, file=self.file, row=self.row, remedy=remedy)


def read_links(archive: Archive, files: Sequence[str | Path]) -> list[Link]:
    """Read the rows of spreadsheets in which both ``image_id`` and ``report_id`` stand; others are not filled in yet.

    Args:
        archive: Its ids may be written without the dataset's name in front, as long as one dataset alone has the id.
        files: CSV files, such as `lgdea data suggest-links` writes; rows are numbered as a spreadsheet shows them.

    Raises:
        UsageError: There is no such file.
        DataError: A column is missing, an id is not the archive's, or an image or a report is linked twice.
    """
    studies = {
        key: dict(zip(table[key], table["study_id"], strict=True))
        for key, table in (("image_id", archive.images), ("report_id", archive.reports))
    }
    datasets = sorted({archive.name, *archive.studies["dataset"]})
    links: list[Link] = []
    seen: dict[tuple[str, str], Link] = {}
    for file in map(Path, files):
        for number, cells in read_spreadsheet(file, LINK_COLUMNS):
            given = [cells.get(key, "").strip() for key in LINK_COLUMNS]
            if not all(given):
                continue
            ids = [
                _find(datasets, studies[key], value, key, file, number)
                for key, value in zip(LINK_COLUMNS, given, strict=True)
            ]
            link = Link(file, number, ids[0], ids[1], studies["image_id"][ids[0]], studies["report_id"][ids[1]])
            for key, value in zip(LINK_COLUMNS, ids, strict=True):
                first = seen.setdefault((key, value), link)
                if (first.image_study, first.report_id) != (link.image_study, link.report_id):
                    where = f"row {first.row}" + ("" if first.file == file else f" of {first.file}")
                    raise link.error(f"links {value!r}, which {where} links otherwise", "keep one of the two rows")
            links.append(link)
    return links


def pair_links(archive: Archive, files: Sequence[str | Path]) -> pd.DataFrame:
    """Make the pairing in which exactly the studies are linked that spreadsheets name.

    Args:
        archive: Its studies must be split.
        files: As of :func:`read_links`.

    Raises:
        UsageError: No row is filled in.
        DataError: As :func:`read_links`; a row joins two studies, or is not of the training split.
    """
    links = _filled(archive, files)
    splits = archive.studies.set_index("study_id")["split"]
    for link in links:
        if link.image_study != link.report_study:
            raise link.error(
                f"joins an image of study {link.image_study!r} and a report of {link.report_study!r}",
                "`lgdea data link` makes an archive of such links",
            )
        if splits[link.image_study] != "train":
            raise link.error(f"is of the {splits[link.image_study]} split", "leave it out; only training links count")
    pairing = make_pairing(archive, fraction=0.0)
    pairing.loc[pairing["study_id"].isin({link.image_study for link in links}), "state"] = "paired"
    pairing.attrs = {"archive": archive.name, "links": ", ".join(str(file) for file in files)}
    return pairing


def without_wrong(pairing: pd.DataFrame, file: str | Path) -> pd.DataFrame:
    """Hide the links of a pairing that somebody has found to be wrong.

    Args:
        pairing: As :func:`~lgdea.records.pairing.make_pairing` makes it.
        file: A CSV file with ``study_id`` (a dataset's name in front may be missing) and ``wrong``, such as `lgdea data
            doubt-links` writes; whatever stands in ``wrong`` says that the link is.

    Raises:
        UsageError: There is no such file, or nothing is filled in.
        DataError: A column is missing, or a study is not the pairing's.
    """
    rows = [(n, row["study_id"]) for n, row in read_spreadsheet(file, ["study_id", "wrong"]) if row["wrong"].strip()]
    if not rows:
        raise UsageError("no link is said to be wrong", file=file, remedy="fill in the column wrong")
    known = set(pairing["study_id"])
    datasets = sorted({study.partition(":")[0] for study in known})
    named = [_find(datasets, known, study.strip(), "study_id", Path(file), number) for number, study in rows]
    wrong = pairing["study_id"].isin(named) & (pairing["state"] == "paired")
    kept = pairing.assign(state=pairing["state"].mask(wrong, "unlinked"))
    kept.attrs = {**pairing.attrs, "wrong": int(wrong.sum())}
    return kept


def link_archive(archive: Archive, files: Sequence[str | Path], out: str | Path) -> tuple[Archive, int]:
    """Write an archive in which linked images stand in the study of their report.

    Images move and reports stay, so that the evidence of the reports remains that of the new archive. What the
    image's study knows (labels, its own site, sex, age) goes along; where the report's study says something it wins.

    Args:
        archive: The archive, which stays as it is.
        files: As of :func:`read_links`.
        out: Folder of the new archive.

    Returns:
        The new archive, and how many links are new; the others were there already.

    Raises:
        UsageError: No row is filled in, or ``out`` holds another archive.
        DataError: As :func:`read_links`; a study has the other side already, or two patients or two sides of the split
            would be joined.
    """
    links = [link for link in _filled(archive, files) if link.image_study != link.report_study]
    joined = {link.image_study: link for link in links}
    studies = archive.studies.set_index("study_id", drop=False)
    _check_joins(archive, links, studies)
    new_study = {study: link.report_study for study, link in joined.items()}
    new_patient = _patients(links, studies["patient_id"])
    of_images = studies.loc[list(new_study)].set_axis(list(new_study.values()))
    merged = studies.drop(index=list(new_study)).astype(object).combine_first(of_images.astype(object))
    merged = merged.loc[[study for study in studies.index if study not in new_study], list(archive.studies.columns)]
    merged["patient_id"] = merged["patient_id"].replace(new_patient)
    tables: dict[str, Rows] = {name: getattr(archive, name) for name in TABLES}
    tables["studies"] = merged.astype(archive.studies.dtypes.to_dict()).reset_index(drop=True)
    tables["images"], tables["labels"] = (
        table.assign(study_id=table["study_id"].replace(new_study)) for table in (archive.images, archive.labels)
    )
    extras = {}
    for name in archive.extra_names:
        extra = archive.extra(name)
        assert extra is not None
        extras[name] = extra.replace({"study_id": new_study}) if "study_id" in extra else extra
    info = {**archive.info, "linked": len(links)}
    return write_archive(out, archive.name, tables, archive.image_root, info, extras, archive.patient_keys), len(links)


def _filled(archive: Archive, files: Sequence[str | Path]) -> list[Link]:
    links = read_links(archive, files)
    if not links:
        raise UsageError(
            "no row has both an image_id and a report_id",
            file=", ".join(str(file) for file in files),
            remedy="fill in the empty one of the two columns",
        )
    return links


def _find(datasets: Sequence[str], known: Container[str], value: str, key: str, file: Path, row: int) -> str:
    """The archive's id that a cell means: as it stands, or with the name of a dataset in front."""
    if value in known:
        return value
    found = [spelled for spelled in (f"{name}:{value}" for name in datasets) if spelled in known]
    if len(found) == 1:
        return found[0]
    what = key.removesuffix("_id")
    if found:
        raise DataError(
            f"names the {what} {value!r}, which is {' or '.join(map(repr, found))}", file=file, row=row,
            remedy=f"write the dataset's name in front of {key}",
        )  # fmt: skip
    raise DataError(f"names the {what} {value!r}, which the archive lacks", file=file, row=row, remedy=f"correct {key}")


def _check_joins(archive: Archive, links: list[Link], studies: pd.DataFrame) -> None:
    """Refuse links that contradict what the archive knows."""
    patient, split = studies["patient_id"], studies["split"]
    with_report, with_image = set(archive.reports["study_id"]), set(archive.images["study_id"])
    reporting = set(patient[studies["study_id"].isin(with_report)])
    imaged = set(patient[studies["study_id"].isin(with_image)])
    for link in links:
        if link.image_study in with_report:
            raise link.error(f"links {link.image_id!r}, whose study has a report", "correct image_id or report_id")
        if link.report_study in with_image:
            raise link.error(f"links {link.report_id!r}, whose study has an image", "correct image_id or report_id")
        # Where images and reports were never linked, each side has patients of its own. A patient whom both sides know
        # is somebody, and not the patient of the other side.
        ours, theirs = patient[link.image_study], patient[link.report_study]
        if ours != theirs and (ours in reporting or theirs in imaged):
            raise link.error(f"joins an image of patient {ours!r} and a report of {theirs!r}", "correct one of the ids")
        if split[link.image_study] != split[link.report_study] and not (
            pd.isna(split[link.image_study]) and pd.isna(split[link.report_study])
        ):
            raise link.error(
                f"joins an image of the {split[link.image_study]} split and a report of the "
                f"{split[link.report_study]} split",
                "leave the row out, so that no patient is on two sides",
            )


def _patients(links: list[Link], patient: pd.Series) -> dict[str, str]:
    """The patient whom each patient of an image turns out to be; chains of links end at one."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while name in leader:
            name = leader[name]
        return name

    for link in links:
        ours, theirs = find(patient[link.image_study]), find(patient[link.report_study])
        if ours != theirs:
            leader[ours] = theirs
    return {name: find(name) for name in leader}
