"""Parsing of a table under its mapping: the archive's tables, and notes and problems about them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from lgdea.config import nest, read_yaml, validate_layers
from lgdea.config_errors import Layer
from lgdea.errors import DataError, UsageError
from lgdea.records.adapters.table import guess
from lgdea.records.adapters.table.boxes import BoxCounts, box_table
from lgdea.records.adapters.table.fields import Cells
from lgdea.records.adapters.table.guess_labels import box_fields
from lgdea.records.adapters.table.guess_text import find_prose
from lgdea.records.adapters.table.header import list_columns, list_names, shorten
from lgdea.records.adapters.table.images import ImageCounts, image_table
from lgdea.records.adapters.table.join import join_tables
from lgdea.records.adapters.table.labels import LabelCounts, label_table
from lgdea.records.adapters.table.mapping import BoxMapping, TableMapping
from lgdea.records.adapters.table.problems import RowProblems
from lgdea.records.adapters.table.reading import SourceTable, find_tables, read_source
from lgdea.records.adapters.table.reports import report_table, text_notes
from lgdea.records.adapters.table.studies import row_ids, study_table
from lgdea.records.adapters.table.text import TextFormat
from lgdea.records.patient_key import KEYED, PatientKey, count_plain_ids, describe_plain_ids
from lgdea.records.schema import TABLES

log = logging.getLogger(__name__)

ReadImages = Callable[[Cells, TableMapping, pd.DataFrame, Path, RowProblems], tuple[pd.DataFrame, ImageCounts]]


@dataclass
class ParsedTable:
    """All that a build writes and a dry run explains.

    Attributes:
        mapping: Complete; ``guessed`` names the fields that were recognised.
        source: The table.
        cells: Its columns as they are read.
        key: Hashes the patients' ids; None leaves them as the table writes them.
        tables: Rows of the archive's five tables.
        ids: ``study_id`` and ``patient_id`` of each row that has them.
        plain_ids: Where patients' ids still stand though there is a key.
        repeated_reports: Rows whose text their study has already.
    """

    mapping: TableMapping
    guessed: list[str]
    source: SourceTable
    cells: Cells
    problems: RowProblems
    notes: list[str] = field(default_factory=list)
    key: PatientKey | None = None
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    images: ImageCounts = field(default_factory=ImageCounts)
    labels: LabelCounts = field(default_factory=LabelCounts)
    boxes: BoxCounts | None = None
    ids: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["study_id", "patient_id"]))
    plain_ids: dict[str, int] = field(default_factory=dict)
    repeated_reports: int = 0

    def left_out(self) -> dict[str, pd.DataFrame]:
        """The archive's extra table of all rows that have a problem, if any has."""
        if not self.problems.found:
            return {}
        return {"left_out": self.problems.table(self.ids, self.source.file)}

    def patient_facts(self) -> dict[str, str]:
        """How the archive names its patients; an id that still stands somewhere is logged."""
        for note in describe_plain_ids(self.plain_ids):
            log.warning("%s: %s", self.source.file, note)
        return {"patient_ids": KEYED if self.key else "as the table writes them"} if self.mapping.patient else {}

    def patient_keys(self) -> dict[str, str]:
        """The fingerprint of the key by the dataset's name."""
        return {str(self.mapping.dataset): self.key.fingerprint} if self.key else {}

    def stop_at_problems(self) -> None:
        """Stop if the archive cannot be built as the mapping says.

        Raises:
            DataError: A row has a problem, or nothing would be left.
        """
        self.problems.raise_first(decisions=self.mapping.on_problem == "leave_out")
        if self.tables["studies"].empty:
            what = f": {self.problems.found[0].detail}" if self.problems.found else ""
            raise DataError(
                f"no study would be left{what}", file=self.source.file, remedy="--dry-run shows what is wrong with them"
            )


def load_mapping(options: dict[str, Any]) -> TableMapping:
    """The mapping of a YAML file (``mapping=FILE``) with the other options laid over it; keys may be dotted.

    Raises:
        ConfigError: A key does not exist or has a wrong value.
    """
    options = dict(options)
    file = options.pop("mapping", None)
    layers = [] if file is None else [Layer(read_yaml(str(file)), file=str(file))]
    layers += [Layer(nest({key: value}), name=f"--option {key}={value}") for key, value in options.items()]
    return validate_layers(TableMapping, layers, remedy="`lgdea data card table` lists the fields")


def parse_source(source: Path, options: dict[str, Any]) -> ParsedTable:
    """Read the table in ``source`` as ``options`` say.

    Raises:
        UsageError: A file or column that the mapping names does not exist, or the mapping is unclear.
        DataError: A file is damaged.
    """
    options, problems = dict(options), RowProblems()
    key = options.pop("patient_key", None)
    mapping = load_mapping(options)
    return parse_table(mapping, read_table(source, mapping, problems), problems, source, image_table, key)


