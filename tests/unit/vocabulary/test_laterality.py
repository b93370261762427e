from hypothesis import given
from hypothesis import strategies as st

from lgdea.vocabulary.laterality import swap, swap_text


def test_swap_keeps_case_and_other_words():
    assert swap_text("Left effusion, RLL opacity; bright, cleft.") == "Right effusion, LLL opacity; bright, cleft."
    assert swap_text("LEFT more than right, dextroscoliosis") == "RIGHT more than left, levoscoliosis"
    assert swap("left") == "right"
    assert swap("bilateral") == "bilateral"


@given(
    st.lists(st.sampled_from(["left", "Right", "LUL", "lungs", "no", "rightward", ",", "Levoscoliosis"]), max_size=12)
)
def test_swapping_twice_gives_the_text_back(words):
    text = " ".join(words)
    assert swap_text(swap_text(text)) == text


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=80))
def test_any_text_survives(text):
    assert swap_text(swap_text(text)).lower() == text.lower()
