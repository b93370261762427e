"""The whole road with a model whose answers are right for a reason: prompt, engine, grammar, parsing, scoring.

The model in ``fixtures/small_extractor`` was trained by ``pipelines/train_small_extractor.py`` on the phantom's
sentences. It is measured here on patients of another seed, and apart on the sentences that its training left out.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from lgdea.annotation.scoring import EvidenceScores, score
from lgdea.evidence.io import read_evidence
from lgdea.evidence.prompts import load_prompt
from lgdea.phantom import generate
from lgdea.records.archive import Archive
from tests.helpers.vllm_environment import ENVIRONMENT, PYTHON, ROOT, needs_vllm

FIXTURE = Path(__file__).parent / "fixtures" / "small_extractor"
SAID = ["finding", "assertion", "anatomy", "laterality", "severity", "change"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return generate(tmp_path_factory.mktemp("phantom"), studies=120, size=64, seed=4242, workers=1, masks=False)


@pytest.fixture(scope="module")
def evidence(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("extracted") / "evidence"
    done = subprocess.run(
        [
            *(str(PYTHON.parent / "lgdea"), "extract", str(archive.folder), "--out", str(out), "--backend", "vllm"),
            *("--prompt", str(FIXTURE / "prompt"), "--model", str(FIXTURE / "model")),
            *("--set", "options.engine_enforce_eager=true", "--json"),
        ],
        env=ENVIRONMENT,
        cwd=out.parent,
        capture_output=True,
        text=True,
        timeout=230,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


@needs_vllm
def test_it_extracts_what_the_reports_say(archive: Archive, evidence: Path) -> None:
    result = score(evidence, "phantom", archive)
    print(f"micro-F1 {result.micro.f1_text()}, macro {result.macro_f1:.3f}, {result.attributes}")
    assert result.reports == 120
    assert result.micro.f1 > 0.95
    assert result.macro_f1 > 0.9
    for name in ("anatomy", "laterality", "severity", "change"):
        assert result.attributes[f"{name}_accuracy"] > 0.95, name
    assert result.attributes["share_exact"] == 1.0


@needs_vllm
def test_answers_dealt_to_other_sentences_score_low(archive: Archive, evidence: Path) -> None:
    dealt = _dealt_anew(archive, evidence)
    print(f"micro-F1 {dealt.micro.f1_text()} when the answers are dealt to other sentences")
    assert dealt.micro.f1 < 0.2


@needs_vllm
def test_it_reads_sentences_that_training_left_out(archive: Archive, evidence: Path) -> None:
    left_out = _training_script().held_out
    texts = dict(zip(archive.reports["report_id"], archive.reports["text"], strict=True))
    prompt = load_prompt(str(FIXTURE / "prompt"))
    unseen = {(i, q.start) for i, t in texts.items() for q in prompt.questions(t) if left_out(t[q.start : q.end])}
    wanted = _statements(archive.extra("evidence_truth"), unseen)
    stated = _statements(read_evidence(evidence), unseen)
    assert len(unseen) > 25
    f1 = 2 * len(wanted & stated) / (len(wanted) + len(stated))
    print(f"{len(unseen)} sentences that training left out: F1 {f1:.3f}")
    assert f1 > 0.9


@needs_vllm
def test_every_sentence_was_asked_and_answered_under_the_schema(archive: Archive, evidence: Path) -> None:
    run = json.loads((evidence / "run.json").read_text())
    assert run["config"]["prompt"]["prompt_id"] == "prompt"
    assert run["summary"]["rejected"] == run["summary"]["rejected_units"] == 0
    prompt = load_prompt(str(FIXTURE / "prompt"))
    texts = dict(zip(archive.reports["report_id"], archive.reports["text"], strict=True))
    lines = [line for file in (evidence / "raw").glob("*.jsonl") for line in file.read_text().splitlines()]
    assert len(lines) == sum(len(prompt.questions(text)) for text in texts.values())
    for record in map(json.loads, lines):
        prompt.parse(record["text"], texts[record["report_id"]])  # raises unless it is of the schema


def test_the_script_makes_such_a_model(tmp_path: Path) -> None:
    _training_script().run(tmp_path, reports=60, steps=2, seed=0)
    assert load_prompt(str(tmp_path / "prompt")).sha256 == load_prompt(str(FIXTURE / "prompt")).sha256
    made, kept = (json.loads((folder / "model" / "config.json").read_text()) for folder in (tmp_path, FIXTURE))
    for name in ("architectures", "hidden_size", "num_hidden_layers", "dtype", "eos_token_id"):
        assert made[name] == kept[name]
    assert set(json.loads((tmp_path / "training.json").read_text())) == set(
        json.loads((FIXTURE / "training.json").read_text())
    )


def _dealt_anew(archive: Archive, evidence: Path) -> EvidenceScores:
    """The score when what was said of each sentence is said of another."""
    units = read_evidence(evidence)
    order = np.random.default_rng(0).permutation(len(units))
    units[SAID] = units[SAID].iloc[order].to_numpy()
    return score(units, "phantom", archive)


def _statements(units: pd.DataFrame, sentences: set[tuple[str, int]]) -> set[tuple[str, int, str, str]]:
    rows = units[["report_id", "start", "finding", "assertion"]].itertuples(index=False, name=None)
    return {row for row in rows if row[:2] in sentences}


def _training_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("training", ROOT / "pipelines" / "train_small_extractor.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script
