"""Lists of scored classes: by name, as words, and in files of one's own."""

import pytest

from lgdea.errors import UsageError
from lgdea.vocabulary import load_vocabulary
from lgdea.vocabulary.class_lists import list_class_lists, scored_classes


def _named(wanted):
    return {scored.name: scored.findings for scored in scored_classes(wanted)}


def test_words_are_ids_names_or_synonyms_and_include_their_kinds():
    below = load_vocabulary().descendants("pneumonia")
    assert _named("pneumonia") == _named(["pneumonia"]) == {"pneumonia": below}
    assert list(_named("Pleural Effusions, pneumonia")) == ["pleural_effusion", "pneumonia"]


def test_every_named_list_can_be_scored():
    assert {"nih14", "chexpert14", "openi14", "phantom"} <= set(list_class_lists())
    for name, count in list_class_lists().items():
        assert len(scored_classes(name)) == count > 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.txt", "pneumonia\n# not these: mass\npleural effusion\n"),
        ("mine.csv", "pneumonia\npleural_effusion\n"),
        ("mine.yaml", "- pneumonia\n- pleural effusion\n"),
        ("mine.yml", "pneumonia: pneumonia\npleural_effusion:\n"),
    ],
)
def test_a_file_has_a_finding_in_each_line(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    assert _named(str(tmp_path / name)) == _named("pneumonia,pleural_effusion")


def test_a_class_of_ones_own_may_have_several_findings(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("Opacity: pneumonia, edema\nFluid: [pleural_effusion]\n")
    known = load_vocabulary()
    assert _named(str(file)) == {
        "Opacity": known.descendants("pneumonia") | known.descendants("edema"),
        "Fluid": known.descendants("pleural_effusion"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pneumonia\npneumotorax\n", "row 2: the vocabulary has no finding 'pneumotorax'; did you mean pneumothorax"),
        ("", "names no class"),
        ("a: pneumonia\nb: unicorn\n", "row 2: the vocabulary has no finding 'unicorn'"),
        ("mass\nmass\n", "names the class 'mass' twice"),
    ],
)
def test_a_wrong_file_is_told_by_its_line(text, message, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        scored_classes(str(file))


def test_a_file_that_is_not_there_and_a_list_that_is_not_known(tmp_path):
    with pytest.raises(UsageError, match="no such file of classes"):
        scored_classes(str(tmp_path / "none.txt"))
    with pytest.raises(UsageError, match=r"no list of classes, and no finding, 'nih41'.*labels, chexpert14, nih14"):
        scored_classes("nih41")
