"""Data cards: what a dataset is, where it comes from, what is wrong with it. A YAML head and prose in Markdown."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lgdea.config import explain
from lgdea.errors import DataError, UsageError
from lgdea.reading import parse_yaml
from lgdea.shipped import shipped


class Card(BaseModel):
    """The head of a data card; ``prose`` is the Markdown below it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    source: str
    """Address at which it is published."""
    licence: str
    access: str
    """Way to get it, and terms to agree to."""
    layout: str
    """The files that the adapter expects."""
    counts: dict[str, int]
    """Of the whole published dataset; ``tested_*`` of the part that the adapter was tested with."""
    faults: list[str] = Field(min_length=1)
    """Known errors and surprises."""
    split_rule: str
    citation: str
    prose: str = Field(min_length=1)


def load_card(name: str) -> Card:
    """Read and validate the card ``data_cards/<name>.md``.

    Raises:
        UsageError: There is no such card.
        DataError: It has no YAML head, or a field is missing, unknown or of the wrong type.
    """
    file = f"data_cards/{name}.md"
    head, prose = _split(card_text(name), file)
    try:
        fields = parse_yaml(head)
    except ValueError as error:
        raise DataError(f"its head is not valid YAML ({error})", file=file, remedy="correct the head") from None
    if not isinstance(fields, dict):
        raise DataError("its head is no mapping", file=file, remedy="write key: value lines between the --- lines")
    try:
        return Card(**{str(key): value for key, value in fields.items()}, prose=prose)
    except ValidationError as error:
        raise DataError(explain(error), file=file, remedy="correct the head") from None


def card_text(name: str) -> str:
    """The card as it is written.

    Raises:
        UsageError: There is no such card.
    """
    cards = shipped("data_cards")
    known = sorted(file.name.removesuffix(".md") for file in cards.iterdir() if file.name.endswith(".md"))
    if name not in known:
        raise UsageError(f"no data card {name!r}", remedy=f"known are {', '.join(known)}")
    return (cards / f"{name}.md").read_text(encoding="utf-8")


def _split(text: str, file: str) -> tuple[str, str]:
    parts = text.split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        raise DataError("has no YAML head", file=file, remedy="begin it with a head between two --- lines")
    return parts[1], parts[2].strip()
