"""What the shipped suites select in small archives of their datasets, and what their results say."""

import hashlib

import numpy as np
import pytest

from lgdea.config import load_config
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.config import GroundingConfig, ZeroShotConfig
from lgdea.evaluation.results.identity import ids_sha256
from lgdea.evaluation.suites.prepare import freeze, prepare_task
from lgdea.evaluation.suites.suite import Suite, load_suite, shipped_suites, write_suite
from lgdea.evaluation.tasks import change, grounding, retrieval, zero_shot
from lgdea.records.adapters.nih_cxr14 import NihCxr14
from lgdea.records.adapters.openi import OpenI, parse_report
from tests.helpers.dataset_layouts import picture
from tests.helpers.suite_archives import BUILDERS, FIVE, Grey, Rows, chexpert, ms_cxr, nih, openi

TASKS = {"zero-shot": zero_shot, "retrieval": retrieval, "grounding": grounding, "change": change}
RUNS = [(suite.name, task) for suite in shipped_suites() if suite.name != "phantom" for task in suite.tasks]
QUICK = {"bootstrap_replicates": 0}


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    made = {}

    def archive(dataset):
        if dataset not in made:
            made[dataset] = BUILDERS[dataset](tmp_path_factory.mktemp("suite") / dataset)
        return made[dataset]

    return archive


def run(suite, task, archive, **settings):
    task_input = prepare_task(
        suite, task, archive, load_config(type(suite.config(task)), [], [f"{k}={v}" for k, v in settings.items()])
    )
    return task_input.annotate_result(TASKS[task](Grey(), task_input.archive, task_input.config), "some:model")


@pytest.mark.parametrize(("name", "task"), RUNS)
def test_a_shipped_suite_runs_and_says_what_it_ran_on(archives, name, task):
    suite = load_suite(name)
    archive = archives(suite.dataset)
    result = run(suite, task, archive, **QUICK)
    task_input = prepare_task(suite, task, archive)
    assert (result.suite, result.model_hash) == (f"{name}@1", "some:model")
    assert (result.ids_sha256, result.n_ids) == (ids_sha256(task_input.ids), len(task_input.ids))
    assert result.config["split"] == suite.config(task).split
    assert result.skipped == []
    assert set(suite.remarks) <= set(result.notes)
    expected = suite.tasks[task].expected.model_dump(exclude_none=True)
    assert any(note.startswith(f"not the whole of {name}@1: ") for note in result.notes) == bool(expected)


@pytest.mark.parametrize(("name", "task"), RUNS)
def test_a_frozen_suite_gives_the_same_numbers_under_the_same_hash(archives, tmp_path, name, task):
    archive = archives(load_suite(name).dataset)
    write_suite(freeze(load_suite(name), archive, [task]), tmp_path / "frozen.yaml")
    frozen = load_suite(tmp_path / "frozen.yaml")
    by_rule, by_list = run(load_suite(name), task, archive, **QUICK), run(frozen, task, archive, **QUICK)
    assert list(frozen.tasks) == [task]
    assert by_list.ids_sha256 == by_rule.ids_sha256 == frozen.tasks[task].ids_sha256
    assert by_list.table_key == by_rule.table_key
    assert repr(by_list.metrics) == repr(by_rule.metrics)
    assert not any(note.startswith("not the whole") for note in by_list.notes)


def test_five_times_two_hundred_takes_exclusive_frontal_images_in_the_order_of_their_hash(archives):
    archive = archives("chexpert")
    suite = load_suite("chexpert-5x200")
    kinds = archive.images["image_id"].str.extract(r"i(\d+)")[0].astype(int)
    kind, finding = kinds % 40 // 8, kinds // 40
    exclusive = archive.images[kind.isin([0, 4]) & (kinds < 200)]
    assert prepare_task(suite, "zero-shot", archive).ids == set(exclusive["image_id"])
    assert len(exclusive) == 80

    few = suite.model_dump()
    few["tasks"]["zero-shot"]["select"]["exclusive"]["per_class"] = 3
    few["tasks"]["zero-shot"]["expected"]["images"] = 15
    task_input = prepare_task(Suite.model_validate(few), "zero-shot", archive)
    first = []
    for number in range(5):
        mine = exclusive["image_id"][finding[exclusive.index] == number]
        first += sorted(mine, key=lambda i: hashlib.sha256(i.encode()).hexdigest())[:3]
    assert task_input.ids == set(first)
    assert not any("not the whole" in note for note in task_input.notes)


