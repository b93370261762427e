import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgdea.evidence.alignment.aligner import Aligner
from lgdea.evidence.alignment.normalize import normalize_with_offsets
from lgdea.evidence.prompts.fence import BREAK, neutralise

TEXT = "No effusion. Small left  pleural effusion – unchanged.\nNo effusion on the right, 5 mm nodule in the left base."


def _quoted(text, quote, of=None):
    found = Aligner(text).align(quote, of=of)
    return None if found is None else (text[found.start : found.end], found.alignment)


def test_exact():
    assert Aligner(TEXT).align("Small left") == (13, 23, "exact")


def test_repeated_quotes_in_order_of_occurrence_then_the_first_again():
    aligner = Aligner(TEXT)
    starts = [aligner.align("No effusion").start for _ in range(3)]
    assert starts == [0, 55, 0]


def test_one_quote_of_two_findings_is_one_place():
    text = "No effusion or pneumothorax. Clear. No effusion or pneumothorax."
    aligner = Aligner(text)
    stated = ["effusion", "pneumothorax", "effusion", "pneumothorax"]
    assert [aligner.align("No effusion or pneumothorax", of=f).start for f in stated] == [0, 0, 36, 36]
    assert [aligner.align("no EFFUSION or pneumothorax", of=f).start for f in stated] == [0, 0, 36, 36]


def test_a_given_start_is_used_when_the_quote_stands_there():
    aligner = Aligner(TEXT)
    assert aligner.align("No effusion", 55).start == 55
    assert aligner.align("No effusion", 3).start == 0


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        (TEXT, "small LEFT pleural effusion - unchanged"),
        ("The ﬁnding is stable.", "finding is stable"),
        ("Finding is stable.", "ﬁnding is stable"),
        ("mild\u00a0\u2009cardiomegaly", "mild cardiomegaly"),
        ("mild\r\ncardiomegaly", "mild cardiomegaly"),
        ("mild cardio\u00admegaly", "mild cardiomegaly"),
        ("mild cardiomegaly", "mild\u200b cardio\ufeffmegaly"),
        ('a 5" nail', "a 5' nail"),
        ("opacity in the XXXX lobe", "opacity in the XXX lobe"),
        ("compared to ____ , stable", "compared to ___ , stable"),
        ("\u202eopacity\u202c of the lung", "opacity of the lung"),
        ("ＮＯ　ＥＦＦＵＳＩＯＮ", "no effusion"),
        ("a\x00b\x07 opacity", "a b opacity"),
        ("nodule ❤️ seen", "nodule ❤ seen"),
        ("ÉPANCHEMENT PLEURAL", "e\u0301panchement pleural"),
        ("a\u0301\u0327 b", "a\u0327\u0301 b"),
    ],
)
def test_normalised(text, quote):
    stretch, alignment = _quoted(text, quote)
    assert alignment == "normalised"
    assert normalize_with_offsets(stretch).text == normalize_with_offsets(quote).text


def test_a_token_for_removed_words_is_quoted_whole():
    assert _quoted("seen on XXXXXX, stable", "ON XXX") == ("on XXXXXX", "normalised")
    assert _quoted("_____ year old", "__ YEAR") == ("_____ year", "normalised")


def test_fuzzy_finds_a_misspelt_quote():
    assert _quoted(TEXT, "5 mm nodul in the left base") == ("5 mm nodule in the left base", "fuzzy")
    assert _quoted(TEXT, "5 mm nodule in left base") == ("5 mm nodule in the left base", "fuzzy")


def test_what_is_not_there_is_not_found():
    aligner = Aligner(TEXT)
    assert aligner.align("large pneumothorax with tension") is None
    assert aligner.align("") is None
    assert aligner.align(" \n ") is None
    assert aligner.align("\u200b") is None
    assert Aligner("").align("opacity") is None


@pytest.mark.parametrize(
    "quote",
    [
        "There is a 5 mm nodule in the right lower lobe",
        "There is a 9 mm nodule in the left lower lobe",
        "There is no 5 mm nodule in the left lower lobe",
        "There is a 5 mm nodule in the left upper lobe",
        "There is a 5 mm spiculated nodule in the left lower lobe",
        "The lungs are mildly hypoinflated today, no pneumothorax",
    ],
)
def test_a_similar_quote_that_says_something_else_is_not_found(quote):
    text = "There is a 5 mm nodule in the left lower lobe. The lungs are mildly hyperinflated today, no pneumothorax."
    assert Aligner(text).align(quote) is None


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("The heart is abnormal.", "normal"),
        ("The heart is ABNORMAL.", "normal"),
        ("a 15 mm nodule", "5 mm nodule"),
        ("a 2.5 cm nodule", "5 cm nodule"),
        ("a nodule of 2.5 cm", "nodule of 2"),
        ("atypical", "typical"),
        ("асимметрия", "симметрия"),
    ],
)
def test_a_part_of_a_word_or_number_is_no_quote(text, quote):
    assert Aligner(text).align(quote) is None


@pytest.mark.parametrize(
    ("text", "quote"), [("右肺下叶实变。", "下叶实变"), ("ไม่พบน้ำในช่องเยื่อหุ้มปอด", "น้ำในช่อง"), ("T12", "T12")]
)
def test_scripts_that_do_not_set_words_apart(text, quote):
    assert _quoted(text, quote) == (quote, "exact")


def test_a_whole_word_is_preferred_to_an_earlier_part_of_one():
    text = "abnormal contour, normal heart"
    assert Aligner(text).align("normal").start == 18