def read_table(source: Path, mapping: TableMapping, problems: RowProblems) -> SourceTable:
    """The table in ``source``, a file or a folder that holds it."""
    files = find_tables(Path(source), mapping.table)
    table = read_source(files, problems, text_format(mapping))
    if mapping.join is None:
        return table
    second = files[0].parent / mapping.join.table
    if not second.is_file():
        raise UsageError("no such table", file=second, remedy="correct join.table")
    other = read_source(second, problems, text_format(mapping))
    return join_tables(table, other, mapping.join, problems, numbers=mapping.ids == "numbers")


def text_format(mapping: TableMapping) -> TextFormat:
    """How a text table is written, as far as the mapping says it."""
    return TextFormat(mapping.encoding, mapping.separator, mapping.quoted, mapping.escape, mapping.header)


def parse_table(
    mapping: TableMapping,
    table: SourceTable,
    problems: RowProblems,
    source: Path,
    read_images: ReadImages,
    key: PatientKey | None = None,
) -> ParsedTable:
    """Parse a table that was read, as :func:`parse_source` does; ``read_images`` makes the rows of ``Image``."""
    table, blank = _without_blank_rows(table)
    if table.frame.empty:
        # With every row refused, the first refusal tells more.
        problems.raise_first()
        raise DataError("has no rows", file=table.file, remedy="give a table with rows below its header")
    mapping, guessed, seen = guess.complete(mapping, table.frame, table.file, Path(source))
    words = {str(name): words for name, words in mapping.words.items()}
    cells = Cells(table.frame, table.file, empty=mapping.empty, words=words, problems=problems, other=table.other)
    for name, columns in mapping.named_columns().items():
        cells.require([column for column in columns if column != mapping.image_path], name)
    if mapping.image_path:
        cells.add_filled(mapping.image_path)
    if not (mapping.image_columns() or mapping.report or mapping.report_file or mapping.sections):
        raise UsageError(
            "no column of images or reports is known", file=table.file,
            remedy=f"say which, --option image=COLUMN or --option report=COLUMN; there are {list_columns(table.frame)}"
            + "".join(f"; {column} holds {what} and is not read" for column, what in list(table.other.items())[:5]),
        )  # fmt: skip
    parsed = ParsedTable(mapping, guessed, table, cells, problems, notes=[*table.notes, *seen], key=key)
    if blank:
        parsed.notes.append(f"{blank:,} rows are wholly empty")
    if mapping.guess and not mapping.model_fields_set & {"report", "report_file", "sections"}:
        _note_unread_text(parsed)
    _fill_tables(parsed, read_images)
    return parsed


def _note_unread_text(parsed: ParsedTable) -> None:
    """Where no column of reports is known, one that holds prose has to be decided: its text would be lost."""
    used = {column for columns in parsed.mapping.named_columns().values() for column in columns}
    prose = find_prose(parsed.cells.frame.drop(columns=list(used & set(parsed.cells.frame.columns))))
    parsed.problems.add(
        "no-report-column", parsed.cells.file, parsed.cells.frame.index if prose else [],
        f"no column of reports is known, and {list_names(prose, 4)} holds text",
        consequence="",
        remedy=f"say --option 'report={shorten(prose[0]) if prose else ''}' when it is the report, --option "
        "report=null when none is",
        decision=True,
    )  # fmt: skip


def _without_blank_rows(table: SourceTable) -> tuple[SourceTable, int]:
    """The table without the rows that spreadsheets leave at its end, and how many they were."""
    suspects = pd.Series(True, index=table.frame.index)
    for column in table.frame.columns:
        suspects &= table.frame[column] == ""
        if not suspects.any():
            return table, 0
    return replace(table, frame=table.frame[~suspects]), int(suspects.sum())


def _fill_tables(parsed: ParsedTable, read_images: ReadImages) -> None:
    mapping, cells, problems = parsed.mapping, parsed.cells, parsed.problems
    folder = parsed.source.file.parent
    root = (folder / (mapping.image_root or "")).resolve()
    rows, patients = row_ids(cells, mapping, problems, parsed.notes, parsed.key)
    parsed.ids = rows
    studies = study_table(cells, mapping, rows, problems)
    images, parsed.images = read_images(cells, mapping, rows, root, problems)
    reports, parsed.repeated_reports = report_table(cells, mapping, rows, folder, problems)
    used = pd.Index(pd.concat([images["study_id"], reports["study_id"]]).unique())
    bare = studies[used.get_indexer_for(pd.Index(studies["study_id"])) < 0]
    problems.add(
        "nothing-in-study",
        cells.file,
        bare["row"],
        f"the study {bare['study_id'].iloc[0]!r} has neither an image nor a report" if len(bare) else "",
        consequence="the study is left out",
        remedy="fill the image or the report",
    )
    studies = studies.drop(bare.index)
    labels, parsed.labels = label_table(
        cells, mapping, rows[used.get_indexer_for(pd.Index(rows["study_id"])) >= 0], images, problems
    )
    boxes = pd.DataFrame()
    if mapping.boxes is not None:
        boxes, parsed.boxes = _boxes(parsed, mapping.boxes, images)
    _add_notes(parsed, studies)
    parsed.notes += text_notes(reports["text"]) if len(reports) else []
    tables = {"studies": studies, "images": images, "reports": reports, "labels": labels, "boxes": boxes}
    for name, frame in tables.items():
        columns = [column for column in TABLES[name].model_fields if column in frame]
        parsed.tables[name] = frame[columns] if columns else pd.DataFrame(columns=list(TABLES[name].model_fields))
    if parsed.key is not None:
        problems.hide(patients)
        of_study = dict(zip(rows["study_id"], patients.loc[rows.index], strict=True))
        parsed.plain_ids = count_plain_ids(of_study, parsed.tables)
        parsed.notes += describe_plain_ids(parsed.plain_ids)


