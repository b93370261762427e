from __future__ import annotations

from lgdea.vocabulary import Finding, load_vocabulary
from lgdea.vocabulary.words import WordIndex


def _entry(key: str, name: str, *synonyms: str, **codes: tuple[str, ...]) -> Finding:
    return Finding(id=key, name=name, synonyms=synonyms, kind="finding", codes=codes)


def test_every_id_and_name_finds_itself_however_it_is_written():
    vocabulary = load_vocabulary()
    for key, finding in vocabulary.findings.items():
        assert vocabulary.find(key) == vocabulary.find(key.upper().replace("_", "-")) == key
        assert vocabulary.find(f"  {finding.name.upper()} ") == key
    for key in vocabulary.anatomy:
        assert vocabulary.find_anatomy(key) == key


def test_a_more_trusted_word_wins_and_a_shared_one_finds_nothing():
    words = WordIndex(
        [
            _entry("mass", "mass", "lump", nih14=("Shadow",)),
            _entry("lump", "growth", "shared"),
            _entry("cyst", "cyst", "shared"),
        ]
    )
    assert words.find("lump") == "lump"  # an id before another entry's synonym
    assert words.find("SHADOW") == "mass"
    assert words.find("shared") is None
    assert words.suggest("shared") == ["cyst", "lump"]
    assert words.find("masses") is None  # only a plain plural: the vocabulary lists the others as synonyms
    assert words.find("cysts") == "cyst"


def test_a_misspelt_word_is_suggested_and_nonsense_is_not():
    words = load_vocabulary().finding_words
    assert words.find("pneumothorx") is None
    assert words.suggest("pneumothorx")[0] == "pneumothorax"
    assert words.suggest("qqqq zzzz") == []
