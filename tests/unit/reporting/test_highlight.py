from __future__ import annotations

import html
import re

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from lgdea.reporting.highlight import HighlightSpan, highlight

TEXT = "No effusion. Possible nodule."


def strip_tags(markup: str) -> str:
    return re.sub(r"<[^>]*>", "", markup)


def marks(markup: str) -> list[tuple[str, str, str]]:
    """(classes, assertions, text) of every mark."""
    return re.findall(r'<mark class="([^"]*)" data-assertions="([^"]*)"[^>]*>(.*?)</mark>', markup, flags=re.S)


def test_marks_exactly_the_span() -> None:
    page = highlight(TEXT, [HighlightSpan(0, 11, "absent", "pleural effusion: absent")])
    assert marks(page) == [("ev ev-absent ev-start ev-end", "absent", "No effusion")]
    assert page.endswith("</mark>. Possible nodule.")
    assert 'data-tip="pleural effusion: absent"' in page


def test_nested_span_shows_the_inner_one_and_names_both() -> None:
    page = highlight(
        "small left effusion", [HighlightSpan(0, 19, "present", "outer"), HighlightSpan(6, 10, "uncertain", "inner")]
    )
    found = marks(page)
    assert [text for _, _, text in found] == ["small ", "left", " effusion"]
    assert found[1][0].startswith("ev ev-uncertain")
    assert found[1][1] == "uncertain present"
    assert 'data-tip="inner\nouter"' in page


def test_overlapping_spans_are_cut_at_their_borders() -> None:
    page = highlight("abcdefgh", [HighlightSpan(0, 5, "present", "a"), HighlightSpan(3, 8, "absent", "b")])
    assert [(a, text) for _, a, text in marks(page)] == [
        ("present", "abc"),
        ("present absent", "de"),
        ("absent", "fgh"),
    ]


def test_equal_spans_become_one_mark_with_two_lines() -> None:
    page = highlight("edema", [HighlightSpan(0, 5, "present", "one"), HighlightSpan(0, 5, "present", "two")])
    assert len(marks(page)) == 1
    assert 'data-tip="one\ntwo"' in page


def test_text_and_tips_are_escaped() -> None:
    page = highlight("<script>x</script>", [HighlightSpan(0, 8, "present", '"><script>')])
    assert "<script" not in page
    assert html.unescape(strip_tags(page)) == "<script>x</script>"


def test_spans_outside_the_text_are_clipped_or_ignored() -> None:
    page = highlight(
        "abc",
        [
            HighlightSpan(2, 99, "present", "x"),
            HighlightSpan(50, 60, "absent", "y"),
            HighlightSpan(1, 1, "absent", "z"),
        ],
    )
    assert [text for _, _, text in marks(page)] == ["c"]


def test_each_span_is_one_tab_stop() -> None:
    page = highlight("abcdefgh", [HighlightSpan(0, 8, "present", "a"), HighlightSpan(3, 5, "absent", "b")])
    assert page.count('tabindex="0"') == 2


spans = st.builds(
    HighlightSpan,
    start=st.integers(0, 60),
    end=st.integers(0, 60),
    assertion=st.sampled_from(["present", "absent", "uncertain"]),
    tip=st.text(max_size=8),
)


@given(text=st.text(max_size=50), found=st.lists(spans, max_size=8))
def test_stripping_the_tags_gives_the_escaped_text_back(text: str, found: list[HighlightSpan]) -> None:
    page = highlight(text, found)
    assert strip_tags(page) == str(escape(text))


@given(text=st.text(alphabet="abc <>&", min_size=1, max_size=50), found=st.lists(spans, max_size=8))
def test_exactly_the_covered_characters_are_marked(text: str, found: list[HighlightSpan]) -> None:
    covered = {i for s in found for i in range(s.start, s.end) if i < len(text)}
    marked = "".join(html.unescape(t) for _, _, t in marks(highlight(text, found)))
    assert marked == "".join(text[i] for i in sorted(covered))


def test_a_label_stands_where_its_span_ends_and_is_escaped():
    page = highlight(
        "abcdefgh", [HighlightSpan(0, 5, "present", "a", "<one>"), HighlightSpan(3, 8, "absent", "b", "two")]
    )
    labels = re.findall(r'data-label="([^"]*)"[^>]*>(\w+)<', page)
    assert labels == [("&lt;one&gt;", "de"), ("two", "fgh")]


def test_tags_say_in_words_what_the_colours_say():
    spans = [HighlightSpan(0, 5, "present", "edema: present"), HighlightSpan(0, 8, "absent", "a <b>: absent")]
    page = highlight("edema no", spans, tags=True)
    assert '</mark><span class="ev-tag ev-present">edema: present</span>' in page
    assert page.endswith('<span class="ev-tag ev-absent">a &lt;b&gt;: absent</span>')
    assert page.count("ev-tag") == 2
