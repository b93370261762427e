"""The report of comparisons: retrieved cases and healthy references as pictures, and a note where there is none."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import lgdea
from lgdea.comparison.entity.train import load_entity_model
from lgdea.evaluation.results.result import read_result, write_result
from lgdea.evaluation.tasks.entity_retrieval import entity_retrieval
from lgdea.evaluation.tasks.references import references
from lgdea.reporting.beside_method import BesideMethod, beside_method
from lgdea.reporting.page import build_report
from lgdea.reporting.sheet_examples import SHOWN_CASES
from lgdea.reporting.views import HEAT_MAPS

ENTITIES = ("cardiomegaly", "pleural effusion", "pneumothorax")
CLASSES = ("cardiomegaly", "pleural_effusion", "nodule")


@pytest.fixture(scope="module")
def results(bench, trained, tmp_path_factory) -> Path:
    """Results of both tasks on the whole archive, of the head after four steps."""
    folder = tmp_path_factory.mktemp("results")
    model = load_entity_model(trained)
    found = entity_retrieval(
        model, bench.archive, evidence=bench.evidence, entities=ENTITIES, split="all", least_images=2,
        bootstrap_replicates=0,
    )  # fmt: skip
    write_result(found, folder)
    beside = references(
        model.base, bench.archive, classes=CLASSES, counts=(1, 2), min_positive=1,
        strategies=("random", "demographic"), bootstrap_replicates=0, grid=2,
    )  # fmt: skip
    write_result(beside, folder)
    return folder


def report(bench, results: Path, out: Path, archive: Path | None = None) -> str:
    page = build_report(
        out=out, title="comparisons", runs={"head": bench.folder / "run"}, results={"head": results},
        archive=archive or bench.archive.folder, examples=1, replicates=0,
    )  # fmt: skip
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(bench, results, tmp_path_factory) -> str:
    return report(bench, results, tmp_path_factory.mktemp("page") / "report.html")


def part(page: str, title: str) -> str:
    """The worst and best cases of a task."""
    worst = page[page.index('<section id="worst"') :]
    worst = worst[: worst.index("</section>")]
    return worst[worst.index(f"<h3>{title} ") :].split("<h3>")[1]


def test_retrieved_cases_are_those_of_find_beside_their_query(bench, trained, results, page) -> None:
    shown = part(page, "Entity-retrieval")
    sheets = re.findall(r'<div class="compared">.*?<ul class="judged">', shown, flags=re.S)
    assert 0 < len({re.search(r"<small>(.*?)</small>", sheet)[0] for sheet in sheets}) <= HEAT_MAPS
    assert "<summary>best of head" in shown
    assert "nDCG@5" in shown
    first = sheets[0]
    assert first.count('<figure class="column">') == 1 + SHOWN_CASES
    assert first.count('class="heat"') == 1 + SHOWN_CASES
    entity = re.search(r"<q>(.*?)</q>", first)[1]
    ids = re.findall(r"<span>(phantom:\S+?)</span>", first)
    with_reports = bench.archive.with_tables(
        images=bench.archive.images[bench.archive.images["study_id"].isin(bench.archive.reports["study_id"])]
    )
    found = lgdea.find_cases(load_entity_model(trained), with_reports, ids[0], entity, top=SHOWN_CASES)
    assert ids[1:] == [case.image_id for case in found.cases]
    assert f"score {found.cases[0].told_score}" in first
    items = read_result(results, "entity-retrieval").items
    assert ids[0] in set(items[items["entity"] == entity]["image_id"])


def test_references_stand_beside_their_query_with_both_maps(bench, results, page) -> None:
    shown = part(page, "References")
    sheets = re.findall(r'<div class="compared">.*?<ul class="judged">', shown, flags=re.S)
    assert sheets
    assert sheets[0].count('<figure class="column">') == 2 + 2  # the query twice, and both references
    assert sheets[0].count('class="heat"') == 2  # alone and beside
    for said in ("query alone", "beside references", "healthy reference", "2 references, held fixed"):
        assert said in sheets[0]
    assert "beside 2 references (demographic): z " in shown
    assert beside_method(read_result(results, "references")) == BesideMethod("z", "demographic", 2)


def test_the_page_stays_whole(page) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    photos = re.findall(r'<image id="photo-\d+" href="([^"]+)"', page)
    assert len(photos) == len(set(photos))


def test_a_missing_picture_is_a_note(bench, results, tmp_path) -> None:
    folder = shutil.copytree(bench.archive.folder, tmp_path / "archive")
    for file in (folder / "images").iterdir():
        file.unlink()
    page = report(bench, results, tmp_path / "report.html", folder)
    shown = part(page, "Entity-retrieval") + part(page, "References")
    assert "head: no picture: " in part(page, "Entity-retrieval")
    assert "head: no picture: " in part(page, "References")
    assert '<div class="compared">' not in shown
    assert 'id="images"' not in page  # nothing to draw heat maps over


def test_a_broken_head_is_a_note(bench, results, tmp_path) -> None:
    run = shutil.copytree(bench.folder / "run", tmp_path / "run")
    (run / "model" / "entity_head.safetensors").write_bytes(b"broken")
    page = build_report(
        out=tmp_path / "report.html", title="comparisons", runs={"head": run}, results={"head": results},
        archive=bench.archive.folder, examples=1, replicates=0,
    ).read_text(encoding="utf-8")  # fmt: skip
    assert re.search(r"head: no picture: \S*entity_head.safetensors", part(page, "Entity-retrieval"))
    assert '<div class="compared">' in part(page, "References")