def test_a_single_label_image_is_what_it_was_chosen_for_and_nothing_else(archives):
    result = run(load_suite("chexpert-5x200"), "zero-shot", archives("chexpert"), **QUICK)
    assert set(result.per_class) == set(FIVE)
    assert result.metrics["single_label_accuracy"].n == 80
    assert result.metrics["single_label_chance"].value == pytest.approx(0.2)
    truth = result.items.pivot(index="image_id", columns="class", values="label")
    assert (truth.sum(axis=1) == 1).all()
    number = truth.index.str.extract(r"i(\d+)")[0].astype(int)
    assert list(truth.idxmax(axis=1)) == [FIVE[n // 40] for n in number]
    assert all(values["f1"].value >= 0 for values in result.per_class.values())


def test_frontal_means_ap_or_pa(tmp_path):
    rows = Rows(tmp_path, "openi")
    views = ["PA", "AP", "AP supine", "frontal", "Frontal AP", "Lateral", "LATERAL", None, "paraspinal", "LL"]
    for number, view in enumerate(views):
        rows.box(rows.image(number, "test", view), "mass")
    select = {"frontal": True}
    assert prepare_task(suite_of("grounding", select=select), "grounding", rows.write()).ids == {
        f"openi:i{i}" for i in range(5)
    }


def suite_of(task, **benchmark):
    head = dict.fromkeys(("title", "measures", "source", "citation", "build"), "mine")
    return Suite(name="mine", version=1, dataset="openi", tasks={task: benchmark}, **head)


def test_grounding_may_be_of_some_findings_and_their_kinds_only(tmp_path):
    rows = Rows(tmp_path, "openi")
    first, second, third = (rows.image(i, "test") for i in range(3))
    rows.box(first, "opacity")
    rows.box(first, "mass")
    rows.box(second, "consolidation")
    rows.box(third, "mass")
    archive = rows.write()
    part = prepare_task(suite_of("grounding", select={"findings": ["opacity"]}), "grounding", archive)
    assert part.ids == {first, second}
    assert list(part.archive.boxes["finding"]) == ["opacity", "consolidation"]
    assert list(archive.boxes["finding"]) == ["opacity", "mass", "consolidation", "mass"]


def test_phrases_are_counted_as_they_are_grounded(archives):
    suite = freeze(load_suite("ms-cxr"), archives("ms-cxr"))
    counts = suite.tasks["grounding"].expected
    assert (counts.images, counts.boxes, counts.phrases) == (6, 7, 6)


def test_the_other_splits_stay_whole_for_what_is_chosen_on_them(tmp_path):
    rows = Rows(tmp_path, "openi")
    for number, split in enumerate(("train", "val", "val", "test", "test")):
        image = rows.image(number, split)
        rows.labels(number, {"edema" if number != 4 else "mass": 1.0})
        rows.box(image, "edema" if number != 4 else "mass")
    archive = rows.write()
    for task, benchmark in {
        "zero-shot": {"settings": {"classes": ["edema"]}},
        "grounding": {"ids": ["openi:i3"], "ids_sha256": ids_sha256(["openi:i3"])},
    }.items():
        part = prepare_task(suite_of(task, **benchmark), task, archive)
        assert part.ids == {"openi:i3"}
        assert list(part.archive.images["image_id"]) == [f"openi:i{i}" for i in range(4)]
        assert list(part.archive.boxes["image_id"]) == [f"openi:i{i}" for i in range(4)]
        assert len(archive.images) == len(archive.boxes) == 5


def test_an_image_without_a_known_label_is_not_selected(tmp_path):
    rows = Rows(tmp_path, "openi")
    for number, value in enumerate((1.0, 0.0, -1.0, None)):
        rows.image(number, "test")
        rows.labels(number, {"edema": value})
    rows.image(4, "test")
    rows.labels(4, {"mass": 1.0})
    suite = suite_of("zero-shot", settings={"classes": ["edema"]})
    assert prepare_task(suite, "zero-shot", rows.write()).ids == {"openi:i0", "openi:i1"}


def test_retrieval_takes_images_and_reports_of_studies_with_both(archives):
    archive = archives("openi")
    test = set(archive.studies.loc[archive.studies["split"] == "test", "study_id"])
    task_input = prepare_task(load_suite("openi-retrieval"), "retrieval", archive)
    assert task_input.ids == test | {f"{study}_IM-0001-1001" for study in test}


def test_the_official_list_must_have_been_there(tmp_path):
    with pytest.raises(DataError, match=r"official_split is False, not True\); build it with .*test_list.txt"):
        prepare_task(load_suite("nih-test"), "zero-shot", nih(tmp_path, official=False, count=8))


def test_the_official_list_is_what_is_scored(archives):
    ids = prepare_task(load_suite("nih-test"), "zero-shot", archives("nih-cxr14")).ids
    assert ids == {f"nih-cxr14:{number:08d}_000" for number in range(0, 80, 2)}


def test_an_archive_of_another_dataset_is_refused(archives):
    with pytest.raises(
        UsageError, match=r"is an archive of openi, the suite nih-boxes@1 is for nih-cxr14; build it with"
    ):
        prepare_task(load_suite("nih-boxes"), "grounding", archives("openi"))


def test_a_setting_that_a_suite_fixes_cannot_be_changed_but_speed_can(archives):
    archive, suite = archives("nih-cxr14"), load_suite("nih-boxes")
    fast = load_config(GroundingConfig, [], ["workers=1", "bootstrap_replicates=7", "split=all"])
    config = prepare_task(suite, "grounding", archive, fast).config
    assert (config.workers, config.bootstrap_replicates, config.split) == (1, 7, "all")
    for setting in ("split=test", "pointing_tolerance_pixels=5", "thresholds=[0.5]", "seed=1"):
        with pytest.raises(UsageError, match=f"nih-boxes@1 fixes {setting.split('=')[0]}="):
            prepare_task(suite, "grounding", archive, load_config(GroundingConfig, [], [setting]))
    with pytest.raises(UsageError, match="fixes labeller=nih-mined, not me"):
        prepare_task(load_suite("nih-test"), "zero-shot", archive, ZeroShotConfig(labeller="me"))


def test_an_archive_that_lacks_listed_ids_is_refused_in_one_line(tmp_path, archives):
    frozen = freeze(load_suite("nih-boxes"), archives("nih-cxr14"))
    smaller = nih(tmp_path / "smaller", count=8)
    with pytest.raises(DataError) as error:
        prepare_task(frozen, "grounding", smaller)
    assert str(error.value).endswith(
        "lacks 2 of the 6 ids of the suite nih-boxes@1 (grounding), the first is nih-cxr14:00000008_000; use the whole "
        "dataset as published, or freeze a suite for this archive with `lgdea eval freeze`"
    )
    larger = freeze(load_suite("nih-boxes"), smaller)
    task_input = prepare_task(larger, "grounding", archives("nih-cxr14"))
    assert len(task_input.ids) == 4
    assert task_input.notes[0] == "2 items of this archive fit the rule of nih-boxes@1 but are not in its list"


def test_missing_and_other_ids_are_both_told(tmp_path):
    made = []
    for name, numbers in (("a", range(5)), ("b", range(3, 10))):
        rows = Rows(tmp_path / name, "openi")
        for number in numbers:
            rows.box(rows.image(number, "test"), "mass")
        made.append(rows.write())
    frozen = freeze(suite_of("grounding"), made[0])
    with pytest.raises(
        DataError, match=r"lacks 3 of the 5 ids .* first is openi:i0; it has 5 others that fit the rule"
    ):
        prepare_task(frozen, "grounding", made[1])


def test_a_hash_without_a_list_refuses_other_items(archives):
    content = load_suite("ms-cxr").model_dump()
    content["tasks"]["grounding"] |= {"ids_sha256": "0" * 64, "expected": {"images": 6}}
    found = ids_sha256(f"ms-cxr:i{i}" for i in range(6))
    with pytest.raises(DataError, match=rf"has other items than .*: 6 ids of sha256 {found[:12]}, not 000000000000;"):
        prepare_task(Suite.model_validate(content), "grounding", archives("ms-cxr"))
    content["tasks"]["grounding"]["expected"] = {"images": 9, "boxes": 7}
    with pytest.raises(DataError, match="9 images expected, 6 here"):
        prepare_task(Suite.model_validate(content), "grounding", archives("ms-cxr"))
    content["tasks"]["grounding"] |= {"ids_sha256": found, "expected": {"boxes": 8}}
    with pytest.raises(DataError, match="8 boxes expected, 7 here"):
        prepare_task(Suite.model_validate(content), "grounding", archives("ms-cxr"))


def test_unreadable_images_are_counted_and_make_it_another_set(tmp_path):
    archive = ms_cxr(tmp_path)
    frozen = freeze(load_suite("ms-cxr"), archive)
    whole = run(frozen, "grounding", archive, **QUICK)
    (archive.image_root / "1.png").write_bytes(b"no picture")
    (archive.image_root / "3.png").unlink()
    part = run(frozen, "grounding", archive, **QUICK)
    assert {item["id"] for item in part.skipped} == {"ms-cxr:i1", "ms-cxr:i3"}
    assert part.notes[0] == (
        "2 of the 6 ids of ms-cxr@1 are not in this result (2 unreadable): "
        "it compares only with results of the same ids"
    )
    assert (whole.n_ids, part.n_ids) == (6, 4)
    assert part.ids_sha256 == ids_sha256(f"ms-cxr:i{i}" for i in (0, 2, 4, 5))
    assert part.table_key != whole.table_key


def test_images_that_only_unscored_classes_know_are_told_of(tmp_path):
    rows = Rows(tmp_path, "openi")
    for number in range(12):
        rows.image(number, "test")
        rows.labels(number, {"edema": float(number % 2)} if number < 10 else {"mass": 1.0})
    result = run(suite_of("zero-shot", settings={"classes": ["edema", "mass"]}), "zero-shot", rows.write(), **QUICK)
    assert result.n_ids == 10
    assert result.notes[0].startswith(
        "2 of the 12 ids of mine@1 are not in this result (0 unreadable, 2 that could not"
    )


def test_a_report_goes_with_its_unreadable_image(tmp_path):
    archive = openi(tmp_path, count=40)
    suite = load_suite("openi-retrieval")
    study = sorted(prepare_task(suite, "retrieval", archive).ids)[0]
    (archive.image_root / archive.image_path(f"{study}_IM-0001-1001")).unlink()
    result = run(suite, "retrieval", archive, **QUICK)
    assert result.notes[0].startswith("2 of the ")
    assert "(1 unreadable, 1 that could not be scored without them" in result.notes[0]


def test_an_archive_with_nothing_to_score_is_refused(tmp_path):
    rows = Rows(tmp_path, "openi")
    rows.box(rows.image(0, "test", "Lateral"), "mass")
    archive = rows.write()
    with pytest.raises(DataError, match="the test split has no images"):
        prepare_task(suite_of("grounding", select={"frontal": True}), "grounding", archive)
    other = Rows(tmp_path / "other", "openi")
    other.image(0, "test")
    other.labels(0, {"edema": 1.0, "atelectasis": 1.0})
    rule = {"findings": ["edema", "atelectasis"], "among": "chexpert14", "per_class": 2}
    none = suite_of("zero-shot", settings={"classes": rule["findings"]}, select={"exclusive": rule})
    with pytest.raises(DataError, match=r"has no items for the suite mine@1 \(zero-shot\); use the whole dataset"):
        prepare_task(none, "zero-shot", other.write())


def test_the_order_of_rows_changes_nothing(tmp_path):
    archive = chexpert(tmp_path)
    turned = archive.with_tables(**{n: getattr(archive, n).iloc[::-1] for n in ("studies", "images", "labels")})
    suite = load_suite("chexpert-5x200")
    assert prepare_task(suite, "zero-shot", turned).ids == prepare_task(suite, "zero-shot", archive).ids
    assert openi is BUILDERS["openi"]


@pytest.mark.data
def test_the_boxes_at_hand_freeze_and_run(real_data, tmp_path):
    archive = NihCxr14().build(real_data / "nih_cxr14", tmp_path / "nih")
    by_rule = run(load_suite("nih-boxes"), "grounding", archive, **QUICK)
    assert by_rule.notes[0].endswith("880 images expected, 24 here; 984 boxes expected, 29 here")
    write_suite(freeze(load_suite("nih-boxes"), archive), tmp_path / "part.yaml")
    part = run(load_suite(tmp_path / "part.yaml"), "grounding", archive, **QUICK)
    assert (part.n_ids, part.items["n_boxes"].sum()) == (24, 29)
    assert part.table_key == by_rule.table_key


@pytest.mark.data
def test_the_reports_at_hand_freeze_and_run(real_data, tmp_path):
    """Three hundred real reports and their gold labels, with drawn pictures: the images are not at hand."""
    source, rng = tmp_path / "source", np.random.default_rng(0)
    (source / "ecgen-radiology").mkdir(parents=True)
    (source / "NLMCXR_png").mkdir()
    for file in sorted((real_data / "openi" / "ecgen-radiology").glob("*.xml"))[:300]:
        (source / "ecgen-radiology" / file.name).symlink_to(file)
        for name in parse_report(file)["images"]:
            picture(source / "NLMCXR_png" / f"{name}.png", rng, 16, 16)
    (source / "openi_gld_std14.csv").symlink_to(real_data / "openi" / "openi_gld_std14.csv")
    archive = OpenI().build(source, tmp_path / "openi")
    for name, task in (("openi-retrieval", "retrieval"), ("openi-14", "zero-shot")):
        frozen = freeze(load_suite(name), archive)
        result = run(frozen, task, archive, **QUICK)
        assert result.ids_sha256 == frozen.tasks[task].ids_sha256
        assert result.n_ids == frozen.tasks[task].expected.images + (frozen.tasks[task].expected.reports or 0) > 60
