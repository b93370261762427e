"""Scores of generated text: against independent references, with an oracle at 1, and with plug-ins really installed."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

import lgdea
from lgdea.comparison.questions.build import build_questions
from lgdea.comparison.questions.files import completion, write_questions
from lgdea.comparison.questions.question import Unit
from lgdea.errors import DataError, UsageError
from lgdea.evaluation.metrics import text
from lgdea.evaluation.metrics.statements import FACETS, micro_f1, statement_counts
from lgdea.evaluation.results.compare import compare_results
from lgdea.evaluation.results.result import read_result
from lgdea.phantom import generate
from tests.helpers.command_line import run_lgdea

needs_text = pytest.mark.skipif(bool(text.missing_packages()), reason="needs lgdea[text]")
SAID = {"new": "Small left edema.", "worse": "The left edema has increased.", "stable": "Unchanged bilateral edema.",
        "better": "The left edema has improved.", "resolved": "The edema has resolved."}  # fmt: skip
MIRROR = {"new": "resolved", "worse": "better", "stable": "stable", "better": "worse", "resolved": "new"}


def made(findings=("edema", "mass")):
    units = [
        Unit("change", f, label, (f"{n}{f}{label}a.png", f"{n}{f}{label}b.png"), (f"{n}{f}{label}a", f"{n}{f}{label}b"),
             (f"p{n}",), (SAID[MIRROR[label]].replace("edema", f), SAID[label].replace("edema", f)), 3.0)
        for f in findings for label in SAID for n in range(4)
    ]  # fmt: skip
    return build_questions(units, ("open", "yes-no", "choice"))[0]


@pytest.fixture(scope="module")
def questions():
    return made()


@pytest.fixture(scope="module")
def folder(questions, tmp_path_factory):
    path = tmp_path_factory.mktemp("set") / "set"
    return write_questions(path, questions, [], image_root=path, facts={"archive": "toy", "split": "test"})


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    return generate(folder / "archive", studies=60, size=64, revisits=0.7, masks=False, workers=1)


def score(folder, answers, **settings):
    return lgdea.score_answers(folder, answers, **{"bootstrap_replicates": 30, **settings})


def unit(finding, assertion="present", laterality="unspecified", change="unspecified"):
    return SimpleNamespace(finding=finding, assertion=assertion, laterality=laterality, change=change)


def test_f1_of_statements_is_scikit_learns_micro_f1():
    rng = np.random.default_rng(0)
    choices = [["edema", "mass", "pneumothorax"], ["present", "absent"], ["left", "right", "unspecified"],
               ["worse", "unspecified"]]  # fmt: skip

    def text():
        return [(0, unit(*(str(rng.choice(c)) for c in choices))) for _ in range(rng.integers(0, 4))]

    pairs = [(text(), text()) for _ in range(40)]
    counts = [statement_counts(*pair) for pair in pairs]
    plain = {
        "entity": lambda s: [s.finding],
        "assertion": lambda s: [s.finding + s.assertion],
        "side": lambda s: [s.finding + s.laterality] if s.laterality != "unspecified" else [],
        "change": lambda s: [s.finding + s.change] if s.change != "unspecified" else [],
        "together": lambda s: [s.finding + s.assertion + s.laterality + s.change],
    }
    for facet, parts in plain.items():
        a, b = ([{x for _, s in pair[k] for x in parts(s)} for pair in pairs] for k in (0, 1))
        binary = MultiLabelBinarizer().fit(a + b)
        expected = f1_score(binary.transform(b), binary.transform(a), average="micro")
        found = micro_f1([c[facet] for c in counts])(np.ones((1, len(pairs))))
        assert found == pytest.approx(expected)


def test_both_sides_are_left_and_right_and_nothing_said_is_not_defined():
    counts = statement_counts([(0, unit("mass", laterality="bilateral"))], [(0, unit("mass", laterality="left"))])
    assert counts["side"] == counts["together"] == (1, 1, 0)
    assert counts["change"] == (0, 0, 0)
    assert np.isnan(micro_f1([[0, 0, 0]])(np.ones((1, 1))))[0]
    assert statement_counts([(1, unit("mass"))], [(2, unit("mass"))])["entity"] == (0, 1, 1)  # of another image


def test_an_oracle_scores_one_and_its_intervals_are_by_patient(folder, questions):
    result = score(folder, {q.qid: completion(q) for q in questions})
    assert result.metrics
    for name, value in result.metrics.items():
        # METEOR's penalty of the chunks leaves n equal words 1 - 0.5 / n^3.
        assert value.value == pytest.approx(1, abs=1e-3 if name == "meteor" else 1e-9), name
        assert value.definition.startswith("answers/")
        assert value.low == pytest.approx(value.value, abs=1e-3)
    assert set(result.per_class) >= {"change/open", "change/choice", "state: worse", "finding: mass"}
    assert result.items["patient_id"].nunique() == 4
    assert result.n_ids == len(questions)
    assert not set(result.items) & {"answer", "reference", "text"}


def test_each_facet_falls_with_its_own_mistake(folder, questions):
    changes = {
        "entity": ("edema", "pneumonia"),
        "assertion": ("Small left edema", "No left edema"),
        "side": ("left", "right"),
        "change": ("has increased", "has improved"),
    }
    for facet, (old, new) in changes.items():
        answers = {q.qid: completion(q).replace(old, new) for q in questions}
        found = {name.rpartition("/")[2]: v.value for name, v in score(folder, answers).metrics.items() if "f1" in name}
        assert found[facet] < 1, facet
        assert found["together"] < 1, facet
        spared = {"assertion": ("side",), "side": ("entity", "assertion", "change"), "change": ("entity", "side")}
        assert all(found[name] == 1 for name in spared.get(facet, ())), (facet, found)


def test_quotes_of_the_wrong_image_are_no_hits(folder, questions):
    """Image 1 and image 2 exchanged in the reason, all words the same."""
    answers = {
        q.qid: completion(q).replace("Image 1", "Image 9").replace("Image 2", "Image 1").replace("Image 9", "Image 2")
        for q in questions
    }
    result = score(folder, answers)
    assert result.metrics["accuracy"].value == 1
    assert result.metrics["evidence_f1/together"].value < 0.8


def test_a_bare_yes_is_scored_as_what_was_asked(folder, questions):
    told = {q.qid: q.answer for q in questions}
    by_form = score(folder, told).per_class
    assert by_form["change/yes-no"]["accuracy"].value == 1
    assert by_form["change/yes-no"]["evidence_f1/together"].value > 0.2
    wrong = {q.qid: {"yes": "no", "no": "yes"}.get(q.answer, q.answer) for q in questions}
    fallen = score(folder, wrong).per_class["change/yes-no"]["evidence_f1/change"]
    assert fallen.value < by_form["change/yes-no"]["evidence_f1/change"].value


def test_set_accuracy_needs_both_orders(folder, questions):
    words = {q.qid: "it is worse" for q in questions}
    blind = score(folder, words).per_class["change/open"]
    assert blind["accuracy"].value == pytest.approx(1 / 5)
    assert blind["set_accuracy"].value == 0
    with pytest.raises(DataError, match=rf"{len(questions)} of {len(questions)} have no answer"):
        score(folder, {})


def test_missing_answers_count_as_wrong_when_asked_for(folder, questions):
    right = {q.qid: completion(q) for q in questions}
    half = dict(list(right.items())[::2])
    result = score(folder, half, allow_missing=True)
    share = len(half) / len(right)
    assert result.metrics["accuracy"].value == pytest.approx(share)
    assert 0 < result.metrics["evidence_f1/together"].value < 1
    assert any(f"{len(right) - len(half):,} of {len(right):,} have no answer" in note for note in result.notes)
    assert result.items["answered"].mean() == pytest.approx(share)
    with pytest.raises(DataError, match="to nothing that was asked, first stranger"):
        score(folder, right | {"stranger": "B"})


def test_reports_are_scored_by_study_against_their_text_or_evidence(phantom):
    reports = phantom.reports.groupby("study_id")["text"].agg("\n".join).to_dict()
    result = score(phantom, reports, split="all")
    assert "accuracy" not in result.metrics
    assert result.metrics["evidence_f1/together"].value == 1
    truth = phantom.extra("evidence_truth")
    against = score(phantom, reports, split="all", evidence=truth)
    assert 0.9 < against.metrics["evidence_f1/entity"].value <= 1
    assert against.config["statements"] == "evidence"
    names = list(reports)
    shuffled = dict(zip(names, np.random.default_rng(0).permutation(list(reports.values())), strict=True))
    assert score(phantom, shuffled, split="all").metrics["evidence_f1/together"].value < 0.6


def test_questions_are_scored_against_evidence_of_their_images(phantom, tmp_path):
    from lgdea.comparison.questions.make import make_question_set

    truth = phantom.extra("evidence_truth")
    asked, _, _ = make_question_set(phantom, truth, tmp_path / "set", split="all", truth="image", most=3)
    answers = {q.qid: completion(q) for q in asked}
    plain = score(tmp_path / "set", answers)
    against = score(tmp_path / "set", answers, archive=phantom, evidence=truth)
    assert plain.metrics["evidence_f1/entity"].value == 1
    assert 0.3 < against.metrics["evidence_f1/entity"].value < 1  # a normal report quoted denies what it does not name
    with pytest.raises(UsageError, match="evidence needs the archive"):
        score(tmp_path / "set", answers, archive=phantom)


def test_a_file_of_references_and_its_faults(tmp_path):
    file = tmp_path / "references.jsonl"
    rows = [{"id": n, "report": f"{side} effusion.", "patient_id": "p" + str(n % 3), "finding": "pleural_effusion",
             "state": "new"} for n, side in enumerate(["Left", "Right", "Bilateral", "No"])]  # fmt: skip
    file.write_text("\n".join(map(json.dumps, rows)))
    result = score(file, {str(n): "Left effusion." for n in range(4)})
    assert result.metrics["evidence_f1/side"].value == pytest.approx(2 * 2 / (2 * 2 + 2 + 2))
    assert result.metrics["evidence_f1/assertion"].value == pytest.approx(0.75)
    assert set(result.per_class) == {"state: new", "finding: pleural_effusion"}
    for lines, message in (
        (['{"id": 1}'], "row 1: is no reference"),
        (['{"id": 1, "text": "a"}', '{"id": "1", "text": "b"}'], "row 2: the id 1 stands twice"),
        (['{"id": 1, "text": 3}'], "row 1: the reference is no text"),
        (['{"id": 1, "text": "a", "state": "purple"}'], "row 1: no state 'purple'; choose one of new, worse,"),
        (['{"id": 1, "text": "a", "finding": "foo"}'], "row 1: .*foo"),
        ([""], "holds no references"),
    ):
        file.write_text("\n".join(lines))
        with pytest.raises(DataError, match=message):
            score(file, {"1": "a"})
    with pytest.raises(UsageError, match="holds no references"):
        score(tmp_path, {})


@needs_text
def test_bleu_of_a_weighted_corpus_is_sacrebleus_of_repeated_sentences():
    from sacrebleu.metrics import BLEU

    said = ["The left effusion has grown a little.", "No change.", "", "Heart size is normal, lungs are clear."]
    true = ["The left effusion has grown.", "No interval change in the lungs.", "Clear.", "Heart is of normal size."]
    weights = np.array([[1, 1, 1, 1], [3, 0, 1, 2], [0, 2, 0, 2]], float)
    found = text.corpus_bleu(text.bleu_counts(said, true))(weights)
    for row, value in zip(weights.astype(int), found, strict=True):
        repeated = [[t for t, n in zip(texts, row, strict=True) for _ in range(n)] for texts in (said, true)]
        assert value == pytest.approx(BLEU(lowercase=True).corpus_score(repeated[0], [repeated[1]]).score / 100)


@needs_text
def test_rouge_and_meteor_by_hand():
    said, true = ["new left effusion today", "clear"], ["left effusions today", "normal"]
    found = text.rouge(said, true)
    assert found["rouge1"].tolist() == pytest.approx([2 * 3 / (4 + 3), 0])
    assert found["rouge2"].tolist() == pytest.approx([2 * 2 / (3 + 2), 0])
    assert found["rougeL"].tolist() == pytest.approx([2 * 3 / (4 + 3), 0])
    # Three matches in one chunk (effusions by its stem): F = P R / (0.9 P + 0.1 R), penalty 0.5 (1 / 3)^3.
    precision, recall = 3 / 4, 3 / 3
    mean = precision * recall / (0.9 * precision + 0.1 * recall)
    assert text.meteor(said, true).tolist() == pytest.approx([mean * (1 - 0.5 * (1 / 3) ** 3), 0])
    assert text.meteor(["", "a"], ["a", ""]).tolist() == [0, 0]


def test_without_the_extra_all_else_is_scored_and_a_note_says_how_to_get_it(folder, questions, monkeypatch):
    monkeypatch.setattr(text, "NEEDED", ("sacrebleu", "no_such_package"))
    result = score(folder, {q.qid: completion(q) for q in questions})
    assert not {"bleu", "rougeL", "meteor"} & set(result.metrics)
    assert result.metrics["accuracy"].value == 1
    assert any("no_such_package not installed; pip install 'lgdea[text]'" in note for note in result.notes)


def install(folder, name, code, monkeypatch):
    """A package on disk as pip leaves it: a module, and a dist-info with its entry point."""
    (folder / f"{name}_plug.py").write_text(code)
    info = folder / f"{name}_plug-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plug\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[lgdea.text_metrics]\n{name} = {name}_plug:score\n")
    if str(folder) not in sys.path:
        monkeypatch.syspath_prepend(folder)


LENGTHS = """
def score(hypotheses, references):
    return {"same_length": [float(len(h) == len(r)) for h, r in zip(hypotheses, references)]}
