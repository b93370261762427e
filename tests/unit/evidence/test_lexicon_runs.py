"""Extraction with a site's lexicon: what rules and models read, what is kept beside the evidence, what resumes."""

import json
from pathlib import Path

import pandas as pd
import pytest

import lgdea
from lgdea.errors import UsageError
from lgdea.evidence.backends.replay import text_hash
from lgdea.evidence.prompts import load_prompt
from lgdea.vocabulary import load_vocabulary
from lgdea.vocabulary.extension import using_vocabulary_of
from tests.helpers.command_line import run_lgdea

LEXICON = """
headings: {Radiology opinion: impression, Bedside story: indication, Comment: technique}
abbreviations: {ICD: chest_tube, BAS: lung_base}
synonyms: {pneumothorax: [pleural puff]}
negation: {before: [zilch], after: [waved away]}
uncertainty: {before: [guesswork about], after: [methinks]}
ignore: [fracture clinic]
findings:
  - {id: stripe_sign, name: stripe sign, synonyms: [vertical stripes], parents: [opacity], anatomy: lung}
"""
TEXT = (
    "Bedside story: old rib fracture.\nFINDINGS: Right ICD in place. Zilch consolidation. Pneumonia waved away. "
    "Guesswork about edema. Pleural puff on the left. Nodule methinks. Vertical stripes in both lungs. "
    "Seen in fracture clinic.\n"
    "Comment: emphysema.\nRadiology opinion: Atelectasis BAS."
)
READ = [
    ("chest_tube", "present", "right", None, "findings"),
    ("consolidation", "absent", "unspecified", None, "findings"),
    ("pneumonia", "absent", "unspecified", None, "findings"),
    ("edema", "uncertain", "unspecified", None, "findings"),
    ("pneumothorax", "present", "left", None, "findings"),
    ("nodule", "uncertain", "unspecified", None, "findings"),
    ("stripe_sign", "present", "bilateral", "lung", "findings"),
    ("atelectasis", "present", "unspecified", "lung_base", "impression"),
]


@pytest.fixture
def lexicon(tmp_path) -> Path:
    (tmp_path / "site.yaml").write_text(LEXICON)
    return tmp_path / "site.yaml"


def _read(evidence):
    return [
        (u.finding, u.assertion, u.laterality, u.anatomy if u.finding in _PLACED else None, u.section) for u in evidence
    ]


_PLACED = {"stripe_sign", "atelectasis"}


def test_rules_read_by_the_lexicon_and_forget_it_after_the_run(lexicon):
    before = lgdea.extract(TEXT)
    evidence = lgdea.extract(TEXT, lexicon=lexicon)
    assert _read(evidence) == READ
    assert list(evidence.findings().columns) == [
        key for key in evidence.vocabulary.findings if key in dict.fromkeys(u.finding for u in evidence)
    ]
    assert "stripe_sign" in evidence.findings()
    assert evidence[6:].findings().loc["0", "stripe_sign"] == 1
    assert lgdea.extract(TEXT) == before
    assert "stripe_sign" not in {u.finding for u in before}
    assert {"fracture", "rib_fracture"} & {u.finding for u in before}
    assert "stripe_sign" not in load_vocabulary().findings


@pytest.mark.parametrize(("word", "full"), [("PE", "Pulmonary embolism"), ("ICD", "Defibrillator")])
def test_what_an_abbreviation_means_here_does_not_touch_its_usual_words_in_full(lexicon, word, full):
    lexicon.write_text(f"abbreviations: {{{word}: pleural_effusion}}")
    (usual,) = {unit.finding for unit in lgdea.extract(f"{full} is seen.")}
    found = {
        unit.quote.split()[0]: unit.finding for unit in lgdea.extract(f"{full} is seen. {word} left.", lexicon=lexicon)
    }
    assert found == {full.split()[0]: usual, word: "pleural_effusion"}
    assert usual != "pleural_effusion"


