from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import ImageFont

from lgdea.errors import DataError
from lgdea.records.archive import Archive
from lgdea.reporting import measures
from lgdea.reporting.palette import SERIES
from lgdea.reporting.picture import HEIGHT, WIDTH, choose_example, draw, wrap


class Spot:
    """A model whose heat map peaks at (x, 40)."""

    def __init__(self, x: int) -> None:
        self.x = x

    def heat_map(self, image: np.ndarray, phrase: str) -> np.ndarray:
        y, x = np.mgrid[:64, :64]
        return np.exp(-((x - self.x) ** 2 + (y - 40) ** 2) / 100)


@pytest.fixture
def evidence(world) -> pd.DataFrame:
    return pd.read_parquet(world.evidence / "evidence.parquet")


def test_the_example_is_a_hit_that_the_report_states(world, evidence: pd.DataFrame) -> None:
    example = choose_example(Archive.open(world.archive), evidence, Spot(40), seed=0)
    assert example.phrase == "left pleural effusion"
    assert "pleural effusion" in example.report
    assert example.boxes == [(30, 30, 50, 50)]
    assert len(example.spans) == 3


def test_without_a_hit_a_miss_is_shown(world, evidence: pd.DataFrame) -> None:
    example = choose_example(Archive.open(world.archive), evidence, Spot(5), seed=0)
    assert example.phrase == "left pleural effusion"
    assert np.unravel_index(example.heat.argmax(), example.heat.shape)[1] == 5


def test_without_a_stated_finding_there_is_no_picture(world, evidence: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no study of the test part makes a picture"):
        choose_example(Archive.open(world.archive), evidence[evidence["assertion"] != "present"], Spot(5), seed=0)


def test_bars_are_as_long_as_their_values(world, evidence: pd.DataFrame) -> None:
    example = choose_example(Archive.open(world.archive), evidence, Spot(40), seed=0)
    tables = measures.task_tables({label: world.results[label] for label in ("lgdea", "clip")})
    picture = draw(example, measures.first_per_task(measures.headline_rows(tables)))
    assert picture.size == (WIDTH, HEIGHT)
    pixels = np.asarray(picture)
    lengths = []
    for colour in SERIES[:2]:
        of_colour = (pixels == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(-1)
        row = of_colour[:, WIDTH - 400 :].sum(axis=1)
        lengths.append(row[np.nonzero(row)[0][0]])  # the first bar: AUROC 0.9 beside 0.7
    assert lengths[0] / lengths[1] == pytest.approx(0.9 / 0.7, rel=0.03)


def test_wrapping_keeps_every_word_in_its_place() -> None:
    text = "FINDINGS:  a bb ccc\n\n dddd " + "x" * 200
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont)
    lines = wrap(text, 120, font)
    assert [text[a:b] for line in lines for a, b in line] == text.split()
    assert all(font.getlength(text[line[0][0] : line[-1][1]]) <= 120 for line in lines if len(line) > 1)