"""


def test_an_installed_plug_in_is_used_with_intervals_and_paired_differences(folder, questions, tmp_path, monkeypatch):
    install(tmp_path, "lengths", LENGTHS, monkeypatch)
    install(tmp_path, "broken", "import a_package_that_nobody_has\n", monkeypatch)
    install(tmp_path, "failing", "def score(h, r):\n    raise RuntimeError('no weights')\n", monkeypatch)
    right = {q.qid: completion(q) for q in questions}
    mixed = {qid: answer + "!" * (n % 2) for n, (qid, answer) in enumerate(right.items())}
    a, b = (score(folder, answers, model=name) for name, answers in (("a", mixed), ("b", right)))
    value = a.metrics["plugin/same_length"]
    assert value.value == pytest.approx(np.mean([n % 2 == 0 for n in range(len(right))]))
    assert value.definition == "answers/plugin-v1"
    assert any("broken cannot be used: it needs a_package_that_nobody_has" in note for note in a.notes)
    assert any("failing failed: RuntimeError: no weights" in note for note in a.notes)
    (table,) = compare_results({"a": {"answers": a}, "b": {"answers": b}}, replicates=50)
    for (name, metric), difference in table.differences["b"].items():
        values = [(r.per_class[name] if name else r.metrics)[metric] for r in (b, a)]
        assert difference.value == pytest.approx(values[0].value - values[1].value, nan_ok=True), (name, metric)
    assert table.differences["b"]["", "plugin/same_length"].p_value < 0.1
    install(tmp_path, "short", "def score(h, r):\n    return {'x': [1.0]}\n", monkeypatch)
    with pytest.raises(DataError, match=r"short gave x of shape \(1,\) for"):
        score(folder, right)


def test_the_command_writes_a_result_that_others_read(folder, questions, tmp_path, capsys):
    file = tmp_path / "model-7.jsonl"
    file.write_text("".join(json.dumps({"qid": q.qid, "answer": completion(q)}) + "\n" for q in questions))
    out = tmp_path / "results"
    code, said, err = run_lgdea(capsys, "compare", "score", folder, file, "--out", out, "--replicates", 20)
    assert (code, err) == (0, "")
    assert "evidence F1 together" in said
    assert "finding: mass" in said
    result = read_result(out, "answers")
    assert (result.model, result.archive, result.definition) == ("model-7", "toy", "answers-v1")
    code, said, _ = run_lgdea(capsys, "eval", "compare", f"a={out}", f"b={out}", "--replicates", 20)
    assert code == 0
    assert "+0.000" in said
    page = tmp_path / "page.html"
    code, _, err = run_lgdea(capsys, "report", f"a={out}", "--out", page, "--replicates", 0)
    assert (code, err) == (0, "")
    assert "answers/evidence-f1-side-v1" in page.read_text()
    code, _, err = run_lgdea(capsys, "compare", "score", tmp_path, file)
    assert code == 2
    assert len(err.strip().splitlines()) == 1


def test_every_facet_has_a_definition():
    from lgdea.evaluation.metrics.answers import definition_of
    from lgdea.evaluation.results.definitions import DEFINITIONS

    names = [*(f"evidence_f1/{facet}" for facet in FACETS), "accuracy", "set_accuracy", "bleu", *text.ROUGE, "meteor"]
    assert {definition_of(name) for name in names} <= set(DEFINITIONS)
