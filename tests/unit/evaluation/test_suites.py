import copy

import pytest
import yaml

from lgdea.errors import ConfigError, UsageError
from lgdea.evaluation.config import GroundingConfig, ZeroShotConfig
from lgdea.evaluation.results.identity import ids_sha256
from lgdea.evaluation.suites.suite import CONFIGS, FREE_SETTINGS, load_suite, shipped_suites, task_named, write_suite
from lgdea.shipped import shipped
from lgdea.vocabulary import load_vocabulary

NAMES = [
    "chexpert-5x200", "ms-cxr-t", "ms-cxr", "nih-boxes", "nih-test", "openi-14", "openi-retrieval", "phantom",
    "rsna-pneumonia", "siim-pneumothorax",
]  # fmt: skip
MINE = {
    "name": "mine",
    "version": 3,
    "title": "Mine",
    "measures": "what I care for",
    "source": "my ward",
    "citation": "none",
    "dataset": "openi",
    "build": "lgdea data build openi SOURCE --out ARCHIVE",
    "tasks": {
        "zero-shot": {"settings": {"classes": ["edema", "mass"]}, "expected": {"images": 4}},
        "grounding": {"select": {"findings": ["mass"], "frontal": True}},
    },
}


def changed(path, value):
    suite = copy.deepcopy(MINE)
    place = suite
    *above, last = path
    for key in above:
        place = place.setdefault(key, {})
    place[last] = value
    return suite


@pytest.fixture
def write(tmp_path):
    def to_file(content):
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        return file

    return to_file


def test_the_shipped_suites_are_these_and_load():
    suites = shipped_suites()
    assert [suite.name for suite in suites] == NAMES
    assert all(load_suite(suite.name) == suite for suite in suites)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_suite_says_how_it_is_run_and_names_what_exists(name):
    text = shipped("configs").joinpath("suites", f"{name}.yaml").read_text(encoding="utf-8")
    suite = load_suite(name)
    words = next(line for line in text.splitlines() if line.startswith("# lgdea eval")).split()
    assert words[3] in suite.tasks
    assert words[words.index("--suite") + 1] == name
    findings = load_vocabulary().findings
    for task, benchmark in suite.tasks.items():
        config = suite.config(task)
        assert type(config) is CONFIGS[task]
        if isinstance(config, ZeroShotConfig) and not isinstance(config.classes, str):
            assert set(config.classes) <= set(findings)
        assert set(benchmark.select.findings or ()) <= set(findings)
        assert benchmark.ids is None
        assert (benchmark.ids_sha256 is not None) == (name == "phantom")


def test_what_a_suite_does_not_set_has_the_task_s_defaults(write):
    suite = load_suite(write(MINE))
    assert suite.label == "mine@3"
    assert suite.config("zero-shot") == ZeroShotConfig(classes=("edema", "mass"))
    assert suite.config("grounding") == GroundingConfig()
    with pytest.raises(UsageError, match=r"mine@3 has no retrieval; it has zero-shot, grounding"):
        suite.config("retrieval")


