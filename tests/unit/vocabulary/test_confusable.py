"""The groups of confusable findings are of known findings, and a finding is never confused with a kind of itself."""

from __future__ import annotations

from lgdea.vocabulary import load_vocabulary
from lgdea.vocabulary.confusable import confusable_groups, confusable_with


def test_every_group_confuses_at_least_two_findings_of_the_vocabulary():
    vocabulary = load_vocabulary()
    for name, findings in confusable_groups().items():
        assert len(findings) > 1, name
        assert findings <= set(vocabulary.findings)


def test_being_mistaken_is_mutual_and_never_within_one_lineage():
    vocabulary = load_vocabulary()
    members = frozenset().union(*confusable_groups().values())
    for finding in members:
        others = confusable_with(finding)
        assert not others & (vocabulary.ancestors(finding) | vocabulary.descendants(finding))
        assert all(finding in confusable_with(other) for other in others)


def test_the_groups_that_readers_speak_of():
    assert {"pleural_thickening", "atelectasis"} <= confusable_with("pleural_effusion")
    assert {"nodule", "calcified_granuloma"} <= confusable_with("mass")
    assert confusable_with("scoliosis") == frozenset()
    assert confusable_with("no such finding") == frozenset()
