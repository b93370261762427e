import copy
import pickle
import threading
from pathlib import Path

import pytest

from lgdea.errors import ConfigError
from lgdea.vocabulary import load_vocabulary, using_vocabulary
from lgdea.vocabulary.entailment import PRESENT, PhraseTable
from lgdea.vocabulary.extension import (
    extend_vocabulary,
    read_lexicon,
    using_vocabulary_of,
    vocabulary_of,
    write_lexicon,
)
from lgdea.vocabulary.phrases import canonical_phrase, class_texts

LEXICON = """
headings:
  Radiology opinion: impression
  Bedside story: indication
abbreviations:
  ICD: chest_tube
  BAS: lung base
synonyms:
  pneumothorax: [pleural puff]
  right_upper_lobe: [attic]
negation:
  before: [zilch]
uncertainty:
  after: [methinks]
ignore: [fracture clinic]
findings:
  - id: stripe_sign
    name: stripe sign
    synonyms: [vertical stripes]
    parents: [opacity]
    anatomy: lung
    present: [striped lungs, vertical stripes in the lungs]
    absent: [lungs without stripes, no vertical stripes]
  - id: wide_stripe_sign
    name: wide stripe sign
    parents: [stripe_sign]
"""


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "lexicon.yaml").write_text(LEXICON)
    return tmp_path / "lexicon.yaml"


def test_a_lexicon_adds_findings_and_words(file):
    vocabulary = extend_vocabulary(read_lexicon(file))
    new = vocabulary.findings["stripe_sign"]
    assert (new.name, new.kind, new.default_anatomy, new.modalities) == (
        "stripe sign",
        "finding",
        "lung",
        ("xray", "ct"),
    )
    assert vocabulary.ancestors("wide_stripe_sign") == {
        "wide_stripe_sign",
        "stripe_sign",
        *vocabulary.ancestors("opacity"),
    }
    assert vocabulary.find("Vertical stripes") == "stripe_sign"
    assert vocabulary.find("pleural puff") == "pneumothorax"
    assert vocabulary.find("ICD") == "chest_tube"
    assert (vocabulary.find_anatomy("attic"), vocabulary.find_anatomy("BAS")) == ("right_upper_lobe", "lung_base")


def test_the_vocabulary_in_use_is_that_of_the_block_and_of_its_thread(file):
    own = extend_vocabulary(read_lexicon(file))
    seen = []
    with using_vocabulary(own):
        assert load_vocabulary() is own
        thread = threading.Thread(target=lambda: seen.append("stripe_sign" in load_vocabulary().findings))
        thread.start()
        thread.join()
        with using_vocabulary(None):
            assert "stripe_sign" not in load_vocabulary().findings
        assert load_vocabulary() is own
    assert seen == [False]
    with pytest.raises(ZeroDivisionError), using_vocabulary(own):
        raise ZeroDivisionError
    assert "stripe_sign" not in load_vocabulary().findings


def test_equal_lexicons_give_one_vocabulary_and_other_order_another_hash_of_nothing(file, tmp_path):
    (tmp_path / "other.yaml").write_text("# a comment\n" + LEXICON)
    assert extend_vocabulary(read_lexicon(file)) is extend_vocabulary(read_lexicon(tmp_path / "other.yaml"))
    assert copy.deepcopy(extend_vocabulary(read_lexicon(file))) is extend_vocabulary(read_lexicon(file))
    assert pickle.loads(pickle.dumps(read_lexicon(file))).sha256 == read_lexicon(file).sha256


def test_phrases_class_texts_and_entailment_know_new_findings(file):
    key = ("wide_stripe_sign", None, "unspecified", "unspecified")
    assert canonical_phrase("stripe_sign", "lung", "left") == "left stripe sign in the lung"
    with using_vocabulary_of(None, file.parent):
        assert canonical_phrase("stripe_sign", "lung", "left") == "left stripe sign"
        assert class_texts("stripe_sign")[0] == ["striped lungs", "vertical stripes in the lungs"]
        assert class_texts("stripe_sign")[1] == ["lungs without stripes", "no vertical stripes"]
        assert class_texts("wide_stripe_sign")[0][0] == "wide stripe sign"
        table = PhraseTable([(key, PRESENT)])
        assert {"wide stripe sign", "stripe sign", "lung opacity"} <= set(table.texts)
    assert "vertical stripes" in table.wordings(table.texts.index("stripe sign"))
    assert len(PhraseTable([(key, PRESENT)])) == 1  # outside it is a word that stands alone
    assert class_texts("stripe_sign")[0][0] == "stripe sign"


def test_a_folder_keeps_the_lexicon_it_was_made_with(file, tmp_path):
    lexicon, folder = read_lexicon(file), tmp_path / "folder"
    folder.mkdir()
    write_lexicon(lexicon, folder)
    assert vocabulary_of(folder) is extend_vocabulary(lexicon)
    write_lexicon(None, folder)
    assert vocabulary_of(folder).site is None
    assert vocabulary_of(None) is load_vocabulary()


FINDING = "findings:\n  - {id: x_sign, name: x sign"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("synonym: {edema: [x]}", "synonym: no such key; did you mean synonyms?"),
        (FINDING + ", synonims: [x]}", "findings.0.synonims: no such key; did you mean findings.0.synonyms?"),
        ("findings:\n  - {name: x}", "findings.0.id: is required"),
        ("findings:\n  - {id: X Sign, name: x}", "findings.0.id: String should match pattern"),
        ("headings: {Opinion: conclusion}", "headings.Opinion: Input should be 'findings', 'impression'"),
        ("headings: {'Opinion:': findings}", "without the colon"),
        ("synonyms: {edema: [pneumonia]}", "synonyms.edema: 'pneumonia' already means pneumonia; leave it out, or"),
        ("synonyms: {edemma: [wet]}", "synonyms.edemma: 'edemma' is no finding or structure; did you mean edema?"),
        ("abbreviations: {QX: hydrothoraxx}", "abbreviations.QX: 'hydrothoraxx' is no finding or structure"),
        (FINDING + ", parents: [opacty]}", "findings.0 (x_sign).parents: no finding 'opacty'; did you mean opacity?"),
        (FINDING + ", anatomy: lungg}", "findings.0 (x_sign).anatomy: no structure 'lungg'; did you mean lung?"),
        (FINDING + ", synonyms: [Pleural Effusions]}", "'Pleural Effusions' already means pleural_effusion"),
        (FINDING + ", present: [a, b], absent: [c]}", "2 texts are present, 1 absent; write as many of both"),
        ("findings:\n  - {id: edema, name: my edema}", "findings.0 (edema): the id is taken; choose another id"),
        (FINDING + "}\n  - {id: x_sign, name: other sign}", "the id is taken"),
        (FINDING + "}\n  - {id: y_sign, name: X sign}", "'X sign' means x_sign elsewhere in the file"),
        (FINDING + ", parents: [x_sign]}", "parents form a cycle"),
        ("negation: {before: ['no (acute)']}", "'no (acute)' is not made of words"),
        ("negation: [nil]", "negation: Input should be a valid dictionary"),
        ("- a", "must be a mapping of keys to values"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_key_and_remedy(tmp_path, content, says):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError) as error:
        read_lexicon(file)
    assert str(error.value).startswith(f"{file}: ")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        read_lexicon(tmp_path / "nowhere.yaml")