A, B = ids_sha256(["a"]), ids_sha256(["b"])


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["nam"], "x", "nam: no such key"),
        (["name"], "My Suite", "name: "),
        (["version"], 0, "version: "),
        (["title"], "", "title: "),
        (["measures"], "", "measures: "),
        (["source"], "", "source: "),
        (["citation"], None, "citation: "),
        (["dataset"], "", "dataset: "),
        (["requires"], "official", "requires: "),
        (["build"], "", "build: "),
        (["remarks"], [1], "remarks.0: "),
        (["tasks"], {}, "tasks: "),
        (["tasks", "zeroshot"], {}, "tasks.zeroshot"),
        (["tasks", "zero-shot", "settings", "clases"], "nih14", "tasks.zero-shot.settings: clases: no such key"),
        (["tasks", "zero-shot", "settings", "split"], "dev", "tasks.zero-shot.settings: split: "),
        (["tasks", "zero-shot", "settings", "classes"], ["edemaa"], "settings.classes: the vocabulary has no 'edemaa'"),
        (["tasks", "zero-shot", "settings", "classes"], "nih15", "settings.classes: no scored classes for 'nih15'"),
        (["tasks", "zero-shot", "settings", "single_label_classes"], ["Edema"], "'Edema' is none of the classes"),
        (["tasks", "zero-shot", "settings", "workers"], 2, "tasks.zero-shot.settings.workers does not change"),
        (["tasks", "zero-shot", "select", "findings"], ["mass"], "zero-shot.select.findings is for grounding only"),
        (["tasks", "zero-shot", "expected", "boxes"], 4, "expected.boxes: zero-shot counts images"),
        (["tasks", "zero-shot", "expected", "images"], 0, "tasks.zero-shot.expected.images: "),
        (["tasks", "zero-shot", "ids_sha256"], "abc", "tasks.zero-shot.ids_sha256: "),
        (["tasks", "zero-shot", "ids"], [], "tasks.zero-shot.ids: "),
        (["tasks", "zero-shot", "ids"], ["a"], f"ids need their hash: ids_sha256: {A}"),
        (["tasks", "zero-shot"], {"ids": ["a"], "ids_sha256": B}, f"is not that of the ids, which is {A}"),
        (["tasks", "grounding", "select", "findings"], ["edemaa"], "the vocabulary has no 'edemaa'"),
        (["tasks", "grounding", "select", "lateral"], True, "tasks.grounding.select.lateral: no such key"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(write, path, value, says):
    with pytest.raises(ConfigError) as error:
        load_suite(write(changed(path, value)))
    assert says in str(error.value)
    assert "mine.yaml" in str(error.value)
    assert "docs/suites.md" in str(error.value)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"findings": ["edema"], "among": "chexpert14", "per_class": 2}, "exclusive.findings: "),
        ({"findings": ["edema", "hernia"], "among": "chexpert14", "per_class": 2}, "'hernia' is no finding of chexp"),
        ({"findings": ["edema", "mass"], "among": "chexpert", "per_class": 2}, "no scored classes for 'chexpert'"),
        ({"findings": ["edema", "mass"], "among": "chexpert14", "per_class": 0}, "exclusive.per_class: "),
    ],
)
def test_a_wrong_exclusive_rule_is_named(write, rule, says):
    with pytest.raises(ConfigError) as error:
        load_suite(write(changed(["tasks", "zero-shot", "select", "exclusive"], rule)))
    assert says in str(error.value)


@pytest.mark.parametrize("missing", sorted(set(MINE)))
def test_no_field_may_be_left_out(write, missing):
    with pytest.raises(ConfigError, match=f"{missing}: is required"):
        load_suite(write({key: value for key, value in MINE.items() if key != missing}))


def test_what_is_no_suite_is_one_clear_error(tmp_path, write):
    with pytest.raises(UsageError, match=r"no suite 'nih-boxs'; give a suite file or one of chexpert-5x200, ms-cxr"):
        load_suite("nih-boxs")
    with pytest.raises(ConfigError, match="must be a mapping"):
        load_suite(write(["a"]))
    with pytest.raises(UsageError, match="no task 'probe'"):
        task_named("probe")


def test_a_written_suite_reads_back(tmp_path, write):
    suite = load_suite(write(MINE))
    file = tmp_path / "frozen.yaml"
    write_suite(suite, file)
    assert load_suite(file) == suite
    assert str(tmp_path) not in file.read_text()
    for shipped_suite in shipped_suites():
        write_suite(shipped_suite, file)
        assert load_suite(file) == shipped_suite


def test_only_settings_without_meaning_are_free():
    fields = [set(config.model_fields) for config in CONFIGS.values()]
    assert FREE_SETTINGS.issubset(set.intersection(*fields))
    assert set.intersection(*fields) - FREE_SETTINGS == {"split", "seed"}
