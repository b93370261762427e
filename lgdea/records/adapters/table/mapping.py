"""Configuration of the ``table`` adapter: what each column means, as YAML or as ``key=value`` options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from lgdea.config import Config

EMPTY = ("na", "n/a", "nan", "none", "null", "nil", "unknown", "?", "-", "--", "<na>", "not available")
"""Cells that say nothing, whatever their case; ids, report text and label values have rules of their own."""

VALUES: Mapping[str, float] = {
    **dict.fromkeys(
        ("1", "1.0", "yes", "y", "true", "t", "present", "positive", "pos", "x", "✓", "✔", "✗", "☒", "☑", "+", "(+)",
         "ja", "j", "wahr", "vorhanden", "positiv", "waar", "aanwezig", "positief", "oui", "vrai", "présent",
         "présente", "positif", "sí", "si", "s", "verdadero", "presente", "positivo", "sim",
         "verdadeiro", "sì", "vero"), 1.0,
    ),
    **dict.fromkeys(
        ("0", "0.0", "no", "n", "false", "f", "absent", "negative", "neg", "☐", "(-)", "nein", "falsch",
         "nicht vorhanden", "keine", "kein", "negativ", "nee", "onwaar", "afwezig", "negatief", "non", "faux",
         "absente", "négatif", "falso", "ausente", "negativo", "não", "nao", "assente"), 0.0,
    ),
    **dict.fromkeys(
        ("-1", "-1.0", "u", "uncertain", "possible", "equivocal", "maybe", "fraglich", "unklar", "möglich", "mogelijk",
         "onzeker", "dubieus", "incertain", "douteux", "posible", "dudoso", "incierto", "possível", "duvidoso",
         "possibile", "dubbio", "incerto"), -1.0,
    ),
}  # fmt: skip
"""Cells of label columns, in the languages of column names; a comma counts as a decimal point."""


def label_word(cell: str) -> str:
    """A label's cell as :data:`VALUES` spells it.

    >>> label_word(" -1,0"), label_word("1.00"), label_word("Ja")
    ('-1', '1', 'ja')
    """
    small = cell.strip().lower()
    number = re.fullmatch(r"(-?\d+)[.,]0+", small)
    return number[1] if number else small


def _as_text(value: Any) -> Any:
    """YAML reads a column named 12 as a number."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _as_words(value: Any) -> Any:
    """Keys as lower-case text; YAML reads ``yes`` as true, so that a truth value stands for all its words."""
    if not isinstance(value, Mapping):
        return value
    result: dict[str, Any] = {}
    for key, meaning in value.items():
        spelled = {True: ("true", "yes", "on"), False: ("false", "no", "off")}[key] if isinstance(key, bool) else (key,)
        result.update({str(word).strip().lower(): meaning for word in spelled})
    return result


def _as_list(value: Any) -> Any:
    return (
        [_as_text(item) for item in value] if isinstance(value, list) else value if value is None else [_as_text(value)]
    )


Column = Annotated[str, BeforeValidator(_as_text)]
Columns = Annotated[list[Column], BeforeValidator(_as_list)]
Meaning = Annotated[str | None, BeforeValidator(_as_text)]
FieldName = Literal["study", "patient", "view", "sex", "age", "date", "day", "split", "site", "language", "modality"]


class LabelMapping(Config):
    """Columns of findings.

    Give ``columns``, ``words`` or both. A finding is named by vocabulary id, name, synonym or another dataset's code.
    """

    columns: dict[Column, Meaning] | list[Column] | None = None
    """A column per finding: ``{Pleural effusion: pleural_effusion}``, or a list of columns whose names say it."""
    values: Annotated[dict[str, Literal[0, 1, -1] | None], BeforeValidator(_as_words)] = Field(default_factory=dict)
    """Meaning of the cells of ``columns``: 1 present, 0 absent, -1 uncertain, null nothing; beside the usual words."""
    words: Column | None = None
    """One column of separated findings, such as ``Effusion|Mass``."""
    separator: str | None = None
    """The characters that separate words; by default the first of ``|``, ``;`` and ``,`` that occurs."""
    unlisted_is_absent: bool = False
    """If true, a finding that a filled cell of ``words`` does not list, but another one does, is 0."""
    findings: dict[str, str | None] = Field(default_factory=dict)
    """The source's word to a finding, where the vocabulary does not know the word; null ignores the word."""
    codes: str | None = None
    """Code system to ask first: chexpert14, nih14, openi14, openi_mesh, vindr, padchest, radlex, medreco."""
    level: Literal["study", "image"] | None = None
    """Level of the labels; by default the study's, unless its rows say different things."""
    labeller: str | None = None
    """Source of the labels; by default the dataset's name."""


