"""The pattern language of cues, and the phrases that ``cues.yaml`` finds with it."""

import pytest

from lgdea.evidence.rules.cue_patterns import Alphabet, compile_once, compile_patterns
from lgdea.evidence.rules.cues import build_cues, load_cues
from lgdea.evidence.rules.lexicon import load_lexicon
from lgdea.evidence.rules.tokens import tokenise

CLASSES = {"closed": ["and", "of"], "seen": ["seen", "in evidence"], "board": ["board"]}


def _matched(pattern, text):
    alphabet, words = Alphabet(CLASSES["closed"]), text.split()
    (compiled,) = compile_patterns([pattern], CLASSES, alphabet)
    match = compile_once(compiled.source).match(alphabet.encode(words))
    return " ".join(words[: match.end()]) if match else None


@pytest.mark.parametrize(
    ("pattern", "text", "matched"),
    [
        ("not ~* <seen>", "not at all clearly seen today ", "not at all clearly seen"),
        ("not ~* <seen>", "not quite in evidence ", "not quite in evidence"),
        ("not ~* <seen>", "not well and seen ", None),  # "and" is no word between
        ("not ~* <seen>", "not # seen ", None),  # nor is a finding
        ("no longer (be | been)? <seen>", "no longer been seen ", "no longer been seen"),
        ("query #", "query # ", "query"),
        ("query #", "query this ", None),
        ("may @", "may 2020 there ", "may 2020"),
        ("no !<board>", "no board ", None),
        ("= no $", "= no ", "= no"),
        ("= no $", "= no , ", "= no"),
        ("= no $", "= no large # ", None),
        ("= no $", "= no # = yes ", "= no"),  # the next entry begins
        ("may ~ be", "may perhaps be ", "may perhaps be"),
        ("may ~ be", "may 2020 be ", None),
        ("may ~ be", "may t12 be ", "may t12 be"),
        ("= 0", "= 0 ", "= 0"),  # a number of its own is a number still
        ("may @ seen", "may 0 seen ", "may 0 seen"),
    ],
)
def test_patterns(pattern, text, matched):
    assert _matched(pattern, text) == matched


@pytest.mark.parametrize("pattern", ["(a", "a )", "<seen>?", ""])
def test_a_pattern_that_cannot_be_read_is_refused(pattern):
    with pytest.raises(ValueError, match="cannot be read"):
        compile_patterns([pattern], CLASSES, Alphabet(CLASSES["closed"]))


def test_the_longest_cue_stands_and_none_reaches_over_a_finding():
    grammar = build_cues({"classes": CLASSES, "negated": {"forward": ["not"], "backward": ["not ~* <seen>"]}})
    assert [hit.tags for hit in grammar.find(["not", "now", "seen"], set())] == [{"negated": "backward"}]
    assert [hit.tags for hit in grammar.find(["not", "effusion", "seen"], {1})] == [{"negated": "forward"}]


def _cues(text):
    tokens = tokenise(text)
    named = {k for h in load_lexicon().match(tokens) if {"finding", "place"} & h.tags.keys() for k in range(h.i, h.j)}
    return {
        " ".join(text[tokens[h.i].start : tokens[h.j - 1].end].split()): dict(h.tags)
        for h in load_cues().find([t.lemma for t in tokens], named)
    }


@pytest.mark.parametrize(
    ("text", "phrase", "tags"),
    [
        ("Pneumothorax is not confidently identified", "not confidently identified", {"negated": "backward"}),
        ("The base is not very well seen", "not very well seen", {"pseudo": "forward"}),
        ("It does not entirely exclude a nodule", "does not entirely exclude", {"uncertain": "either"}),
        ("Nodule cannot with certainty be excluded", "cannot", None),
        ("The effusion has not yet fully resolved", "not yet fully resolved", {"change": "better"}),
        ("Edema has since cleared", "has since cleared", {"resolved": "backward"}),
        ("No definite interval change in the nodule", "No definite interval change in", {"change": "stable"}),
        ("Compared with 4 May there is a nodule", "4 May", {"pseudo": "forward"}),
        ("Segment 6 may represent a nodule", "may", {"uncertain": "forward"}),
        ("The heart isn't large", "n't", {"negated": "forward"}),
        ("Consolidation (-)", "(-)", {"negated": "backward"}),
        ("Non-specific opacity", "Non", None),
    ],
)
def test_cues_of_a_sentence(text, phrase, tags):
    assert _cues(text).get(phrase) == tags