def _boxes(parsed: ParsedTable, boxes: BoxMapping, images: pd.DataFrame) -> tuple[pd.DataFrame, BoxCounts]:
    cells = parsed.cells
    if boxes.table is None and boxes.image is None and len(parsed.mapping.image_columns()) == 1:
        boxes = boxes.model_copy(update={"image": next(iter(parsed.mapping.image_columns()))})
    if boxes.table is not None:
        file = parsed.source.file.parent / boxes.table
        if not file.is_file():
            raise UsageError("no such table", file=file, remedy="correct boxes.table")
        form = replace(text_format(parsed.mapping), separator=None, header=None)
        table = read_source(file, parsed.problems, form)
        cells = Cells(table.frame, file, empty=parsed.mapping.empty, words={}, problems=parsed.problems)
        if parsed.mapping.guess:
            found = box_fields(boxes, table.frame)
            boxes = BoxMapping.model_validate(boxes.model_dump(exclude_unset=True) | found)
            parsed.mapping = parsed.mapping.model_copy(update={"boxes": boxes})
            parsed.guessed += [f"boxes.{name}" for name in found]
    return box_table(cells, boxes, images, parsed.problems)


def _add_notes(parsed: ParsedTable, studies: pd.DataFrame) -> None:
    if parsed.images.found_by_name:
        where = f"below {parsed.images.root}"
        parsed.notes.append(
            f"{parsed.images.found_by_name:,} images were found by their file name or the end of their path {where}"
        )
    parsed.notes += _depth_notes(parsed.images.depths, parsed.mapping.image_bits)
    if parsed.images.repeated:
        parsed.notes.append(f"{parsed.images.repeated:,} rows name an image that their study has already")
    if parsed.repeated_reports:
        parsed.notes.append(f"{parsed.repeated_reports:,} rows repeat the text of their study")
    if parsed.mapping.split is None:
        parsed.notes.append("no split column: patients are split by the hash of their id, 70/10/20")
    elif len(studies) and (missing := int(studies["split"].isna().sum())):
        parsed.notes.append(f"{missing:,} studies have no split")
    labels = parsed.mapping.labels
    if labels is not None and labels.words and not labels.unlisted_is_absent:
        parsed.notes.append("findings that a cell does not list have no value; labels.unlisted_is_absent makes them 0")
    if parsed.boxes is not None and parsed.boxes.without_coordinates:
        parsed.notes.append(f"{parsed.boxes.without_coordinates:,} box rows have no coordinates and are no boxes")


def _depth_notes(depths: dict[int, int], given: int | None) -> list[str]:
    """What has to be known where 16-bit pictures do not fill the same bits."""
    looked, most = sum(depths.values()), max(depths, key=lambda bits: depths[bits], default=0)
    cut = sum(count for bits, count in depths.items() if given is not None and bits > given)
    if cut:
        return [f"{cut} of {looked} 16-bit pictures that were looked at have more than {given} bits, which are cut off"]
    if given is not None or len(depths) < 2:
        return []
    shown = ", ".join(f"{count} have {bits} bits" for bits, count in depths.items())
    return [
        f"16-bit pictures have different depths (of {looked} that were looked at {shown}), each is scaled by its own; "
        f"where they come from one kind of device, give all the same, --option image_bits={most}"
    ]


def mapping_yaml(mapping: TableMapping) -> str:
    """The mapping as YAML that can be saved and given again; what was neither given nor found is not there."""
    return yaml.safe_dump(plain_mapping(mapping), sort_keys=False, allow_unicode=True, width=110)


def plain_mapping(mapping: TableMapping) -> dict[str, Any]:
    """The mapping as plain data; that there is no patient or report column is a statement too."""
    plain = mapping.model_dump(mode="json", exclude_defaults=True)
    none = {
        name: None
        for name in ("patient", "report")
        if name in mapping.model_fields_set and getattr(mapping, name) is None
    }
    return plain | none