class BoxMapping(Config):
    """Columns of boxes, in a table of their own or in the main table."""

    table: str | None = None
    """File beside the main table; null: the main table's own rows."""
    image: Column | None = None
    """Column that names the image by path, file name, file name without its ending, or image id."""
    finding: Column | None = None
    """Column of the source's word for what the box shows."""
    x_min: Column | None = None
    """Column of the left edge."""
    y_min: Column | None = None
    """Column of the top edge."""
    x_max: Column | None = None
    """Column of the right edge."""
    y_max: Column | None = None
    """Column of the bottom edge."""
    width: Column | None = None
    """With ``x_min`` and ``y_min``, instead of ``x_max``."""
    height: Column | None = None
    """With ``y_min``, instead of ``y_max``."""
    unit: Literal["pixels", "fractions"] | None = None
    """Of the coordinates; by default fractions when no coordinate is above 1."""
    frame: tuple[float, float] | None = None
    """(width, height) of the pictures that the boxes were drawn on, when the stored ones are of another size."""
    laterality: Column | None = None
    """Column of the patient's side: left, right, bilateral, midline."""
    phrase: Column | None = None
    """Column of the words that the box belongs to."""
    findings: dict[str, str | None] = Field(default_factory=dict)
    """The source's word to a finding, where the vocabulary does not know the word; null ignores the word."""
    codes: str | None = None
    """Code system to ask first, as for labels."""


class JoinMapping(Config):
    """A second table whose columns are added by a key that both have."""

    table: str
    """File beside the main table."""
    on: Column | None = None
    """Column of the key; by default the study's or patient's id, or another column of both tables."""
    key: Column | None = None
    """The key's column in the second table, where it has another name there."""


