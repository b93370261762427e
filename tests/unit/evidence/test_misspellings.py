"""Which words are read as others, and which never are."""

import pandas as pd
import pytest

import lgdea
from lgdea.evidence.rules.lexicon import load_lexicon
from lgdea.evidence.rules.misspellings import SpellingCorrector
from lgdea.evidence.rules.spelling import lemma

SPELLING = load_lexicon().spelling


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("pnuemothorax", "pneumothorax"),  # swapped
        ("atelectasus", "atelectasis"),  # another letter
        ("emphysma", "emphysema"),  # a letter too few
        ("cardiommegaly", "cardiomegaly"),  # one too many
        ("lymphadinopaty", "lymphadenopathy"),  # two edits in a long word
        ("consildation", "consolidation"),
        ("mediastinmu", "mediastinum"),
        ("Pleurral", "pleural"),
    ],
)
def test_misspelt_words_are_read_as_the_nearest_one(word: str, right: str) -> None:
    assert SPELLING[lemma(word)] == right


@pytest.mark.parametrize(
    "word",
    ["infusion", "confusion", "hypotension", "hypertension", "thoracotomy", "nephrectomy", "gastrectomy", "spondylitis",
     "stricture", "injection", "hypointensity", "hyperdensity", "perihilar", "parahilar", "interlobular",
     "intralobular", "branchial", "angular", "lobulated", "ilium", "ileum", "peripheral", "artifact",
     "marring", "attention", "midlife", "strictures", "fissured", "without", "absent", "present", "withuot",
     "pneumo" * 50_000],
    ids=lambda word: word[:12],
)  # fmt: skip
def test_known_words_and_cues_stay(word: str) -> None:
    assert SPELLING[lemma(word)] == lemma(word)


def test_a_word_between_two_others_stays() -> None:
    corrector = SpellingCorrector(["effusion", "effusive"], [])
    assert corrector["effusien"] == "effusion"
    assert corrector["effusivn"] == "effusivn"


def test_prefixes_are_no_misspellings_of_each_other() -> None:
    assert SpellingCorrector(["hyperinflation"], [])["hypoinflation"] == "hypoinflation"


def test_quality_counts_what_was_read_as_misspelt(tmp_path) -> None:
    reports = pd.DataFrame({"report_id": ["a", "b"], "text": ["No pnuemothorax.", "Pnuemothorax. No effusion."]})
    summary = lgdea.extract(reports, out=tmp_path / "e").summary
    assert summary["words_read_as_misspelt"] == {"pnuemothorax": 2}
