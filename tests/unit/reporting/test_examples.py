from __future__ import annotations

import pandas as pd

from lgdea.records.archive import Archive
from lgdea.reporting.examples import choose_images, choose_reports, image_examples, spans_of


def test_reports_come_from_the_test_part_first_and_no_text_twice(world) -> None:
    archive = Archive.open(world.archive)
    units = pd.read_parquet(world.evidence / "evidence.parquet")
    chosen = choose_reports(archive, units, count=5, seed=0)
    split = dict(zip(archive.studies["study_id"], archive.studies["split"], strict=True))
    assert [split[r.report_id.removesuffix(":r")] for r in chosen[:4]] == ["test"] * 4
    assert split[chosen[4].report_id.removesuffix(":r")] != "test"
    assert len({r.report_id for r in chosen}) == 5
    assert chosen[0].units[0].where == "left lung"
    assert chosen[0].units[0].details == "moderate"


def test_reports_with_one_unit_are_not_shown(world) -> None:
    units = pd.read_parquet(world.evidence / "evidence.parquet").drop_duplicates("report_id")
    assert choose_reports(Archive.open(world.archive), units, count=5, seed=0) == []


def test_images_show_as_many_findings_as_possible(world) -> None:
    chosen = choose_images(Archive.open(world.archive), {}, count=4, seed=0)
    assert len({c.phrase for c in chosen}) == 4
    assert len({c.image_id for c in chosen}) == 4
    assert chosen[0].boxes == ((30.0, 30.0, 50.0, 50.0),)
    assert (chosen[0].width, chosen[0].height) == (64, 64)


def test_an_image_that_cannot_be_read_gives_its_place_to_the_next(world, tmp_path) -> None:
    archive = Archive.open(world.archive)
    first = choose_images(archive, {}, count=1, seed=0)[0]
    lost = archive.images["path"].where(archive.images["image_id"] != first.image_id, str(tmp_path / "gone.png"))
    without = Archive.open(world.archive).with_tables(images=archive.images.assign(path=lost))
    chosen = choose_images(without, {}, count=4, seed=0)
    assert len(chosen) == 4
    assert first.image_id not in {c.image_id for c in chosen}
    assert image_examples(without, [(first.image_id, first.phrase)], {}) == {}


def test_a_unit_without_a_place_has_no_span(world) -> None:
    units = pd.read_parquet(world.evidence / "evidence.parquet").head(3)
    units.loc[units.index[0], "alignment"] = "none"
    spans = spans_of(units)
    assert [s.assertion for s in spans] == ["absent", "uncertain"]
    assert spans[0].tip == "pneumothorax: absent · left lung · moderate"
