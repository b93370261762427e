from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgdea.errors import DataError, UsageError
from lgdea.records.archive import Archive, write_archive
from lgdea.records.pairing import make_pairing, read_pairing, write_pairing
from lgdea.records.split import split_around_test, split_by_patient


def frame(patients: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"study_id": [f"s{i}" for i in range(len(patients))], "patient_id": patients})


def test_the_shares_are_met_and_a_patient_has_one_side():
    studies = split_by_patient(frame([f"p{i // 3}" for i in range(15_000)]), seed=0)
    assert studies.groupby("patient_id")["split"].nunique().max() == 1
    shares = studies["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.02)
    assert shares["val"] == pytest.approx(0.1, abs=0.02)
    assert shares["test"] == pytest.approx(0.2, abs=0.02)


@given(st.lists(st.text(min_size=1), min_size=1), st.lists(st.text(min_size=1)), st.integers())
def test_a_patients_side_does_not_depend_on_the_others(some, others, seed):
    alone = split_by_patient(frame(some), seed)
    together = split_by_patient(frame(others + some), seed)
    assert together["split"].tolist()[len(others) :] == alone["split"].tolist()


def test_the_seed_matters_and_shares_must_sum_to_one():
    studies = frame([f"p{i}" for i in range(200)])
    assert split_by_patient(studies, 0)["split"].tolist() != split_by_patient(studies, 1)["split"].tolist()
    assert set(split_by_patient(studies, 0, {"train": 1.0, "test": 0.0})["split"]) == {"train"}
    with pytest.raises(UsageError, match="sum to 1"):
        split_by_patient(studies, 0, {"train": 0.7, "test": 0.2})


@pytest.fixture
def archive(make_archive) -> Archive:
    return make_archive(patients=300, images=False)


def test_states_say_which_sides_a_study_has(archive):
    pairing = make_pairing(archive, 0.2, seed=3).set_index("study_id")["state"]
    studies = archive.studies.set_index("study_id")
    for study, state in pairing.items():
        image, report = int(study.split("s")[1]) % 5 > 0, int(study.split("s")[1]) % 3 > 0
        assert (state == "image_only") == (image and not report)
        assert (state == "text_only") == (report and not image)
        if state == "paired":
            assert studies.loc[study, "split"] == "train"
    assert "toy:s0" not in pairing  # it has neither side
    assert (pairing[studies.loc[pairing.index, "split"] != "train"] != "paired").all()


def test_the_fraction_counts_training_patients_with_both_sides(archive):
    studies = archive.studies
    both = studies["study_id"].isin(archive.images["study_id"]) & studies["study_id"].isin(archive.reports["study_id"])
    candidates = studies.loc[both & (studies["split"] == "train"), "patient_id"].nunique()
    for fraction in (0.0, 0.01, 0.05, 0.5, 1.0):
        pairing = make_pairing(archive, fraction)
        patients = pairing.loc[pairing["state"] == "paired", "patient_id"].nunique()
        assert patients == int(fraction * candidates + 0.5) if fraction else patients == 0


@given(low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_smaller_fraction_is_nested_in_a_larger(nested_archive, low, high):
    low, high = sorted((low, high))
    few = make_pairing(nested_archive, low, seed=1)
    many = make_pairing(nested_archive, high, seed=1)
    assert set(few.loc[few["state"] == "paired", "study_id"]) <= set(many.loc[many["state"] == "paired", "study_id"])


@pytest.fixture(scope="module")
def nested_archive(tmp_path_factory) -> Archive:
    folder = tmp_path_factory.mktemp("nested")
    ids = [f"n:{i}" for i in range(60)]
    tables = {
        "studies": [{"study_id": i, "patient_id": i, "dataset": "n", "split": "train"} for i in ids],
        "images": [{"image_id": i, "study_id": i, "path": "x", "width": 1, "height": 1} for i in ids],
        "reports": [{"report_id": i, "study_id": i, "text": i} for i in ids],
    }
    return write_archive(folder, "n", tables, folder)


def test_a_patient_is_paired_with_all_studies_or_none(archive):
    pairing = make_pairing(archive, 0.3)
    linked = pairing[pairing["state"].isin(["paired", "unlinked"])]
    assert linked.groupby("patient_id")["state"].nunique().max() == 1


def test_the_draw_depends_on_the_seed_and_is_independent_of_the_split(archive):
    first, again, other = (make_pairing(archive, 0.1, seed) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)


def test_a_pairing_is_written_with_its_recipe(archive, tmp_path):
    from lgdea.records.tables import read_metadata

    pairing = make_pairing(archive, 0.05)
    write_pairing(pairing, tmp_path / "pairing.parquet")
    assert read_pairing(tmp_path / "pairing.parquet").to_dict() == pairing.to_dict()
    metadata = read_metadata(tmp_path / "pairing.parquet")
    assert (metadata["fraction"], metadata["seed"], metadata["archive"]) == ("0.05", "0", "toy")


def test_senseless_requests(archive, tmp_path):
    with pytest.raises(UsageError, match=r"5 is not in \[0, 1\]; 0.05 means 5%"):
        make_pairing(archive, 5)
    bare = write_archive(
        tmp_path / "b", "b", {"studies": [{"study_id": "b:1", "patient_id": "b:1", "dataset": "b"}]}, tmp_path
    )
    with pytest.raises(DataError, match=r"row b:1: has no split"):
        make_pairing(bare, 0.5)


def test_a_published_test_side_takes_its_patients_whole():
    studies = frame(["a", "b", "a", *(f"p{i}" for i in range(4000))])
    split = split_around_test(studies, studies["study_id"] == "s2")["split"]
    assert split[[0, 2]].tolist() == ["test", "test"]
    assert (split == "test").sum() == 2
    assert (split == "val").mean() == pytest.approx(0.125, abs=0.02)