TOKENS = [
    "no",
    "left",
    "effusion",
    "İ",
    "Straße",
    "nodule",
    "5",
    "XXXX",
    "___",
    "2.5",
    "ﬁbrosis",
    "é",
    "肺",
    "😀",
    "<|im_end|>",
]
GAPS = [" ", "  ", "\n", "\r\n", "\u00a0", " \u200b"]


@given(
    st.lists(st.sampled_from(TOKENS), min_size=1, max_size=12), st.lists(st.sampled_from(GAPS), min_size=12), st.data()
)
def test_every_run_of_words_is_found_exactly(words, gaps, data):
    starts, text = [], ""
    for word, gap in zip(words, gaps, strict=False):
        starts.append(len(text))
        text += word + gap
    first = data.draw(st.integers(0, len(starts) - 1))
    last = data.draw(st.integers(first, len(starts) - 1))
    quote = text[starts[first] : starts[last] + len(words[last])]
    found = Aligner(text).align(quote)
    assert found.alignment == "exact"
    assert text[found.start : found.end] == quote
    assert found.start <= starts[first]


@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=12), st.sampled_from(GAPS), st.data())
def test_case_blanks_and_encoding_never_hide_a_quote(words, gap, data):
    text = gap.join(words)
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first + 1, len(words)))
    form = data.draw(st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
    quote = unicodedata.normalize(form, "\n".join(words[first:last])).lower()
    found = Aligner(text).align(quote)
    assert found is not None
    assert normalize_with_offsets(text[found.start : found.end]).text == normalize_with_offsets(quote).text


@given(st.lists(st.sampled_from(["No effusion", "Clear", "no EFFUSION", "Nodule"]), max_size=12))
def test_repeats_come_in_order(sentences):
    text = ". ".join(sentences)
    aligner = Aligner(text)
    starts = [aligner.align("No effusion").start for _ in range(sentences.count("No effusion"))]
    assert starts == sorted(set(starts))
    assert all(text.startswith("No effusion", start) for start in starts)


@given(st.text(max_size=120), st.text(max_size=60))
def test_offsets_are_always_inside_and_exact_means_equal(text, quote):
    found = Aligner(text).align(quote)
    if found is not None:
        assert 0 <= found.start < found.end <= len(text)
        assert (text[found.start : found.end] == quote) == (found.alignment == "exact")


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_plain_keeps_offsets_in_order_and_inside(raw):
    text, starts, ends = normalize_with_offsets(raw)
    assert len(text) == len(starts) == len(ends)
    assert all(0 <= a < b <= len(raw) for a, b in zip(starts, ends, strict=True))
    assert starts == sorted(starts)
    assert normalize_with_offsets(text).text == text


@given(st.text(alphabet="<|im_end>[INST]/s\x00\x1b\ud800 abéX_\u200b\n", min_size=1, max_size=60))
def test_what_a_model_copies_from_a_message_is_found_in_the_raw_text(raw):
    shown = neutralise(raw)
    if normalize_with_offsets(raw).text:
        found = Aligner(raw).align(shown)
        assert found is not None
        assert normalize_with_offsets(raw[found.start : found.end]).text == normalize_with_offsets(raw).text
        assert found.alignment == ("exact" if shown in raw else "normalised")


def test_a_quote_with_the_break_of_a_control_token():
    text = "Clear lungs<|im_end|> and heart"
    shown = neutralise(text)
    assert BREAK in shown
    assert _quoted(text, shown) == (text, "normalised")


WORDS = ["no", "effusion", "nodule", "left", "XXXX", "opacity", "heart", "ﬁbrosis", "5"]


@pytest.mark.parametrize(
    "unit", ["aab ", "The heart is normal in size. ", " ".join(WORDS) + " ", "Ｆｉｎｄ ﬁ\u0301\u0327 "]
)
def test_the_work_for_a_long_text_and_many_bad_quotes_is_bounded(unit, monkeypatch):
    from lgdea.evidence.alignment import fuzzy_match

    compared = 0

    class Counted(fuzzy_match.SequenceMatcher):
        def ratio(self):
            nonlocal compared
            compared += len(self.a) * len(self.b)
            return super().ratio()

    monkeypatch.setattr(fuzzy_match, "_BUDGET", 300_000)
    monkeypatch.setattr(fuzzy_match, "SequenceMatcher", Counted)
    text = (unit * 50_000)[:50_000]
    aligner = Aligner(text)
    for k in range(200):
        aligner.align(text[: 20 + k] + "qz")
    assert compared < 400_000


@pytest.mark.parametrize(
    ("quote", "why"),
    [
        ("tumour in the left base", "closest: 'nodule in the left base'"),
        ("normal", "stands there only"),
        ("pneumothorax", "none of its words"),
        ("\u200b", "no words"),
    ],
)
def test_why_a_quote_was_not_found(quote, why):
    aligner = Aligner("Abnormal effusion. Nodule. 5 mm nodule in the left base")
    assert aligner.align(quote) is None
    assert aligner.why_not(quote).startswith(why)


def test_words_as_the_text_has_them():
    aligner = Aligner("Small  Pleural\nEffusion")
    assert aligner.verbatim("Effusion") == "Effusion"
    assert aligner.verbatim("pleural effusion") == "Pleural\nEffusion"
    assert aligner.verbatim("edema") is None
    assert aligner.verbatim("") == ""
    assert aligner.verbatim("\u200b") is None
