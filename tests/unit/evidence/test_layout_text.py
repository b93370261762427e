"""Line ends, list marks, dashes, markup and escapes; and what holds for any text."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgdea.evidence.layout import EVIDENCE_SECTIONS, PASSED_SECTIONS, evidence_sentences, lay_out, split_sentences
from lgdea.evidence.layout.markup import flatten
from lgdea.evidence.rules.reader import read_report

THREE = {("pneumothorax", "absent"), ("pleural_effusion", "present"), ("cardiomegaly", "present")}


def _sentences(text: str) -> list[str]:
    plain = lay_out(text).plain
    return [" ".join(plain[a:b].split()) for a, b in split_sentences(text)]


@pytest.mark.parametrize(
    "separator",
    [
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\u2028",
        "\u2029",
        "\x85",
        "\x0c",
        "\x0b",
        "\\n",
        "\\r\\n",
        "\\\\n",
        "\n- ",
        "\n* ",
        "\n• ",
        " • ",
        "•",
        " - ",
        " – ",
        " — ",
        "—",
        " -- ",
        "--",
        " | ",
        "|",
        "\t",
        "    ",
        "~",
        "<br>",
        "<br/>",
        "<BR />",
        "</p><p>",
        "</li><li>",
        "<hr>",
        "\\.br\\",
        "\\E\\.br\\E\\",
        "_x000D_\n",
        "%0A",
        "[newline]",
        "\x00",
        "\x1f",
        " -> ",
        " => ",
        "  ",
        "\\.sp\\",
        "\\X0A\\",
        "\\X0D0A\\",
        "\\par ",
        "\\line ",
        "&#10;<br>",
        ". ",
        ".",
        "; ",
        "\n_____\n",
        "\n. ",
        " ¶ ",
    ],
)
def test_statements_are_apart_whatever_separates_them(separator):
    text = separator.join(["No pneumothorax", "Left pleural effusion", "Cardiomegaly"])
    assert {(item.finding, item.assertion) for item in read_report(text)} == THREE
    assert {(item.finding, item.assertion) for item in read_report(f"FINDINGS: {text}")} == THREE
    sides = {item.finding: item.laterality for item in read_report(text)}
    assert sides["cardiomegaly"] == sides["pneumothorax"] == "unspecified"


@pytest.mark.parametrize("mark", ["{})", "({})", "{}.", "{}-", "{}:"])
@pytest.mark.parametrize("gap", ["\n", " "])
def test_numbered_statements(mark, gap):
    if gap == " " and mark[-1] in "-:":
        pytest.skip("in one line a number with a dash or a colon may be anything")
    items = ["No pneumothorax", "Left pleural effusion", "Cardiomegaly"]
    text = gap.join(f"{mark.format(number)} {item}" for number, item in enumerate(items, start=1))
    assert _sentences(text) == items
    lettered = gap.join(f"{letter}) {item}" for letter, item in zip("abc", items, strict=True))
    assert _sentences(lettered) == items


def test_marks_of_items_in_one_line():
    items = ["No pneumothorax", "Left pleural effusion", "Cardiomegaly"]
    for marks in (
        ("i)", "ii)", "iii)"),
        ("[1]", "[2]", "[3]"),
        ("#1", "#2", "#3"),
        "①②③",
        "•••",
        ("(a)", "(b)", "(c)"),
    ):
        text = " ".join(f"{mark} {item}" for mark, item in zip(marks, items, strict=True))
        assert {(item.finding, item.assertion) for item in read_report(text)} == THREE, text


def test_statements_in_small_letters():
    for text in (
        "no pneumothorax\nleft pleural effusion\ncardiomegaly",
        "no pneumothorax.left pleural effusion.cardiomegaly",
    ):
        assert {(item.finding, item.assertion) for item in read_report(text)} == THREE


def test_wrapped_lines_stay_one_sentence():
    for text in (
        "There is no evidence of a focal consolidation, a large pleural\neffusion or a pneumothorax today.",
        "THERE IS NO EVIDENCE OF A FOCAL CONSOLIDATION, OF ANY LARGE PLEURAL\nEFFUSION OR OF PNEUMOTHORAX TODAY.",
        "there is no evidence of a focal consolidation, of a large pleural\neffusion or of pneumothorax today.",
        "No pleural\neffusion seen.",
        "No effusion or\nPneumothorax.",
        "The appearances are most in keeping with long standing and severe\nCOPD, as before.",
        "Pneumothorax:\nnone",
        "Discussed with Dr.\nJones of the ward.",
        "The tip of the tube lies 5\ncm above the carina.",
    ):
        assert len(_sentences(text)) == 1, text


def test_what_looks_like_an_end_but_is_none():
    for text in (
        "Nodule of 5.2 cm in segment 3.",
        "Opacity, e.g. pneumonia vs. atelectasis.",
        "Discussed with Dr. T. Smith today.",
        "See image No. 3 of the series.",
        "Rt. lung nodule, approx. 4 mm.",
        "Right-sided effusion - new.",
        "Left effusion - small",
        "Lungs - clear",
        "Sent at 9:30 a.m. to the ward.",
        "See https://example.org/a.b for more.",
        "Right upper-lobe mass (3 cm)",
    ):
        assert len(_sentences(text)) == 1, text


def test_ends_without_blanks():
    assert _sentences("Small effusion.No oedema.the heart is big.2 nodules.") == [
        "Small effusion.",
        "No oedema.",
        "the heart is big.",
        "2 nodules.",
    ]


def test_a_label_and_its_value_on_lines_of_their_own():
    for text in (
        "Pneumothorax\n  None\nLeft pleural effusion\n  Yes\nHeart\n  Enlarged",
        "LUNGS\nNo pneumothorax\nPLEURA\nLeft pleural effusion\nHeart\nEnlarged.",
    ):
        assert {(item.finding, item.assertion) for item in read_report(text)} == THREE, text


def test_check_boxes_belong_to_one_item():
    assert _sentences("[ ] Pneumothorax [x] Effusion") == ["[ ] Pneumothorax", "[x] Effusion"]
    assert _sentences("Effusion [x] left Pneumothorax [ ]") == ["Effusion [x] left", "Pneumothorax [ ]"]
    assert _sentences("Effusion ..... none\nOedema .... mild") == ["Effusion: none", "Oedema: mild"]
    assert _sentences("Pneumothorax [ ] Effusion [x]") == ["Pneumothorax [ ]", "Effusion [x]"]


def test_rtf():
    text = (
        r"{\rtf1\ansi{\fonttbl{\f0\fnil Arial;}}{\*\generator Fracture 5;}\f0\fs20\b INDICATION:\b0  Pneumonia.\par"
        r"\b FINDINGS:\b0\par No pneumothorax\par Left pleural effusion \'96 small\par Cardiomegaly}"
    )
    assert {(item.finding, item.assertion) for item in read_report(text)} == THREE


def test_hl7():
    text = (
        "MSH|^~\\&|RAD|X\rPID|1||Fracture^John\rOBR|1||CT PNEUMONIA\rOBX|1|TX|1^INDICATION^L||Pneumonia||F\r"
        "OBX|2|TX|2^FINDINGS^L||No pneumothorax~Left pleural effusion\\.br\\Cardiomegaly||||F"
    )
    assert {(item.finding, item.assertion) for item in read_report(text)} == THREE


def test_xml_json_and_tables():
    for text in (
        '<AbstractText Label="INDICATION">Pneumonia</AbstractText>'
        '<AbstractText Label="FINDINGS">No pneumothorax</AbstractText>'
        '<AbstractText Label="IMPRESSION">Left pleural effusion.<br/>Cardiomegaly</AbstractText>',
        "<HISTORY>Pneumonia</HISTORY><FINDINGS>No pneumothorax</FINDINGS>"
        "<IMPRESSION>Left pleural effusion.\nCardiomegaly"
        "</IMPRESSION>",
        '{"indication": "Pneumonia", "findings": "No pneumothorax.\\nLeft pleural effusion.", '
        '"impression": "Cardiomegaly"}',
        "<style>p.fracture {}</style><!-- fracture --><p>No pneumothorax</p>"
        "<ul><li>Left&nbsp;pleural effusion<li>Cardiomegaly</ul>",
        "Pneumothorax\tNo\nLeft pleural effusion\tYes\nCardiomegaly\tYes",
        "<table><tr><td>Pneumothorax</td><td>No</td></tr>"
        "<tr><td>Left pleural effusion</td><td>Yes</td></tr></table>Cardiomegaly",
    ):
        assert {(item.finding, item.assertion) for item in read_report(text)} == THREE, lay_out(text)


def test_ligatures_and_characters_that_are_spelt():
    found = {item.finding for item in read_report("ﬁbrosis. Small eﬀusion. &#80;neumothorax.")}
    assert {"fibrosis", "pleural_effusion"} <= found


# -- for any text -----------------------------------------------------------------------------------------------------

_STATEMENTS = [
    "No pneumothorax",
    "Small left pleural effusion",
    "cardiomegaly",
    "The heart is enlarged.",
    "No effusion.",
    "Clear lungs.",
    "Old rib fractures",
    "pneumonia?",
    "12 mm nodule",
    "SMALL RIGHT EFFUSION",
    "Known COPD.",
    "62-year-old man",
    "None.",
    "CT CHEST PE PROTOCOL",
    "PA and lateral views of the chest.",
    "Signed by Dr. Who",
    "Comparison is made to 3/4/2011.",
]
_HEADS = [
    "",
    "FINDINGS: ",
    "Impression: ",
    "INDICATION: ",
    "Comparison: ",
    "LUNGS: ",
    "Xyz: ",
    "PLAN\n",
    "**History**\n",
    "WET READ: ",
    "DIAGNOSIS: ",
    "EXAM: ",
    "- ",
    "1. ",
    "Technique - ",
]
_PIECES = st.tuples(
    st.sampled_from(_HEADS), st.sampled_from(_STATEMENTS), st.sampled_from(["\n", "\n\n", " ", "\r\n", "<br>", ". "])
)
REPORTS = st.lists(_PIECES, min_size=1, max_size=8).map(
    lambda pieces: "".join("".join(piece) for piece in pieces).strip()
)
ANY_TEXT = st.one_of(
    REPORTS,
    st.text(max_size=200),
    st.text(alphabet="FINDGS IMPRESO:.\nab<>/&;\\|{}~\r\t-*#[]", max_size=200),
)


@given(ANY_TEXT)
@settings(deadline=None)
def test_every_character_is_read_or_passed_over_for_a_reason(text):
    spans = lay_out(text).spans()
    assert "".join(text[span.start : span.end] for span in spans) == text
    assert all(span.start < span.end for span in spans)
    assert all(a.end == b.start for a, b in pairwise(spans))
    known = {None, "heading", "markup", *PASSED_SECTIONS}
    assert {span.reason for span in spans} <= known
    assert all(span.reason is not None or span.section in EVIDENCE_SECTIONS for span in spans)


@given(ANY_TEXT)
@settings(deadline=None)
def test_the_sentences_hold_every_word_that_is_read(text):
    layout = lay_out(text)
    held = set()
    for start, end in evidence_sentences(text):
        assert start < end
        assert not held & set(range(start, end))
        held |= set(range(start, end))
    read = {at for span in layout.spans() if span.reason is None for at in range(span.start, span.end)}
    lost = {at for at in read - held if layout.plain[at].isalpha()}
    # A list mark may be a letter: "a) effusion", "o Effusion".
    assert all(
        not layout.plain[at + 1 : at + 2].isalpha()
        for at in lost
        if layout.plain[at : at + 2].strip("abcdefghivoABCDEFGH")
    )
    assert held <= read | {at for at in held if text[at] != layout.plain[at]}


def _units(text: str, shift: int = 0) -> set[tuple[object, ...]]:
    """Without ``no_finding``, which speaks of the whole report, and the section, which the heading gives."""
    return {
        (item.start - shift, item.end - shift, item.finding, item.assertion, item.laterality, item.anatomy, item.change)
        for item in read_report(text)
        if item.finding != "no_finding"
    }


@given(REPORTS)
@settings(max_examples=300, deadline=None)
def test_a_heading_before_a_report_loses_nothing(text):
    # On the line itself a heading can make it as wide as wrapped ones are, so that it looks wrapped.
    for heading in ("FINDINGS:\n", "FINDINGS: ") if len(text.split("\n")[0]) < 15 else ("FINDINGS:\n",):
        with_heading = _units(heading + text, len(heading))
        assert _units(text) <= with_heading, text


@given(
    REPORTS, st.sampled_from(["FINDINGS: Large right pneumothorax.", "FINDINGS:\nClear lungs.\n\nIMPRESSION: Normal."])
)
@settings(max_examples=300, deadline=None)
def test_a_report_behind_another_changes_nothing(text, other):
    """What ``no_finding`` says depends on the whole text and is left out; all other units stay as they are."""
    both = _units(f"{text}\n\n{other}")
    assert _units(text) == {unit for unit in both if unit[1] <= len(text)}


@given(st.text(max_size=300))
def test_markup_keeps_every_offset(text):
    assert len(flatten(text)) == len(text)


@pytest.mark.parametrize(
    "piece",
    [
        "No effusion. ",
        "Lungs\nno\n",
        "left, ",
        "FINDINGS: small effusion ",
        "a",
        " ",
        "\n",
        "<",
        "<a ",
        "<!--",
        "&",
        "\\",
        "\\X0A",
        "- ",
        "1) ",
        "a: ",
        "A:",
        "((((",
        "|",
        "\t",
        "~",
        "**",
        "Xyz: no\n",
        "INDICATION: cough\n\n",
        "[ ] ",
        "{\\rtf",
        "=",
        "no effusion\n",
        "....",
        "Known effusion\n\n",
        "OBX|",
        "CT ",
        "—",
        "//",
        ">>",
        "   ",
        " . ",
        " \t|",
        "a   ",
        "a.. b\n",
        "left\n",
        "Right | Left\n",
        "x | no | small\n",
        '"a": 1, ',
        '","',
        "10 a\n",
        "L: clear. ",
    ],
)
def test_long_texts_take_linear_time(piece):
    text = piece * (200_000 // len(piece))
    began = time.process_time()
    evidence_sentences(text)
    lay_out(text).spans()
    assert time.process_time() - began < 8
