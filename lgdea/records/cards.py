"""Data cards: what a dataset is, where it comes from, what is wrong with it. A YAML head and prose in Markdown."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lgdea.config_errors import explain
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


def load_card(name: str | Path) -> Card:
    """Read and validate a card.

    Args:
        name: Name of a card of lgdea, or the path of a file.

    Raises:
        UsageError: There is no such card.
        DataError: It has no YAML head, or a field is missing, unknown or of the wrong type.
    """
    file = str(name) if isinstance(name, Path) else f"data_cards/{name}.md"
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


def card_of(adapter: object) -> str | Path | None:
    """Return the name or file of a dataset's card, None where it has none.

    Args:
        adapter: The dataset's adapter. Its ``card`` is a path, or a name: of a card of lgdea, or of a file of this name
            and the ending ``.md`` beside its own module.
    """
    card = getattr(adapter, "card", None)
    if not card or isinstance(card, Path):
        return card or None
    module = sys.modules.get(type(adapter).__module__)
    if str(card) not in _shipped_cards() and module is not None and module.__file__:
        return Path(module.__file__).with_name(f"{str(card).removesuffix('.md')}.md")
    return str(card)


def card_text(name: str | Path) -> str:
    """The card as it is written.

    Args:
        name: Name of a card of lgdea, or the path of a file.

    Raises:
        UsageError: There is no such card.
    """
    if isinstance(name, Path):
        try:
            return name.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            remedy = "ship it with the package that has the dataset, or set card = None"
            raise UsageError(f"the data card cannot be read ({error})", file=name, remedy=remedy) from None
    cards = shipped("data_cards")
    known = _shipped_cards()
    if name not in known:
        raise UsageError(f"no data card {name!r}", remedy=f"known are {', '.join(known)}")
    return (cards / f"{name}.md").read_text(encoding="utf-8")


def _shipped_cards() -> list[str]:
    return sorted(f.name.removesuffix(".md") for f in shipped("data_cards").iterdir() if f.name.endswith(".md"))


def _split(text: str, file: str) -> tuple[str, str]:
    parts = text.split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        raise DataError("has no YAML head", file=file, remedy="begin it with a head between two --- lines")
    return parts[1], parts[2].strip()
