from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lgdea.errors import UsageError
from lgdea.evaluation.results.result import Result, Value, write_result
from lgdea.reporting import page
from lgdea.reporting.page import build_report, config_differences, flatten, render
from lgdea.reporting.run_folder import read_run

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Reader(HTMLParser):
    """Collects what a page would fetch, its ids and whether its tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.scripts += tag == "script"
        self.fetched += [v or "" for k, v in attrs if k in ("src", "srcset", "data", "poster")]
        target = found.get("href") or ""
        if target.startswith("#"):
            self.links.append(target[1:])
        elif target:
            self.fetched.append(target)
        self.ids += [found["id"] or ""] if "id" in found else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag


class Spot:
    """A model whose heat map peaks at one place."""

    def __init__(self, x: int) -> None:
        self.x = x

    def heat_map(self, image: np.ndarray, phrase: str) -> np.ndarray:
        assert image.shape == (64, 64)
        y, x = np.mgrid[:64, :64]
        heat = np.exp(-((x - self.x) ** 2 + (y - 40) ** 2) / 100)
        heat[:, :4] = np.nan
        return heat


@pytest.fixture
def full(world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(page, "_models", lambda runs: {r.label: Spot({"lgdea": 40, "clip": 10}[r.label]) for r in runs})
    out = build_report(
        out=tmp_path / "deep" / "report.html",
        title="Toy <report>",
        runs=world.runs,
        results=world.results,
        archive=world.archive,
        evidence=world.evidence,
        examples=4,
    )
    return out.read_text(encoding="utf-8")


def test_nothing_is_fetched_and_every_tag_is_closed(full: str) -> None:
    read = Reader(full)
    assert read.open == []
    assert read.fetched
    assert all(address.startswith("data:image/") for address in read.fetched)
    assert not re.findall(r"url\((?!#)", full)
    assert "@import" not in full
    assert "default-src 'none'" in full


def test_ids_are_unique_and_every_link_leads_somewhere(full: str) -> None:
    read = Reader(full)
    assert len(read.ids) == len(set(read.ids))
    assert set(read.links) <= set(read.ids)


def test_untrusted_text_stays_text(full: str) -> None:
    assert "<script>alert" not in full
    assert "&lt;script&gt;alert" in full
    assert "Toy &lt;report&gt;" in full
    assert Reader(full).scripts == 1


def test_only_our_script_may_run(full: str) -> None:
    script = re.search(r"<script>(.*?)</script>", full, flags=re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in full or f"script-src 'sha256-{digest}'" in full


def test_the_numbers_are_there(full: str) -> None:
    headline = full[full.index('id="headline"') : full.index('id="configuration"')]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", headline))
    assert "0.900 0.870–0.930" in text
    assert "+0.200" in text
    assert "p &lt; 0.001" in text
    assert "2 linked studies" in text
    assert text.index("lgdea") < text.index("clip")  # the baseline is shown last


def test_every_table_has_its_picture_and_its_text_to_copy(full: str) -> None:
    metrics = full[full.index('<section id="metrics"') : full.index('<section id="worst"')]
    tables = len(re.findall(r'<table class="metrics"', metrics))
    assert tables == 5  # three tasks, two of them by class
    assert metrics.count('class="intervals"') == tables + 1  # CNR has a scale of its own
    texts = re.findall(r"<textarea[^>]*readonly[^>]*>(.*?)</textarea>", metrics, flags=re.S)
    assert len(texts) == 2 * tables
    assert sum(r"\begin{tabular}" in t for t in texts) == tables
    rows = [line for t in texts if t.startswith("task,") for line in t.strip().splitlines()[1:]]
    shown = len(re.findall(r'<td role="cell" class="num model">', metrics))
    assert len(rows) == shown
    targets = re.findall(r'class="copy-button" data-for="([^"]+)"', full)
    assert len(targets) == len(set(targets)) == 2 * tables
    assert set(targets) <= set(Reader(full).ids)


def test_worst_cases_show_the_archive_s_images_and_both_models(full: str) -> None:
    worst = full[full.index('<section id="worst"') : full.index('<section id="evidence"')]
    assert "lgdea right, clip wrong: " in worst
    thumbnails = re.findall(r'<image id="(thumb-\d+)" href="data:image/jpeg', worst)
    assert thumbnails
    assert set(re.findall(r'href="#(thumb-\d+)"', worst)) == set(thumbnails)
    items = re.findall(r'<ul class="judged">(.*?)</ul>', worst, flags=re.S)
    assert all("lgdea" in item and "clip" in item for item in items)


def test_names_from_outside_stay_text(tmp_path: Path) -> None:
    name = "</textarea><script>alert(1)</script>"
    items = {"image_id": ["i1", "i2"], "patient_id": ["p1", "p2"], "study_id": name, "class": name, "phrase": name}
    table = pd.DataFrame({**items, "pointing": [0.0, 1.0], "cnr": [0.5, 1.0]})
    folders = {}
    for label in (name, "b"):
        per_class = {name: {"pointing": Value(0.5, 0.1, 0.9)}}
        result = Result("grounding", name, name, name, name, {"pointing_micro": Value(0.5)}, per_class, {}, table)
        folders[label] = tmp_path / str(len(folders))
        write_result(result, folders[label])
    text = build_report(out=tmp_path / "r.html", title=name, runs={}, results=folders).read_text()
    read = Reader(text)
    assert read.open == []
    assert read.scripts == 1
    assert read.fetched == []
    assert "<script>alert" not in text


def test_heat_maps_are_judged_by_the_true_box(full: str) -> None:
    images = full[full.index('<section id="images"') : full.index('<section id="provenance"')]
    verdicts = re.findall(r'class="verdict (\w+)"', images)
    assert verdicts == ["hit", "miss"] * 4


def test_each_section_is_there(full: str) -> None:
    sections = re.findall(r'<section id="(\w+)"', full)
    about = ["headline", "configuration", "data", "curves", "metrics", "worst"]
    assert sections == [*about, "evidence", "images", "provenance"]
    assert "zero-shot/auroc-v1" in full
    assert "ab" * 32 in full


def test_same_seed_same_page(world, tmp_path: Path) -> None:
    def body(name: str, seed: int) -> str:
        given = {"runs": {}, "results": {}, "archive": world.archive, "evidence": world.evidence}
        text = build_report(out=tmp_path / name, title="x", seed=seed, examples=3, **given).read_text()
        return text[text.index('id="evidence"') : text.index('id="provenance"')].replace(f"seed {seed}", "")

    assert body("a.html", 1) == body("b.html", 1)
    assert body("a.html", 1) != body("c.html", 2)


@pytest.mark.parametrize(
    ("parts", "sections"),
    [
        (("runs",), ["configuration", "data", "curves", "provenance"]),
        (("results",), ["headline", "metrics", "worst", "provenance"]),
        (("archive",), ["data", "images", "provenance"]),
        (("archive", "evidence"), ["data", "evidence", "images", "provenance"]),
    ],
)
def test_a_part_that_is_not_given_is_left_out(world, tmp_path: Path, parts: tuple, sections: list[str]) -> None:
    given = {"runs": {}, "results": {}, **{part: getattr(world, part) for part in parts}}
    text = build_report(out=tmp_path / "r.html", title="x", **given).read_text()
    assert re.findall(r'<section id="(\w+)"', text) == sections
    assert Reader(text).open == []


def test_a_killed_run_is_called_unfinished(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("seed: 0\n")
    text = build_report(out=tmp_path / "r.html", title="x", runs={"a": run}, results={}).read_text()
    assert "unfinished" in text


def test_wrong_input_is_one_clear_line(world, tmp_path: Path) -> None:
    def build(**parts: object) -> None:
        build_report(**{"out": tmp_path / "r.html", "title": "x", "runs": {}, "results": {}, **parts})  # type: ignore[arg-type]

    with pytest.raises(UsageError, match="nothing to report on"):
        build()
    with pytest.raises(UsageError, match="evidence needs its archive"):
        build(evidence=world.evidence, results=world.results)
    with pytest.raises(UsageError, match="no such run folder"):
        build(runs={"a": tmp_path / "none"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no run"):
        build(runs={"a": tmp_path / "empty"})
    with pytest.raises(UsageError, match="no such archive"):
        build(archive=tmp_path / "none")
    assert not (tmp_path / "r.html").exists()


def test_config_differences_name_the_dotted_key(world) -> None:
    runs = [read_run(label, folder) for label, folder in world.runs.items()]
    assert config_differences(runs) == [("objective.name", ["clip", "lgdea"])]
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}


def test_a_template_that_misses_a_value_fails() -> None:
    with pytest.raises(Exception, match="is undefined"):
        render(title="x")


def test_a_run_without_files_has_empty_parts(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"stage": "pretrain"}))
    run = read_run("a", tmp_path)
    assert (run.config, run.environment, run.metrics, run.model, run.finished) == ({}, {}, {}, None, False)


def test_of_more_than_two_models_each_has_its_difference_below_its_value(world, tmp_path: Path) -> None:
    results = {"clip": world.results["clip"], "lgdea": world.results["lgdea"], "twin": world.results["lgdea"]}
    text = build_report(out=tmp_path / "r.html", title="x", runs={}, results=results, replicates=20).read_text()
    headline = text[text.index('id="headline"') : text.index('id="metrics"')]
    assert "difference</th>" not in headline
    cells = re.findall(r'<td role="cell" class="num model">(.*?)</td>', headline, flags=re.S)
    shown = ["+0.200" in cell for cell in cells[:3]]
    assert shown == [True, True, False]  # the baseline is last
    assert Reader(text).open == []