class TableMapping(Config):
    """Meaning of a table's columns; what is not given is recognised by its usual names.

    ``null`` says that there is none. ``study`` and ``patient`` may be several columns, joined by ``-``.
    """

    dataset: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Name of the archive and prefix of its ids; by default the table's file name."""
    table: str | None = None
    """The table's file when the source is a folder that holds several; ``part-*.parquet`` reads several as one."""
    join: JoinMapping | None = None
    """A second table, joined by a key."""
    encoding: str = "utf-8"
    """Encoding of a text table; a byte-order mark says more."""
    separator: str | None = None
    """Between the cells of a text table; by default that of ``,`` ``;`` ``|`` and tab which cuts all rows alike."""
    quoted: bool | None = None
    """If false, quotation marks are ordinary characters; if true, those around cells with line breaks are right; by
    default a cell that seems to hold other rows is a problem."""
    escape: str | None = Field(None, min_length=1, max_length=1)
    """Character that stands before a quotation mark inside a cell, mostly a backslash; by default it is doubled."""
    header: Literal["none"] | Annotated[int, Field(ge=1)] | None = None
    """Number of the header's row, blank rows not counted, or ``none``: columns are ``column1``, ``column2`` ..."""

    study: Columns | None = None
    """Column, or columns, of the study's id."""
    patient: Columns | None = None
    """Column, or columns, of the patient's id."""
    image: Annotated[dict[Column, Meaning] | Columns | None, Field(union_mode="left_to_right")] = None
    """Column of a path, several columns, or ``{column: view}``."""
    image_id: Column | None = None
    """Column of the image's id; by default the study's id and a number."""
    image_root: Path | None = None
    """Folder of the image paths; relative to the table's folder, which is the default."""
    image_bits: Literal[8, 10, 12, 14, 16] | None = None
    """Bit depth of all 16-bit greyscale pictures; by default each picture's own, as far as its values tell it."""
    image_path: str | None = None
    """Path made of columns, ``{patient}/{file}.png``, in the place of ``image``."""
    any_ending: bool = False
    """If true, an image whose file is missing may have another ending: ``a.dcm`` in the table, ``a.png`` on disk."""
    ids: Literal["written", "numbers"] | None = None
    """``numbers`` makes ``10.0``, ``10,0`` and ``0010`` the id ``10``, and ``1,234`` the id ``1234``; ``written`` keeps
    ids apart that are written differently; by default such ids, and those that a spreadsheet has rounded
    (``1.2E+14``), are a problem."""
    report: Column | None = None
    """Column of the text."""
    report_file: Column | None = None
    """Column of the path of a UTF-8 text file."""
    report_root: Path | None = None
    """Folder of the report files; relative to the table's folder, which is the default."""
    sections: Annotated[dict[str, Column] | Columns | None, Field(union_mode="left_to_right")] = None
    """Columns joined as lines ``FINDINGS: words``; ``{FINDINGS: column}`` gives them other names."""

    view: Column | list[Column] | None = None
    """Column of the projection: AP, PA, lateral; of several columns the first that says something."""
    sex: Column | None = None
    """Column of the patient's sex."""
    age: Column | None = None
    """Column of the age in years."""
    date: Column | None = None
    """Becomes ``day``, counted from the patient's first study."""
    date_format: str | None = None
    """As for strptime, ``%d.%m.%Y``; ``excel`` for the numbers by which spreadsheets count days."""
    day: Column | None = None
    """Column of the day, counted from the patient's first study."""
    split: Column | None = None
    """Without it patients are split by their hash, 70/10/20."""
    site: Column | None = None
    """Column of the hospital or device."""
    language: Column | None = None
    """Column of the report's language."""
    modality: Column | None = None
    """Column of the modality."""

    constants: dict[Literal["view", "site", "language", "modality"], str] = Field(default_factory=dict)
    """Values that hold for every row."""
    words: dict[FieldName, Annotated[dict[str, Meaning], BeforeValidator(_as_words)]] = Field(default_factory=dict)
    """Meaning of a field's cells: ``{sex: {"1": M, "2": F}, split: {"0": train}}``; null is an empty cell."""
    patterns: dict[Literal["study", "patient"], str] = Field(default_factory=dict)
    """The part of a cell that is the id, a regular expression: ``patient\\d+`` of ``train/patient7/study1/a.png``."""
    empty: list[str] = Field(default_factory=lambda: list(EMPTY))
    """Cells that say nothing, whatever their case."""

    labels: LabelMapping | None = None
    """Findings of studies or images."""
    boxes: BoxMapping | None = None
    """Boxes drawn on images."""
    guess: bool = True
    """If true, columns that nobody named are recognised."""
    on_problem: Literal["error", "leave_out"] = "error"
    """Treatment of rows that have problems: stop at the first, or leave them out and count them."""

    @model_validator(mode="after")
    def _check_one_text(self) -> TableMapping:
        given = [name for name in ("report", "report_file", "sections") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} both say where the text is; give one")
        if self.date and self.day:
            raise ValueError("date and day both say when the study was; give one")
        for name, pattern in self.patterns.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"patterns.{name} is no regular expression ({error})") from None
        if self.image_path and self.image:
            raise ValueError("image_path and image both say where the pictures are; give one")
        if self.image_path and not self.path_columns():
            raise ValueError("image_path names no column; write it like {patient}/{file}.png")
        return self

    def view_columns(self) -> list[str]:
        """The columns of the projection."""
        return [self.view] if isinstance(self.view, str) else self.view or []

    def path_columns(self) -> list[str]:
        """The columns that ``image_path`` names."""
        return re.findall(r"\{([^{}]+)\}", self.image_path or "")

    def image_columns(self) -> dict[str, str | None]:
        """The image columns, each with its view where the mapping says it."""
        if self.image_path:
            return {self.image_path: None}
        image = self.image or {}
        return dict(image) if isinstance(image, dict) else dict.fromkeys(image)

    def section_columns(self) -> dict[str, str]:
        """Section name to column."""
        sections = self.sections or {}
        if isinstance(sections, dict):
            return dict(sections)
        return {column.replace("_", " ").strip().upper(): column for column in sections}

    def named_columns(self) -> dict[str, list[str]]:
        """Columns of each field of the main table that has any."""
        result: dict[str, list[str]] = {
            "study": self.study or [],
            "patient": self.patient or [],
            "image": list(self.image_columns()),
            "image_path": self.path_columns(),
            "view": self.view_columns(),
            "sections": list(self.section_columns().values()),
        }
        for name in ("image_id", "report", "report_file", "sex", "age", "date", "day", "split", "site",
                     "language", "modality"):  # fmt: skip
            column = getattr(self, name)
            result[name] = [column] if column else []
        if self.labels is not None:
            result["labels"] = [*(self.labels.columns or []), *([self.labels.words] if self.labels.words else [])]
        if self.boxes is not None and self.boxes.table is None:
            result["boxes"] = box_columns(self.boxes)
        return {name: columns for name, columns in result.items() if columns}


def box_columns(boxes: BoxMapping) -> list[str]:
    """All columns that a box mapping names."""
    names = ("image", "finding", "x_min", "y_min", "x_max", "y_max", "width", "height", "laterality", "phrase")
    return [column for column in (getattr(boxes, name) for name in names) if column]
