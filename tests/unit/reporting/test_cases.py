"""Sheets of cases: what stands where in the picture, and what the page says, escaped and without requests."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from lgdea.errors import UsageError
from lgdea.reporting.case_page import page, write_sheet
from lgdea.reporting.cases import GAP, CaseColumn, CasePicture, CaseSheet
from tests.unit.reporting.conftest import ATTACK

DARK, BRIGHT = np.zeros((80, 60)), np.ones((60, 60))
HEAT = np.linspace(0, 1, 3600, dtype=np.float32).reshape(60, 60)


class Tags(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def sheet(title: str = "cases", **more) -> CaseSheet:
    columns = (
        CaseColumn.with_map(BRIGHT, HEAT, ("query", "id-1"), [(10, 10, 30, 30)]),
        CaseColumn(("prior", "id-2"), (CasePicture(DARK, caption="12 days earlier"),)),
    )
    return CaseSheet(title, columns, **more)


def test_pictures_stand_below_their_words_and_keep_their_shape() -> None:
    drawn = np.asarray(sheet().draw(side=160))
    # The first column's picture is white but for its box, the second one's (4:3) black.
    column = drawn[:, GAP + 150 + 2 * GAP + 40]
    black = np.flatnonzero((column == 0).all(axis=1))
    assert len(black) >= 150
    assert (np.diff(black[-100:]) == 1).all()
    assert drawn.shape[0] > 2 * 160  # the map below the picture
    coloured = np.ptp(drawn[drawn.shape[0] // 2 + 40 :, GAP : GAP + 160].astype(int), axis=2).max()
    assert coloured > 80


def test_a_table_and_notes_widen_the_picture_and_push_it_down() -> None:
    plain = sheet().draw(side=96)
    rows = (("left pleural effusion", "worse", "Worsening left pleural effusion compared with the study before."),) * 3
    more = sheet(head=("entity", "state", "sentence"), rows=rows, notes=("12 days apart",)).draw(side=96)
    assert more.height > plain.height + 4 * 18
    assert more.width > plain.width


def test_a_long_id_keeps_its_end() -> None:
    columns = (CaseColumn(("x" * 300 + "END",), (CasePicture(DARK),)),)
    assert CaseSheet("t", columns).draw(side=96).width < 400


def test_the_page_is_escaped_and_asks_for_nothing() -> None:
    columns = (CaseColumn((ATTACK, ATTACK), (CasePicture(BRIGHT, HEAT, caption=ATTACK),)),)
    text = page(CaseSheet(ATTACK, columns, (ATTACK,), (ATTACK, ATTACK), ((ATTACK, ATTACK),)))
    assert "<script>alert" not in text
    found = Tags(text)
    assert found.count("script") == 1
    assert found.text.count(ATTACK) == 10  # title, heading, note, two cells twice, two lines, caption
    for _, attributes in found.tags:
        assert (attributes.get("href") or "#")[0] in "#d"
        assert "src" not in attributes
    assert re.search(r"default-src 'none'", text)


def test_a_photograph_stands_in_the_page_once_and_each_map_over_it() -> None:
    columns = tuple(CaseColumn((str(k),), (CasePicture(BRIGHT, HEAT * k), CasePicture(BRIGHT))) for k in range(3))
    text = page(CaseSheet("t", columns))
    assert text.count("data:image/jpeg") == 1
    assert text.count('class="heat"') == 3
    assert "map strength" in text
    assert "map strength" not in page(CaseSheet("t", (CaseColumn(("a",), (CasePicture(DARK),)),)))


@pytest.mark.parametrize("ending", [".png", ".html", ".PNG"])
def test_the_ending_says_what_is_written(tmp_path, ending: str) -> None:
    file = write_sheet(sheet(), tmp_path / f"a{ending}")
    if ending.lower() == ".png":
        with Image.open(file) as picture:
            assert picture.mode == "RGB"
    else:
        assert file.read_text().startswith("<!doctype html>")
    with pytest.raises(UsageError, match=r"\.png or \.html"):
        write_sheet(sheet(), tmp_path / "a.jpg")
