from hypothesis import given
from hypothesis import strategies as st

from lgdea.evidence.layout import split_sections, split_sentences


def _sections(text):
    return [(s.name, text[s.start : s.end].strip()) for s in split_sections(text)]


def test_open_i_style():
    text = "COMPARISON: None.\nINDICATION: Cough.\nFINDINGS: Clear.\nIMPRESSION: Normal."
    assert _sections(text) == [
        ("comparison", "None."),
        ("indication", "Cough."),
        ("findings", "Clear."),
        ("impression", "Normal."),
    ]


def test_headers_in_one_line_and_text_before_the_first_header():
    assert _sections("CHEST PA. FINDINGS: Clear. IMPRESSION: Normal.") == [
        ("title", "CHEST PA."),
        ("findings", "Clear."),
        ("impression", "Normal."),
    ]


def test_mimic_style():
    text = (
        "                 FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n\n INDICATION:  ___ year old with cough\n\n"
        " TECHNIQUE:  Chest PA\n\n FINDINGS: \n \n The lungs are clear.\n\n IMPRESSION: \n \n No acute process."
    )
    names = [name for name, _ in _sections(text)]
    assert names == ["examination", "indication", "technique", "findings", "impression"]


def test_a_word_before_a_colon_inside_a_sentence_is_no_header():
    assert [name for name, _ in _sections("FINDINGS: The following findings: a nodule.")] == ["findings"]


def test_no_header_at_all_is_body():
    assert _sections("Lungs are clear.") == [("body", "Lungs are clear.")]
    assert _sections("  \n ") == []


def _sentences(text):
    return [text[a:b] for a, b in split_sentences(text)]


def test_sentences():
    assert _sentences("1. Mild cardiomegaly, 5.5 cm nodule. 2. No effusion.Clear lungs. Fracture of T12. Seen.") == [
        "Mild cardiomegaly, 5.5 cm nodule.",
        "No effusion.",
        "Clear lungs.",
        "Fracture of T12.",
        "Seen.",
    ]


def test_a_wrapped_line_does_not_end_a_sentence_but_a_list_does():
    assert _sentences("No pleural\neffusion seen.\n- Old fracture\n- Nodule\n\nHeart big") == [
        "No pleural\neffusion seen.",
        "Old fracture",
        "Nodule",
        "Heart big",
    ]


def test_abbreviations():
    assert _sentences("Atelectasis vs. pneumonia. Discussed with Dr. Who.") == [
        "Atelectasis vs. pneumonia.",
        "Discussed with Dr. Who.",
    ]


# What begins an escape or a tag, whose letters are no words, is left out.
@given(st.text(st.characters(exclude_characters="\\&<{", exclude_categories=("Cs",)), max_size=300))
def test_sentences_are_ordered_and_lose_no_word(text):
    spans = split_sentences(text)
    assert all(0 <= a < b <= len(text) for a, b in spans)
    assert all(spans[k][1] <= spans[k + 1][0] for k in range(len(spans) - 1))
    kept = sum(c.isalpha() for a, b in spans for c in text[a:b])
    assert kept == sum(c.isalpha() for c in text)


@given(st.text(alphabet="FINDGS IMPRESO:.\nabc", max_size=200))
def test_sections_are_ordered_and_inside(text):
    spans = split_sections(text)
    assert all(0 <= s.start < s.end <= len(text) for s in spans)
    assert all(spans[k].end <= spans[k + 1].start for k in range(len(spans) - 1))
