from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lgdea import runs
from lgdea.errors import DataError, UsageError
from lgdea.records.archive import Archive, write_archive
from lgdea.records.schema import Label
from lgdea.reporting import heatmaps as h
from lgdea.reporting.heatmaps import HeatMapConfig, maps_of_archive, maps_of_image
from lgdea.reporting.overlays import overlay, with_legend
from lgdea.reporting.palette import BOX, FOUND_BOX
from lgdea.vocabulary.phrases import canonical_phrase


class Spot:
    """Warm in one place of every image, which depends on the phrase; blind on the left."""

    name, scoring = "spot", "presence"

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.stop_after = stop_after

    def encode_images(self, images):
        raise NotImplementedError

    encode_texts = score_phrases = encode_images

    def heat_maps(self, image, phrases):
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += phrases
        maps = []
        for phrase in phrases:
            heat = np.zeros(image.shape, np.float32)
            heat[5:9, 20 + len(phrase) % 5 : 30] = 0.5
            heat[:, :10] = np.nan
            maps.append(heat)
        return maps


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "chest.png"
    Image.fromarray(np.full((40, 50), 120, np.uint8)).save(file)
    return file


def test_one_image(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "maps"
    entries = maps_of_image(Spot(), picture, ["abcde", "left effusion", "abcde"], out, HeatMapConfig())
    assert [e["phrase"] for e in entries] == ["abcde", "left effusion"]
    first = entries[0]
    assert (first["image_id"], first["width"], first["height"], first["low"], first["high"]) == (
        "chest",
        50,
        40,
        0,
        0.5,
    )
    assert first["boxes"] == [{"box": [20, 5, 30, 9], "score": 0.5, "peak": 0.5}]
    heat = np.load(out / "maps" / f"{first['key']}.npy")
    assert (heat.shape, heat.dtype) == ((40, 50), np.float32)
    np.testing.assert_array_equal(np.isnan(heat).all(axis=0), np.arange(50) < 10)
    drawn = np.asarray(Image.open(out / "overlays" / f"{first['key']}.png"))
    assert drawn.shape[0] >= 40
    assert drawn.shape[1] > 50
    assert (drawn[:40, :7] == 120).all()  # blind there: the source's own pixels, in their place
    assert json.loads((out / "boxes.json").read_text()) == entries
    assert runs.is_finished(out)


def test_what_is_not_wanted_is_not_written(picture: Path, tmp_path: Path) -> None:
    maps_of_image(Spot(), picture, ["x"], tmp_path / "o", HeatMapConfig(maps=False, overlays=False))
    assert {p.name for p in (tmp_path / "o").iterdir()} == {
        "_SUCCESS",
        "boxes",
        "boxes.json",
        "config.yaml",
        "env.json",
        "run.json",
    }


def test_an_archive_by_its_boxes(world, tmp_path: Path) -> None:
    archive = Archive.open(world.archive)
    entries = maps_of_archive(Spot(), archive, tmp_path / "o", HeatMapConfig(), split="all")
    boxes = archive.boxes[archive.boxes["kind"] == "finding"]
    phrases = boxes["phrase"].where(boxes["phrase"].notna(), boxes["finding"].map(canonical_phrase))
    assert {(e["image_id"], e["phrase"]) for e in entries} == set(zip(boxes["image_id"], phrases, strict=True))
    assert len({e["key"] for e in entries}) == len(entries)


def test_an_archive_by_its_labels_or_by_given_phrases(world, tmp_path: Path) -> None:
    plain = Archive.open(world.archive)
    first = plain.images.iloc[0]
    labels = [
        Label(study_id=study, finding=finding, value=value, labeller="truth")
        for study, finding, value in [
            (first["study_id"], "edema", 1.0),
            ("toy:1", "no_finding", 1.0),
            ("toy:2", "nodule", 0.0),
        ]
    ] + [Label(study_id=first["study_id"], image_id=first["image_id"], finding="nodule", value=1.0, labeller="truth")]
    tables = {name: getattr(plain, name) for name in ("studies", "images", "reports", "boxes")}
    archive = write_archive(tmp_path / "a", "toy", {**tables, "labels": labels}, plain.image_root, {})
    labelled = maps_of_archive(Spot(), archive, tmp_path / "l", HeatMapConfig(), split="all", of="labels")
    study = plain.images.loc[plain.images["study_id"] == first["study_id"], "image_id"]
    expected = {(i, canonical_phrase("edema")) for i in study} | {(first["image_id"], canonical_phrase("nodule"))}
    assert {(e["image_id"], e["phrase"]) for e in labelled} == expected
    given = maps_of_archive(Spot(), archive, tmp_path / "p", HeatMapConfig(), split="test", phrases=["one", "two"])
    test = archive.images.merge(archive.studies, on="study_id").query("split == 'test'")
    assert [(e["image_id"], e["phrase"]) for e in given] == [(i, p) for i in test["image_id"] for p in ("one", "two")]


def test_an_interrupted_archive_goes_on_and_another_rule_is_refused(world, tmp_path: Path) -> None:
    archive, config = Archive.open(world.archive), HeatMapConfig(maps=False)
    with pytest.raises(KeyboardInterrupt):
        maps_of_archive(Spot(stop_after=3), archive, tmp_path / "o", config, split="all")
    assert not runs.is_finished(tmp_path / "o")
    done = len(list((tmp_path / "o" / "boxes").glob("*.json")))
    assert done >= 3
    model = Spot()
    entries = maps_of_archive(model, archive, tmp_path / "o", config, split="all")
    assert len(model.asked) == len(entries) - done
    assert maps_of_archive(Spot(stop_after=0), archive, tmp_path / "o", config, split="all") == entries
    with pytest.raises(UsageError, match="another config"):
        maps_of_archive(Spot(), archive, tmp_path / "o", HeatMapConfig(level=0.9, maps=False), split="all")


def test_what_cannot_be_drawn_is_one_clear_error(world, picture: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="phrase is empty"):
        maps_of_image(Spot(), picture, ["x", " "], tmp_path / "a", HeatMapConfig())
    archive = Archive.open(world.archive)
    tables = {name: getattr(archive, name) for name in ("studies", "images", "reports", "boxes", "labels")}
    (tmp_path / "empty").mkdir()
    lost = write_archive(tmp_path / "lost", "toy", tables, tmp_path / "empty", {})
    with pytest.raises(DataError, match="none of the images can be read"):
        maps_of_archive(Spot(), lost, tmp_path / "b", HeatMapConfig())
    bare = write_archive(tmp_path / "bare", "toy", {**tables, "labels": archive.labels[:0]}, archive.image_root, {})
    with pytest.raises(DataError, match="no labels"):
        maps_of_archive(Spot(), bare, tmp_path / "c", HeatMapConfig(), of="labels")


def test_keys_are_distinct_and_plain() -> None:
    keys = {h._key("a:1", "x y"), h._key("a:1", "x_y"), h._key("a/1", "x y"), h._key("é" * 300, "ö" * 300)}
    assert len(keys) == 4
    assert all(len(key) < 110 and key.isascii() and "/" not in key for key in keys)


def test_the_legend_stands_beside_the_picture_and_names_its_scale() -> None:
    heat = np.tile(np.linspace(-0.2, 0.6, 60), (50, 1))
    plain = overlay(np.full((50, 60), 0.5), heat=heat, boxes=[(5, 5, 20, 20)], found=[(30, 5, 50, 20)], max_side=60)
    drawn = with_legend(plain, heat, "a long phrase that needs lines", keys=[(BOX, "true box"), (FOUND_BOX, "found")])
    pixels = np.asarray(drawn)
    np.testing.assert_array_equal(pixels[:50, :60], np.asarray(plain))
    strip = pixels[:, 60:].reshape(-1, 3)
    colour = [int(BOX[i : i + 2], 16) for i in (1, 3, 5)]
    assert (strip == colour).all(axis=1).any()
    # The bar runs from warm (yellow) down to cold, where only the grey below shows.
    column = pixels[:, 60 + 11 + 5].astype(int)
    warm, cold = np.flatnonzero(column[:, 0] > column[:, 2] + 60), np.flatnonzero((column == 96).all(axis=1))
    assert len(warm) > 20
    assert warm.max() < cold.min()
    blank = with_legend(plain, np.full((50, 60), np.nan), "nothing seen")
    assert blank.width == drawn.width


def test_a_model_with_maps_of_another_size_is_refused(picture: Path, tmp_path: Path) -> None:
    class Wrong(Spot):
        def heat_maps(self, image, phrases):
            return [np.zeros((3, 3))] * len(phrases)

    with pytest.raises(DataError, match="map of shape"):
        maps_of_image(Wrong(), picture, ["x"], tmp_path / "o", HeatMapConfig())
