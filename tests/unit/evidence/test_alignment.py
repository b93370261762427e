from hypothesis import given
from hypothesis import strategies as st

from lgdea.evidence.alignment import Aligner

TEXT = "No effusion. Small left  pleural effusion – unchanged.\nNo effusion on the right, 5 mm nodule in the left base."


def test_exact():
    assert Aligner(TEXT).align("Small left") == (13, 23, "exact")


def test_repeated_quotes_in_order_of_occurrence_then_the_first_again():
    aligner = Aligner(TEXT)
    starts = [aligner.align("No effusion").start for _ in range(3)]
    assert starts == [0, 55, 0]


def test_a_given_start_is_used_when_the_quote_stands_there():
    aligner = Aligner(TEXT)
    assert aligner.align("No effusion", 55).start == 55
    assert aligner.align("No effusion", 3).start == 0


def test_normalised_case_blanks_and_dashes():
    start, end, alignment = Aligner(TEXT).align("small LEFT pleural effusion - unchanged")
    assert alignment == "normalised"
    assert TEXT[start:end] == "Small left  pleural effusion – unchanged"


def test_fuzzy_finds_a_misspelt_quote():
    start, end, alignment = Aligner(TEXT).align("5 mm nodul in the left base")
    assert alignment == "fuzzy"
    assert TEXT[start:end] == "5 mm nodule in the left base"


def test_what_is_not_there_is_not_found():
    aligner = Aligner(TEXT)
    assert aligner.align("large pneumothorax with tension") is None
    assert aligner.align("") is None
    assert aligner.align(" \n ") is None


def test_a_similar_quote_with_another_side_negation_or_number_is_not_found():
    aligner = Aligner("There is a 5 mm nodule in the left lower lobe, no pneumothorax.")
    assert aligner.align("There is a 5 mm nodule in the right lower lobe") is None
    assert aligner.align("There is a 9 mm nodule in the left lower lobe") is None
    assert aligner.align("There is no 5 mm nodule in the left lower lobe") is None


@given(st.text(min_size=1, max_size=200), st.data())
def test_every_stretch_of_a_text_is_found_exactly(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    quote = text[start:end]
    found = Aligner(text).align(quote)
    if quote.strip():
        assert found is not None
        assert found.alignment == "exact"
        assert text[found.start : found.end] == quote
        assert found.start <= start


@given(
    st.lists(st.sampled_from(["no", "left", "effusion", "İ", "Straße", "nodule", "5"]), min_size=1, max_size=12),
    st.data(),
)
def test_case_and_blanks_never_hide_a_quote(words, data):
    text = "  ".join(words)
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first + 1, len(words)))
    found = Aligner(text).align("\n".join(words[first:last]).lower())
    assert found is not None
    assert text[found.start : found.end].lower().split() == [w.lower() for w in words[first:last]]


@given(st.text(max_size=120), st.text(max_size=60))
def test_offsets_are_always_inside(text, quote):
    found = Aligner(text).align(quote)
    if found is not None:
        assert 0 <= found.start < found.end <= len(text)
        if found.alignment == "exact":
            assert text[found.start : found.end] == quote


def test_a_long_report_is_fast_enough():
    text = "The heart is normal in size. " * 1700
    found = Aligner(text).align("the haert is nomal in size")
    assert found is not None
    assert text[found.start : found.end] == "The heart is normal in size"
