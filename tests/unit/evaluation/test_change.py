"""Interval change on a phantom: who knows the truth scores 1, who guesses is at chance, and bad input is one line."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from lgdea.comparison.change.states import STATES, drawn_change, drawn_findings
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.metrics.change import balanced_accuracies, balanced_accuracy, swap_agreement
from lgdea.evaluation.results.result import read_result, write_result
from lgdea.evaluation.tasks import change
from lgdea.imaging.read import read_image
from lgdea.phantom import generate


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return generate(
        tmp_path_factory.mktemp("phantom"), studies=150, size=64, seed=5, revisits=0.75, masks=False, workers=1
    )


class Reader:
    """Knows the study of an image by its pixels; ``answers`` makes states of what was drawn into both."""

    name = "reader"

    def __init__(self, archive, answers):
        self.answers = answers
        drawn = drawn_findings(archive)
        self.drawn = {
            np.asarray(read_image(archive.image_path(row)).pixels).tobytes(): drawn.get(row["study_id"], {})
            for _, row in archive.images.iterrows()
        }

    def read_changes(self, prior, current, findings):
        result = np.zeros((len(prior), len(findings), len(STATES)))
        for i, (a, b) in enumerate(zip(prior, current, strict=True)):
            states = self.answers(self.drawn[a.tobytes()], self.drawn[b.tobytes()])
            for j, finding in enumerate(findings):
                result[i, j, STATES.index(states.get(finding, "stable"))] = 1
        return result


def test_an_oracle_scores_one_in_all_ways(phantom, tmp_path):
    result = change(Reader(phantom, drawn_change), phantom, split="all", bootstrap_replicates=20, min_items=2)
    for name in ("balanced_accuracy", "balanced_accuracy_macro", "swap_consistency", "swap_flipped", "set_accuracy"):
        assert result.metrics[name].value == 1.0, name
    assert result.metrics["balanced_accuracy_chance"].value == 0.2
    assert set(result.items["state"]) == set(STATES)
    assert {"rule", "days", "nth"} <= set(result.items)
    assert (result.items["days"] > 0).all()
    back = read_result(write_result(result, tmp_path))
    assert back.metrics == result.metrics
    assert back.n_ids == result.items["pair_id"].nunique()


def test_a_macro_mean_of_no_finding_is_told(phantom):
    result = change(Reader(phantom, drawn_change), phantom, split="all", bootstrap_replicates=0, min_items=10_000)
    assert np.isnan(result.metrics["balanced_accuracy_macro"].value)
    note = "balanced_accuracy_macro is not defined: no finding has two states of at least 10000 items each (min_items)"
    assert note in result.notes


def test_guesses_are_at_chance(phantom):
    rng = np.random.default_rng(0)

    def guess(before, now):
        return {finding: STATES[rng.integers(5)] for finding in {*before, *now}}

    result = change(Reader(phantom, guess), phantom, split="all", bootstrap_replicates=200)
    value = result.metrics["balanced_accuracy"]
    assert value.low < 0.2 < value.high
    assert result.metrics["swap_consistency"].value < 0.4


def test_a_reader_that_ignores_the_order_fails_the_swap_test(phantom):
    result = change(Reader(phantom, lambda a, b: dict.fromkeys([*a, *b], "worse")), phantom, split="all", seed=1)
    assert result.metrics["swap_consistency"].value == result.metrics["swap_flipped"].value == 0
    assert result.metrics["set_accuracy"].value == 0


def test_always_stable_is_consistent_but_never_flips(phantom):
    result = change(Reader(phantom, lambda a, b: {}), phantom, split="all")
    assert result.metrics["balanced_accuracy"].value == result.metrics["balanced_accuracy_chance"].value == 0.2
    assert result.metrics["swap_consistency"].value == 1
    assert np.isnan(result.metrics["swap_flipped"].value)


def test_three_states(phantom):
    result = change(Reader(phantom, drawn_change), phantom, split="all", states=3)
    assert result.metrics["balanced_accuracy"].value == result.metrics["set_accuracy"].value == 1
    assert set(result.items["answer"]) == {"worse", "stable", "better"}


class Presence:
    """Scores a finding by its drawn severity: the difference of scores then knows the truth."""

    name, scoring = "presence", "presence"

    def __init__(self, archive):
        self.drawn = Reader(archive, drawn_change).drawn

    def encode_images(self, images):
        return np.ones((len(images), 2))

    def encode_texts(self, texts):
        return np.ones((len(texts), 2))

    def heat_maps(self, image, phrases):
        return [image for _ in phrases]

    def score_phrases(self, images, phrases):
        from lgdea.vocabulary.phrases import canonical_phrase

        names = [{canonical_phrase(f): s for f, (_, s) in self.drawn[x.tobytes()].items()} for x in images]
        return np.array([[0.3 + 0.6 * found[p] if p in found else 0.05 for p in phrases] for found in names])


def test_a_model_without_a_change_head_answers_by_the_difference_of_its_scores(phantom):
    result = change(Presence(phantom), phantom, split="train")
    value = result.metrics["balanced_accuracy"].value
    assert value == result.metrics["balanced_accuracy_difference"].value
    assert value >= 0.6  # a few validation pairs choose both thresholds
    assert result.metrics["swap_consistency"].value == 1


def test_without_a_split_to_choose_thresholds_on_a_note_says_so(phantom):
    result = change(Presence(phantom), phantom, split="all")
    assert any("no truth to choose thresholds on" in note for note in result.notes)


def test_bad_input_is_one_clear_line(phantom):
    reader = Reader(phantom, drawn_change)
    one_each = phantom.studies.drop_duplicates("patient_id")
    with pytest.raises(
        DataError, match=r"no study of the all split has a prior, e.g. .*the patient has no other study"
    ):
        change(reader, phantom.with_tables(studies=one_each), split="all")
    with pytest.raises(DataError, match=r"no study of the all split has a prior, e.g. .*its date is not known"):
        change(reader, phantom.with_tables(studies=phantom.studies.assign(day=None)), split="all")
    with pytest.raises(
        DataError, match=r"no study of the all split has a prior, e.g. .*the same date and no different time"
    ):
        change(reader, phantom.with_tables(studies=phantom.studies.assign(day=7)), split="all")
    with pytest.raises(DataError, match="the pairs hold no state of hydropneumothorax, nothing to tell apart"):
        change(reader, phantom, split="all", findings=["hydropneumothorax"])
    with pytest.raises(UsageError, match="lists no pairs"):
        change(reader, phantom, split="all", pairs="listed")


def test_balanced_accuracy_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    truth, answers = rng.choice(STATES, 200), rng.choice(STATES, 200)
    assert balanced_accuracy(truth, answers) == pytest.approx(balanced_accuracy_score(truth, answers))


def test_a_rare_state_of_a_finding_does_not_count_in_its_value():
    truth = np.array(["stable"] * 6 + ["worse"] * 6 + ["new"])
    correct = np.array([1.0] * 6 + [0.0] * 6 + [0.0])
    statistic = balanced_accuracies(correct, truth, np.full(13, "mass"), ["mass"], least=2)
    assert statistic(np.ones((1, 13)))[0].tolist() == pytest.approx([0.5, 0.5, 1 / 3])


def test_swap_agreement_mirrors():
    assert swap_agreement(["new", "worse", "stable"], ["resolved", "worse", "stable"]).tolist() == [1, 0, 1]
