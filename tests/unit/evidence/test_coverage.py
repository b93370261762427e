"""Evidence of other reports, or of a part of them, handed to every verb that reads evidence beside an archive."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lgdea.annotation.scoring import count_against_gold, score
from lgdea.cli import main
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.tasks.retrieval import retrieval
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.coverage import reports_asked, require_all_reports
from lgdea.evidence.io import read_evidence
from lgdea.evidence.runner import extract
from lgdea.phantom import generate
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.fit import fit
from lgdea.records.pairing import make_pairing, write_pairing
from lgdea.reporting.evidence_page import build_evidence_page
from lgdea.reporting.page import build_report
from lgdea.reporting.picture import readme_picture

OTHER = "was extracted from other reports than this archive's; give the archive that was extracted, or extract this one"
PART = "covers 40 of the archive's 70 reports; extract all of them into a new folder: `lgdea extract` without --limit"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """An archive with its evidence, with 40 reports' evidence, and with the evidence and pairing of another archive."""
    root = tmp_path_factory.mktemp("phantoms")
    archive, other = (generate(root / f"archive-{n}", studies=70, size=64, seed=n) for n in (0, 1))
    rules = get_backend("rules")
    extract(archive, rules, root / "whole")
    extract(archive, rules, root / "part", limit=40)
    extract(other, rules, root / "other")
    for name, source, fraction in (("pairing", archive, 1.0), ("other-pairing", other, 1.0)):
        write_pairing(make_pairing(source, fraction), root / f"{name}.parquet")
    return SimpleNamespace(root=root, archive=archive, whole=root / "whole", part=root / "part", other=root / "other")


class Blind:
    """A model of images and texts that sees nothing, and refuses to work when it should not be asked."""

    name, scoring = "blind", "global"

    def __init__(self, *, asked: bool) -> None:
        self._asked = asked

    def encode_images(self, images):
        assert self._asked
        return np.random.default_rng(0).normal(size=(len(images), 4)).astype(np.float32)

    encode_texts = encode_images

    def score_phrases(self, images, phrases):
        return np.zeros((len(images), len(phrases)))

    def heat_maps(self, image, phrases):
        return [np.zeros(image.shape) for _ in phrases]


def draw_report(world: SimpleNamespace, evidence: Path, out: Path) -> Path:
    return build_report(
        out=out / "page.html", title="x", runs={}, results={}, archive=world.archive.folder, evidence=evidence
    )


def draw_picture(world: SimpleNamespace, evidence: Path, out: Path) -> Path:
    folder = world.archive.folder
    return readme_picture(out=out / "x.png", archive=folder, evidence=evidence, model=out / "no-model", results={})


def rank(world: SimpleNamespace, evidence: Path, out: Path) -> None:
    retrieval(Blind(asked=False), world.archive, evidence=evidence)


def settings(world: SimpleNamespace, evidence: Path, pairing: str = "pairing") -> PretrainConfig:
    data = {"archive": world.archive.folder, "evidence": evidence, "pairing": world.root / f"{pairing}.parquet"}
    return PretrainConfig.model_validate(
        {
            "data": {**data, "batch_size_per_device": 4, "cache_workers": 1},
            "image": {"tower": "test_resnet", "size": 64},
            "text": {"hidden": 32, "layers": 1},
            "objective": {"name": "clip"},
            "validation": {"max_images": 0},
            "trainer": {"max_steps": 1, "accelerator": "cpu"},
        }
    )


def pretrain(world: SimpleNamespace, evidence: Path, out: Path) -> Path:
    return fit(settings(world, evidence), out / "run")


@pytest.mark.parametrize("use", [draw_report, draw_picture, rank, pretrain])
def test_evidence_of_other_reports_or_of_a_part_is_refused_before_any_work(world, tmp_path: Path, use):
    for folder, problem in ((world.other, OTHER), (world.part, PART)):
        with pytest.raises(UsageError) as refused:
            use(world, folder, tmp_path)
        assert str(refused.value) == f"{folder}: {problem}"
    assert not list(tmp_path.iterdir())


def test_evidence_of_the_archive_is_taken(world, tmp_path: Path):
    assert draw_report(world, world.whole, tmp_path).is_file()
    graded = retrieval(Blind(asked=True), world.archive, evidence=world.whole, bootstrap_replicates=0)
    assert "graded by evidence" in graded.notes
    assert pretrain(world, world.whole, tmp_path).is_dir()


