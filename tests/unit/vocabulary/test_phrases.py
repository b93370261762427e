from lgdea.vocabulary import load_vocabulary
from lgdea.vocabulary.phrases import canonical_phrase, class_texts


def test_canonical_phrases():
    assert canonical_phrase("pleural_effusion", "pleura", "left", "moderate") == "moderate left pleural effusion"
    assert canonical_phrase("cardiomegaly", "heart", "midline", "mild") == "mild cardiomegaly"
    assert canonical_phrase("opacity", "lung_base", "right") == "right lung opacity in the lung base"
    assert canonical_phrase("atelectasis", "left_lower_lobe", "left") == "atelectasis in the left lower lobe"
    assert canonical_phrase("no_finding") == "no finding"
    assert canonical_phrase("unheard_of_thing") == "unheard of thing"


def test_left_and_right_differ_for_every_finding():
    for key, finding in load_vocabulary().findings.items():
        if finding.kind != "normality":
            assert canonical_phrase(key, None, "left") != canonical_phrase(key, None, "right")


def test_class_texts_are_pairs_of_claim_and_denial():
    for key in load_vocabulary().findings:
        positive, negative = class_texts(key)
        assert len(positive) == len(negative) > 0
        assert not set(positive) & set(negative)
    assert class_texts("edema")[0][0] == "pulmonary edema"
    assert class_texts("edema")[1][0] == "no pulmonary edema"
