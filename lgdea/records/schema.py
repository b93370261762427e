"""Schema of an archive: one pydantic model per table row, and the Arrow schema made from it.

An archive is a folder: ``studies.parquet``, ``images.parquet``, ``reports.parquet``, ``boxes.parquet``,
``labels.parquet`` and ``archive.json``. Ids are strings with a dataset prefix (``openi:CXR1``). A value that is
not known is null, never a made-up default; a label that nobody gave is a missing row or NaN, never 0.
"""

from __future__ import annotations

import types
import typing
from typing import Literal, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lgdea.errors import UsageError

SCHEMA_VERSION = "1"

Split = Literal["train", "val", "test"]
SPLITS = (*get_args(Split), "all")
"""What may be asked for as a part of an archive; ``all`` takes every study."""
Laterality = Literal["left", "right", "bilateral", "midline", "unspecified"]


def check_split(name: str) -> None:
    """Refuse a part of an archive that no archive has.

    Raises:
        UsageError: It is none of :data:`SPLITS`.
    """
    if name not in SPLITS:
        raise UsageError(f"no split {name!r}", remedy=f"choose one of {', '.join(SPLITS)}")


class TableRow(BaseModel):
    """Base of all table rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Study(TableRow):
    """Images and reports of one patient visit."""

    study_id: str = Field(min_length=1)
    patient_id: str = Field(min_length=1)
    dataset: str
    site: str | None = None
    day: int | None = None
    """Days since an arbitrary per-patient origin; orders the studies of one patient."""
    sex: Literal["F", "M"] | None = None
    age: float | None = Field(None, ge=0, le=130)
    """Years."""
    split: Split | None = None


class Image(TableRow):
    """One stored picture; ``width`` and ``height`` are those of the stored (SOURCE) file."""

    image_id: str = Field(min_length=1)
    study_id: str = Field(min_length=1)
    path: str
    """Relative to the archive's ``image_root`` (see ``archive.json``), or absolute."""
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    view: str | None = None
    """PA, AP, AP supine, lateral ... as the source says it; null when it does not."""
    modality: str = "CR"


class Report(TableRow):
    """The raw text, verbatim; every evidence span points into ``text``."""

    report_id: str = Field(min_length=1)
    study_id: str = Field(min_length=1)
    text: str
    language: str = "en"


class Box(TableRow):
    """A located finding or structure: half-open, pixels of the SOURCE image."""

    box_id: str = Field(min_length=1)
    image_id: str = Field(min_length=1)
    finding: str
    """Vocabulary id of a finding or of an anatomy (see ``kind``)."""
    kind: Literal["finding", "anatomy"] = "finding"
    label: str
    """The source's own word."""
    phrase: str | None = None
    """The text to ground; null means the class text of ``finding``."""
    laterality: Laterality = "unspecified"
    x_min: float
    y_min: float
    x_max: float
    y_max: float
    mask_path: str | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Box:
        if not (self.x_max > self.x_min and self.y_max > self.y_min):
            raise ValueError(f"box {self.box_id} is empty: x {self.x_min}..{self.x_max}, y {self.y_min}..{self.y_max}")
        return self


class Label(TableRow):
    """One finding's value for a study, or for one of its images when ``image_id`` is given."""

    study_id: str = Field(min_length=1)
    image_id: str | None = None
    finding: str
    """Vocabulary id."""
    value: float | None
    """1 present, 0 absent, -1 uncertain, null no information."""
    labeller: str
    """Source of the label: ``nih-mined``, ``phantom-truth`` ..."""


TABLES: dict[str, type[TableRow]] = {
    "studies": Study,
    "images": Image,
    "reports": Report,
    "boxes": Box,
    "labels": Label,
}


class Pairing(TableRow):
    """One row of ``pairing.parquet``.

    ``paired``: image and report are linked. ``unlinked``: the study has both, the link is hidden, and each side joins
    its pool of unpaired items. ``image_only`` / ``text_only``: the study never had the other side.
    """

    study_id: str
    patient_id: str
    state: Literal["paired", "unlinked", "image_only", "text_only"]


def arrow_schema(row: type[BaseModel]) -> pa.Schema:
    """The Arrow schema of a row model; the schema version stands in the metadata."""
    fields = []
    for name, info in row.model_fields.items():
        kind, nullable = _arrow_type(info.annotation)
        fields.append(pa.field(name, kind, nullable=nullable))
    return pa.schema(fields, metadata={"lgdea_schema": row.__name__, "lgdea_schema_version": SCHEMA_VERSION})


def _arrow_type(annotation: object) -> tuple[pa.DataType, bool]:
    if get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [a for a in get_args(annotation) if a is not type(None)]
        return _arrow_type(inner[0])[0], True
    if get_origin(annotation) is Literal:
        return pa.string(), False
    simple: dict[object, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    return simple[annotation], False