@pytest.mark.parametrize("use", [score, lambda folder, gold, archive: build_evidence_page(folder, archive, "x.html")])
def test_other_evidence_is_neither_scored_nor_shown(world, use):
    with pytest.raises(UsageError, match=OTHER):
        use(world.other, "phantom", world.archive)


def test_a_part_is_scored_on_exactly_the_reports_that_were_to_be_read(world, capsys):
    part, whole = (score(folder, "phantom", world.archive) for folder in (world.part, world.whole))
    assert (part.reports, part.not_asked) == (40, 30)
    assert (whole.reports, whole.not_asked) == (70, 0)
    first = count_against_gold(read_evidence(world.whole), "phantom", world.archive).counts[:40].sum(axis=(0, 1))
    assert part.micro.recall == pytest.approx(first[0] / (first[0] + first[2]))
    assert part.micro.precision == pytest.approx(first[0] / (first[0] + first[1]))
    assert part.micro.f1 > 0.9
    with pytest.raises(SystemExit) as left:
        command = ["extract", "score", world.part, "--gold", "phantom", "--archive", world.archive.folder]
        main([str(word) for word in command])
    assert not left.value.code
    shown = " ".join(capsys.readouterr().out.split())
    assert "phantom: 40 reports, 30 more that the run was not asked to read" in shown


def test_a_part_without_any_report_of_the_gold_has_no_score(tmp_path: Path, make_archive):
    labels = [{"study_id": "s:b", "finding": "nodule", "value": 1, "labeller": "openi-14"}]
    archive = make_archive(tmp_path / "a", {"a": "FINDINGS: Nodule.", "b": "FINDINGS: Nodule."}, labels=labels)
    extract(archive, get_backend("rules"), tmp_path / "one", limit=1)
    with pytest.raises(UsageError, match="none of the 1 reports that have this gold was to be read"):
        score(tmp_path / "one", "openi-14", archive)


def test_what_counts_as_the_archives_evidence(world, tmp_path: Path):
    reports = world.archive.reports[["report_id", "text"]]
    extract(reports, get_backend("rules"), tmp_path / "table")
    extract(reports, get_backend("rules"), tmp_path / "head", limit=5)
    extract(reports[::-1], get_backend("rules"), tmp_path / "turned", limit=5)
    require_all_reports(tmp_path / "table", world.archive)
    assert reports_asked(tmp_path / "head", world.archive) == reports["report_id"].tolist()[:5]
    with pytest.raises(UsageError, match=OTHER):
        reports_asked(tmp_path / "turned", world.archive)
    run = tmp_path / "table" / "run.json"
    for content in ({}, {"input_hashes": {"archive": "0" * 64}, "config": {"kind": "mine"}}):
        run.write_text(json.dumps(content))
        with pytest.raises(UsageError, match=OTHER):
            require_all_reports(tmp_path / "table", world.archive)
    run.unlink()
    with pytest.raises(UsageError, match=OTHER):
        require_all_reports(tmp_path / "table", world.archive)
    with pytest.raises(UsageError, match="no such evidence"):
        require_all_reports(tmp_path / "nothing", world.archive)


def test_a_run_with_a_limit_beyond_the_archive_covers_it(world, tmp_path: Path):
    extract(world.archive, get_backend("rules"), tmp_path / "e", limit=1000)
    require_all_reports(tmp_path / "e", world.archive)
    part = world.archive.with_tables(reports=world.archive.reports.iloc[30:])
    assert reports_asked(world.part, part) == world.archive.reports["report_id"].tolist()[30:40]


def test_a_pairing_of_another_archive_is_refused_before_any_work(world, tmp_path: Path):
    short = make_pairing(world.archive, 1.0).iloc[20:]
    write_pairing(short, world.root / "short.parquet")
    for name, problem in (
        ("other-pairing", "names a study that the archive"),
        ("short", r"lacks \d+ training studies"),
    ):
        with pytest.raises(DataError, match=rf"{name}\.parquet.*{problem}"):
            fit(settings(world, world.whole, name), tmp_path / "run")
    assert not (tmp_path / "run").exists()
