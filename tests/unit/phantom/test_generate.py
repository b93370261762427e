"""The archive: the same for any number of workers, true in every table, usable at any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lgdea.errors import ConfigError, UsageError
from lgdea.phantom import generate
from lgdea.phantom.adapter import ADAPTER
from lgdea.phantom.config import catalogue
from lgdea.records.adapters.base import get_adapter
from lgdea.records.archive import Archive
from lgdea.records.cards import load_card
from lgdea.records.verify import verify
from lgdea.vocabulary import load_vocabulary


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return generate(tmp_path_factory.mktemp("phantom") / "a", studies=150, size=96, seed=3, workers=2)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(f.relative_to(folder)): f.read_bytes()
        for f in sorted(folder.rglob("*"))
        if f.suffix in (".png", ".parquet") or f.name == "archive.json"
    }


def test_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    generate(tmp_path / "one", studies=14, size=64, seed=5, workers=1)
    generate(tmp_path / "two", studies=14, size=64, seed=5, workers=2)
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    assert one == two
    assert len(one) > 14


def test_another_seed_gives_another_archive(tmp_path: Path) -> None:
    first = generate(tmp_path / "a", studies=6, size=64, seed=1, workers=1, masks=False)
    second = generate(tmp_path / "b", studies=6, size=64, seed=2, workers=1, masks=False)
    assert list(first.reports["text"]) != list(second.reports["text"])


def test_generating_again_replaces_every_picture(tmp_path: Path) -> None:
    generate(tmp_path / "a", studies=9, size=64, workers=1)
    again = generate(tmp_path / "a", studies=4, size=64, workers=1)
    assert len(list((tmp_path / "a" / "images").iterdir())) == len(again.images) == 4


def test_every_study_has_its_picture_report_and_labels(archive: Archive) -> None:
    assert len(archive.studies) == len(archive.images) == len(archive.reports) == 150
    assert archive.labels.groupby("study_id").size().eq(len(catalogue()) + 1).all()
    for row in archive.images.itertuples():
        with Image.open(archive.image_path(row.image_id)) as picture:
            assert (picture.width, picture.height, picture.mode) == (row.width, row.height, "L")


def test_patients_stay_in_one_split(archive: Archive) -> None:
    assert archive.studies.groupby("patient_id")["split"].nunique().max() == 1
    shares = archive.studies.drop_duplicates("patient_id")["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.02)
    assert shares["val"] == pytest.approx(0.1, abs=0.02)


def test_studies_of_one_patient_are_ordered_by_day_and_share_sex_and_site(archive: Archive) -> None:
    by_patient = archive.studies.groupby("patient_id", sort=False)
    assert by_patient["day"].apply(lambda d: d.is_monotonic_increasing and d.is_unique).all()
    assert by_patient[["sex", "site"]].nunique().eq(1).all().all()
    assert by_patient.size().max() > 1


def test_labels_boxes_and_image_truth_name_the_same_findings(archive: Archive) -> None:
    positive = archive.labels[(archive.labels["value"] == 1) & (archive.labels["finding"] != "no_finding")]
    labelled = set(zip(positive["study_id"], positive["finding"], strict=True))
    truth = archive.extra("image_truth")
    assert truth is not None
    assert labelled == set(zip(truth["study_id"], truth["finding"], strict=True))
    study_of = archive.images.set_index("image_id")["study_id"]
    boxed = set(zip(archive.boxes["image_id"].map(study_of), archive.boxes["finding"], strict=True))
    assert boxed <= labelled
    assert len(boxed) >= 0.99 * len(labelled)  # a mark may lie outside the picture once in a while


def test_no_finding_means_no_finding(archive: Archive) -> None:
    wide = archive.labels.pivot_table(index="study_id", columns="finding", values="value")
    assert ((wide.drop(columns="no_finding").sum(axis=1) == 0) == (wide["no_finding"] == 1)).all()


def test_boxes_are_the_bounds_of_their_masks_inside_the_picture(archive: Archive) -> None:
    sizes = archive.images.set_index("image_id")
    for row in archive.boxes.itertuples():
        mask = np.asarray(Image.open(archive.folder / row.mask_path))
        assert mask.shape == (sizes.loc[row.image_id, "height"], sizes.loc[row.image_id, "width"])
        ys, xs = np.nonzero(mask)
        assert (row.x_min, row.y_min, row.x_max, row.y_max) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_the_patients_right_is_at_the_pictures_left(archive: Archive) -> None:
    width = archive.boxes["image_id"].map(archive.images.set_index("image_id")["width"])
    centre = (archive.boxes["x_min"] + archive.boxes["x_max"]) / 2 / width
    # A line crosses the midline on its way and a twisted patient shifts it a little.
    lateral = ~archive.boxes["finding"].isin(["central_line", "pacemaker", "surgical_clips"])
    assert (centre[lateral & (archive.boxes["laterality"] == "right")] < 0.5).all()
    assert (centre[lateral & (archive.boxes["laterality"] == "left")] > 0.5).all()


def test_quotes_are_where_the_spans_say(archive: Archive) -> None:
    text = archive.reports.set_index("report_id")["text"]
    evidence = archive.extra("evidence_truth")
    assert evidence is not None
    assert evidence["unit_id"].is_unique
    for unit in evidence.itertuples():
        assert text[unit.report_id][unit.start : unit.end] == unit.quote
        assert unit.finding_text in unit.quote
    assert set(evidence["alignment"]) == {"exact"}
    assert set(evidence["section"]) == {"findings", "impression"}


def reported(archive: Archive) -> pd.DataFrame:
    evidence = archive.extra("evidence_truth")
    assert evidence is not None
    study_of = archive.reports.set_index("report_id")["study_id"]
    return evidence.assign(study_id=evidence["report_id"].map(study_of))


def test_reports_agree_with_the_pictures_but_for_drawn_errors(archive: Archive) -> None:
    errors = archive.extra("report_errors")
    assert errors is not None
    said = reported(archive)
    said = said[~said["study_id"].isin(errors["study_id"]) & said["finding"].isin(catalogue())]
    value = archive.labels.set_index(["study_id", "finding"])["value"]
    there = [value[(s, f)] == 1 for s, f in zip(said["study_id"], said["finding"], strict=True)]
    denied = said["assertion"] == "absent"
    assert not (np.array(there) & denied).any()
    assert (np.array(there) | denied).all()
    positive = value[value == 1].reset_index()
    positive = positive[~positive["study_id"].isin(errors["study_id"]) & positive["finding"].isin(catalogue())]
    mentioned = set(zip(said["study_id"], said["finding"], strict=True))
    assert set(zip(positive["study_id"], positive["finding"], strict=True)) <= mentioned


def test_sides_agree_but_for_drawn_errors(archive: Archive) -> None:
    errors, truth = archive.extra("report_errors"), archive.extra("image_truth")
    assert errors is not None
    assert truth is not None
    said = reported(archive)
    said = said[(said["assertion"] == "present") & said["laterality"].isin(["left", "right", "bilateral"])]
    side = truth.set_index(["study_id", "finding"])["laterality"]
    for unit in said[~said["study_id"].isin(errors["study_id"])].itertuples():
        assert side[(unit.study_id, unit.finding)] == unit.laterality


def test_drawn_errors_are_recorded_as_they_are(tmp_path: Path) -> None:
    archive = generate(tmp_path / "a", studies=60, size=64, workers=1, masks=False, report_errors=1.0)
    errors, said = archive.extra("report_errors"), reported(archive)
    assert errors is not None
    assert set(errors["kind"]) == {"wrong_side", "missed", "invented"}
    value = archive.labels.set_index(["study_id", "finding"])["value"]
    for error in errors.itertuples():
        units = said[(said["study_id"] == error.study_id) & (said["finding"] == error.finding)]
        claimed = units[units["assertion"] != "absent"]
        assert value[(error.study_id, error.finding)] == (0 if error.kind == "invented" else 1)
        assert claimed.empty == (error.kind == "missed")
        if error.kind == "wrong_side":
            assert {error.report_laterality} >= set(claimed["laterality"]) - {"unspecified"}
            assert error.report_laterality != error.image_laterality


def test_ids_are_the_vocabularys(archive: Archive) -> None:
    vocabulary, evidence = load_vocabulary(), archive.extra("evidence_truth")
    assert evidence is not None
    assert set(catalogue()) <= set(vocabulary.findings)
    assert set(evidence["finding"]) <= set(vocabulary.findings)
    assert set(evidence["anatomy"].dropna()) <= set(vocabulary.anatomy)
    assert {entry.anatomy for entry in catalogue().values()} <= set(vocabulary.anatomy)


def test_reports_repeat_word_for_word_and_have_two_styles(archive: Archive) -> None:
    texts = archive.reports["text"]
    assert texts.duplicated().any()
    assert texts.str.startswith("INDICATION: ").any()
    assert texts.str.startswith("Indication:\n").any()


@pytest.mark.parametrize("size", [96, 200])
def test_any_size(tmp_path: Path, size: int) -> None:
    archive = generate(tmp_path / "a", studies=5, size=size, seed=11, workers=1)
    assert set(archive.images["height"]) == {size}


def test_size_changes_neither_patients_nor_reports_and_scales_boxes(tmp_path: Path) -> None:
    small = generate(tmp_path / "s", studies=25, size=128, seed=4, workers=1, masks=False)
    large = generate(tmp_path / "l", studies=25, size=256, seed=4, workers=1, masks=False)
    assert list(small.reports["text"]) == list(large.reports["text"])
    both = small.boxes.merge(large.boxes, on="box_id")
    assert len(both) == len(small.boxes) > 10
    for edge in ("x_min", "y_min", "x_max", "y_max"):
        assert (2 * both[f"{edge}_x"] - both[f"{edge}_y"]).abs().median() <= 2


def test_prevalence_zero_removes_a_finding(tmp_path: Path) -> None:
    only = {name: 0.0 for name in catalogue() if name != "mass"}
    archive = generate(
        tmp_path / "a",
        studies=20,
        size=64,
        workers=1,
        normal_share=0.0,
        prevalence=only,
        masks=False,
        report_errors=0.0,
    )
    positive = archive.labels[archive.labels["value"] == 1]
    assert "mass" in set(positive["finding"]) <= {"mass", "no_finding"}


def test_normal_share_one_is_all_normal(tmp_path: Path) -> None:
    archive = generate(tmp_path / "a", studies=8, size=64, workers=1, normal_share=1.0, report_errors=0.0)
    assert archive.boxes.empty
    said = reported(archive)
    assert set(said[said["finding"] == "no_finding"]["study_id"]) == set(archive.studies["study_id"])


def test_adapter_reads_a_file_of_settings_and_options_win(tmp_path: Path) -> None:
    settings = tmp_path / "phantom.yaml"
    settings.write_text("studies: 9\nsize: 64\ndifficulty: hard\n")
    archive = ADAPTER.build(settings, tmp_path / "a", studies=3, workers=1)
    assert len(archive.studies) == 3
    assert archive.info["difficulty"] == "hard"
    assert archive.info["settings"]["lesion_contrast"] < 1


@pytest.mark.parametrize(
    "settings", [{"sise": 128}, {"size": 8}, {"difficulty": "brutal"}, {"prevalence": {"goitre": 2.0}}]
)
def test_wrong_settings_name_their_key(tmp_path: Path, settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"sise|size|brutal|goitre"):
        generate(tmp_path / "a", **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(UsageError, match="not a folder"):
        generate(tmp_path / "a", studies=1)


def test_the_adapter_is_registered_with_its_card() -> None:
    adapter = get_adapter("phantom")
    assert adapter.name == "phantom"
    assert load_card(adapter.card).counts["findings"] == len(catalogue())


def test_the_archive_verifies(archive: Archive) -> None:
    assert [p for p in verify(archive) if p.severity == "error"] == []