def test_the_lexicon_is_kept_and_hashed_and_another_is_not_mixed_in(lexicon, tmp_path, make_archive, capsys):
    archive = make_archive(tmp_path / "archive", {"a": TEXT, "b": "Clear lungs."})
    out = tmp_path / "e"
    command = ["extract", archive.folder, "--out", out, "--lexicon", lexicon]
    assert run_lgdea(capsys, *command)[0] == 0
    assert len(json.loads((out / "run.json").read_text())["config"]["lexicon"]) == 64
    evidence = lgdea.load_evidence(out)
    assert _read(evidence.for_report("r:a")) == READ
    assert evidence.save(tmp_path / "copy") == tmp_path / "copy"
    assert _read(lgdea.load_evidence(tmp_path / "copy").for_report("r:a")) == READ
    assert run_lgdea(capsys, *command)[0] == 0  # resumes: nothing is left to do
    lexicon.write_text(LEXICON.replace("zilch", "nada"))
    code, _, err = run_lgdea(capsys, *command)
    assert code == 2
    assert "another config (lexicon:" in err
    assert err.count("\n") == 1
    code, _, err = run_lgdea(capsys, *command[:-2])
    assert code == 2
    assert "another config (lexicon:" in err


def test_evidence_in_memory_is_saved_with_its_lexicon(lexicon, tmp_path):
    folder = lgdea.extract(TEXT, lexicon=lexicon).save(tmp_path / "saved")
    assert "stripe_sign" in lgdea.load_evidence(folder, TEXT).vocabulary.findings


def test_workers_know_the_lexicon(lexicon):
    frame = pd.DataFrame({"report_id": [str(n) for n in range(300)], "text": [f"{TEXT} {n} mm." for n in range(300)]})
    assert lgdea.extract(frame, lexicon=lexicon, workers=2) == lgdea.extract(frame, lexicon=lexicon)


def test_a_wrong_lexicon_is_refused_before_anything_is_written(lexicon, tmp_path, make_archive, capsys):
    archive = make_archive(tmp_path / "archive", {"a": TEXT})
    lexicon.write_text("synonyms: {edema: [pneumonia]}")
    code, _, err = run_lgdea(capsys, "extract", archive.folder, "--out", tmp_path / "e", "--lexicon", lexicon)
    assert code == 2
    assert err.startswith(f"lgdea: {lexicon}: synonyms.edema: 'pneumonia' already means pneumonia; ")
    assert not (tmp_path / "e").exists()
    with pytest.raises(UsageError, match="no lexicon on a Ray cluster"):
        lgdea.extract(TEXT, lexicon=lexicon, runner="ray")


def test_a_language_model_is_told_of_it_held_to_it_and_read_by_it(lexicon, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "lexicon.yaml").write_text(LEXICON)
    unit = {"quote": "Vertical stripes", "finding": "stripe_sign", "finding_text": "stripes", "assertion": "present"}
    record = {"text_sha256": text_hash(TEXT), "text": json.dumps({"units": [unit]})}
    (tmp_path / "answers.jsonl").write_text(json.dumps(record))
    asked = {"backend": "replay", "prompt": "evidence-v1", "options": {"responses": str(tmp_path / "answers.jsonl")}}
    (read,) = lgdea.extract(TEXT, lexicon=lexicon, **asked)
    assert (read.finding, read.quote, read.section) == ("stripe_sign", "Vertical stripes", "findings")
    with pytest.warns(UserWarning, match="rejected"):
        without = lgdea.extract(TEXT, **asked)
    assert [reject.reason for reject in without.rejects] == ["invalid_response"]
    for prompt_id in ("evidence-v1", "sentence-v1"):
        with using_vocabulary_of(tmp_path / "site"):
            own = load_prompt(prompt_id)
            schema = own.json_schema()
        shipped = load_prompt(prompt_id)
        assert "stripe_sign (stripe sign, vertical stripes)" in own.system
        assert "pneumothorax (pleural puff)" in own.system
        assert "stripe_sign" in schema["properties"]["units"]["items"]["properties"]["finding"]["enum"]
        assert "stripe_sign" not in str(shipped.json_schema()) + shipped.system
        assert (own.files_sha256 == shipped.files_sha256, own.sha256 == shipped.sha256) == (True, False)
