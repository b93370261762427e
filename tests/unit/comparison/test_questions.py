"""Question sets: balanced, at chance without images, exact twins, files that TRL and a server can take."""

import json
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from lgdea.comparison.change.pairs import choose_priors
from lgdea.comparison.change.states import MIRROR
from lgdea.comparison.questions.baselines import baselines
from lgdea.comparison.questions.build import build_questions
from lgdea.comparison.questions.files import load_chat, load_trl, read_questions, write_questions
from lgdea.comparison.questions.make import make_question_set
from lgdea.comparison.questions.question import Question, Unit
from lgdea.comparison.questions.scoring import complete, is_right, read_answers, read_label, stated_label, statements_of
from lgdea.comparison.questions.timeline import timeline_questions
from lgdea.errors import DataError, UsageError
from lgdea.phantom import generate
from tests.helpers.command_line import run_lgdea

FINDINGS = ("edema", "mass", "atelectasis")
FORMS = ("open", "yes-no", "choice")


def units(prefix="p", findings=FINDINGS, count=8, labels=("new", "worse", "stable", "resolved", "better")):
    return [
        Unit("change", f, label, (f"{prefix}{n}{f}{label}a.png", f"{prefix}{n}{f}{label}b.png"),
             (f"{n}{f}{label}a", f"{n}{f}{label}b"), (f"{prefix}{n}{label}",), ("Before.", "Now."), 3.0)
        for f in findings for label in labels for n in range(count)
    ] + [
        Unit("difference", f, label, (f"{prefix}{n}{f}{label}c.png", f"{prefix}{n}{f}{label}d.png"),
             (f"{n}{f}{label}c", f"{n}{f}{label}d"), (f"{prefix}{n}{label}", f"{prefix}{n}{label}x"), (None, None))
        for f in findings for label in ("first", "both", "neither") for n in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def questions():
    return build_questions(units(), FORMS)[0]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return generate(
        tmp_path_factory.mktemp("q") / "archive", studies=500, size=64, revisits=0.8, masks=False, workers=1
    )


def test_answers_findings_and_positions_are_balanced(questions):
    for kind, form in {(q.kind, q.form) for q in questions}:
        mine = [q for q in questions if (q.kind, q.form) == (kind, form)]
        for finding in FINDINGS:
            key = "answer" if form == "yes-no" else "label"
            counts = Counter(getattr(q, key) for q in mine if q.finding == finding)
            assert len(set(counts.values())) == 1, (kind, form, finding, counts)
        assert len(set(Counter(q.finding for q in mine).values())) == 1
        if form == "choice":
            positions = Counter(q.answer for q in mine)
            assert max(positions.values()) - min(positions.values()) <= 4


def test_a_state_is_as_often_a_wrong_option_whatever_is_right(questions):
    left_out = defaultdict(Counter)
    for q in questions:
        if (q.kind, q.form) == ("change", "choice"):
            assert len(q.options) == len(set(q.options)) == 4
            missing = {"it is new", "it is worse", "it is stable", "it is better", "it has resolved"} - set(q.options)
            left_out[q.label][missing.pop()] += 1
    for counts in left_out.values():
        assert len(counts) == 4
        assert max(counts.values()) - min(counts.values()) <= 2


def test_twins_show_the_same_images_in_the_other_order_with_the_mirrored_answer(questions):
    by_id = {q.qid: q for q in questions}
    assert len(by_id) == len(questions)
    for q in questions:
        twin = by_id[q.twin]
        assert twin.twin == q.qid
        assert twin.images == q.images[::-1]
        if q.kind == "change":
            assert twin.label == MIRROR[q.label]
            assert "Image 1: " in q.reason.split("Image 2: ")[0]


def test_without_images_every_form_is_at_chance(questions):
    others = build_questions(units("other"), FORMS)[0]
    for found in (baselines(questions, others), baselines(questions)):
        assert {b.name for b in found} == {"text only", "position and length"}
        assert all(b.at_chance for b in found), found
    assert all(abs(b.accuracy - b.chance) < 0.06 for b in baselines(questions, others))


def test_a_leaking_set_is_found():
    from dataclasses import replace

    honest = build_questions(units(), ("choice",))[0]
    first = []
    for q in honest:
        right = q.options["ABCD".index(q.answer)]
        first.append(replace(q, answer="A", options=[right, *(o for o in q.options if o != right)]))
    found = {b.name: b for b in baselines([q for q in first if q.kind == "change"])}
    assert found["position and length"].accuracy > 0.9
    assert not found["position and length"].at_chance
    told = [
        replace(q, question=q.question + (" worse" if q.label == "worse" else "")) for q in honest if q.kind == "change"
    ]
    assert not next(b for b in baselines(told) if b.name == "text only").at_chance


def test_findings_that_cannot_be_balanced_are_left_out_and_named():
    stable = units(findings=("scoliosis",), labels=("stable",))
    made, notes = build_questions([*units(), *(u for u in stable if u.kind == "change")], FORMS)
    assert not any(q.finding == "scoliosis" for q in made)
    assert "change, choice: too few units to balance 1 findings: scoliosis" in notes
    with pytest.raises(DataError, match="nothing to ask: the pairs hold too few different answers about scoliosis"):
        build_questions([u for u in stable if u.kind == "change"], FORMS)


RIGHT = ("B", "(B)", "B.", "B) it is worse", "**B**", "The answer is B.", "Answer: B\nA is wrong", "Option B", "B: C",
         "<think>A or C?</think>B", "it is worse", "It is worse, clearly.",
         "B. A small effusion has grown.", "My final answer: **B**.")  # fmt: skip
WRONG = ("", "Because", "A", "A or B", "B, C", "A. it is new B. it is worse", "E", "Both",
         "it is worse or it is stable", "<think>B", "A pleural effusion", "it is newer")  # fmt: skip


@pytest.fixture(scope="module")
def worse():
    """A 4-option question whose option B, it is worse, is right."""
    words = ["it is new", "it is worse", "it is stable", "it has resolved"]
    return Question("q", "change", "choice", "edema", "worse", [], [], ["p"], None, "?", words, "B", "Because.")


@pytest.mark.parametrize("answer", RIGHT)
def test_the_option_of_an_answer_is_found(worse, answer):
    assert is_right(worse, answer)


@pytest.mark.parametrize("answer", WRONG)
def test_no_option_several_and_another_one_are_wrong(worse, answer):
    assert not is_right(worse, answer)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("it has resolved", "resolved"),
        ("It is stable, as before.", "stable"),
        ("Worsening edema.", "worse"),
        ("The pulmonary edema has improved.\nIt was worse before.", "better"),
        ("New pleural effusion.", None),
        ("Edema.", None),
        ("it is new or it is worse", None),
        ("it is newer", None),
        ("", None),
    ],
)
def test_an_open_answer_is_read_in_its_own_words(worse, answer, label):
    question = replace(worse, form="open", options=[], answer="", label="x")
    assert read_label(question, answer) == label


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("only image 1", "first"), ("Image 2 alone shows it.", "second"), ("both images", "both"),
        ("Images 1 and image 2", "both"), ("None of them.", "neither"), ("neither image", "neither"),
        ("both, or neither", None), ("an effusion", None),
    ],
)  # fmt: skip
def test_which_of_two_patients_is_read(worse, answer, label):
    assert read_label(replace(worse, kind="difference", form="open", options=[]), answer) == label


def test_yes_and_no_are_the_first_word(questions):
    yes = next(q for q in questions if q.form == "yes-no" and q.answer == "yes")
    no = next(q for q in questions if q.form == "yes-no" and q.answer == "no")
    for said in ("Yes, clearly", "yes", "**Yes**", "Answer: yes.", "<think>no</think> Yes"):
        assert is_right(yes, said)
        assert not is_right(no, said)
    for said in ("yesterday", "yes or no", "", "It is: yes", "<think>yes"):
        assert not is_right(yes, said)


def test_yes_states_what_was_asked_and_no_states_nothing(questions):
    asked = {(q.kind, q.question): q for q in questions if q.form == "yes-no" and q.answer == "yes"}
    assert {q.label for q in asked.values()} == {"new", "worse", "stable", "first", "both"}
    for q in asked.values():
        assert stated_label(q, "Yes, clearly.") == q.label
        assert stated_label(q, "no") is None
        said = {(n, m.finding, m.assertion) for n, m in statements_of("yes", q, q.label).apart()}
        images = {"first": {(1, "present"), (2, "absent")}, "both": {(1, "present"), (2, "present")}}
        assert {(n, assertion) for n, _, assertion in said} == images.get(q.label, {(2, "present")})


def test_an_answer_states_what_its_option_stands_for(worse):
    stated = statements_of('B\nImage 1: "Mild edema". Image 2: "Edema has increased".', worse, "worse")
    assert stated.captioned
    told = {(n, m.finding, m.severity, m.change) for n, m in stated.apart()}
    assert told == {
        (1, "edema", "mild", "unspecified"), (2, "edema", "unspecified", "worse"),
    }  # fmt: skip
    which = replace(worse, kind="difference", label="first")
    assert {(n, m.assertion) for n, m in statements_of("only image 1", which, "first").apart()} == {
        (1, "present"), (2, "absent"),
    }  # fmt: skip
    free = statements_of("Worsening edema, no effusion.")
    assert not free.captioned
    assert {(n, m.finding) for n, m in free.pooled()} == {(0, "edema"), (0, "pleural_effusion")}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{}"], "row 1: is no answer"),
        (['{"qid": "a", "answer": "x"}', "nonsense"], "row 2: is not JSON"),
        (['{"qid": "a", "answer": null}'], "row 1: is no answer"),
        (['{"qid": "a", "answer": ["x"]}'], "row 1: is no answer"),
        (['"text"'], "row 1: is no JSON object"),
        (
            ['{"qid": "a", "answer": "x"}'] * 3 + ['{"id": 1, "text": ""}'] * 2,
            r"2 ids .* first a \(rows 1 and 2 and 3\)",
        ),
    ],
)
def test_a_file_of_answers_with_faults_is_one_line(tmp_path, lines, message):
    file = tmp_path / "answers.jsonl"
    file.write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        read_answers(file)


def test_what_is_missing_and_what_was_never_asked_is_refused(tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_text('{"qid": "a", "answer": "x"}\n\n{"study_id": 7, "generated": ""}\n')
    answers = read_answers(file)
    assert answers == {"a": "x", "7": ""}
    assert complete(["a", "7"], answers, allow_missing=False) == []
    with pytest.raises(DataError, match="1 of 2 answers are to nothing that was asked, first 7"):
        complete(["a"], answers, allow_missing=True)
    with pytest.raises(DataError, match="2 of 4 have no answer, first b"):
        complete(["a", "b", "7", "c"], answers, allow_missing=False)
    assert complete(["a", "b", "7"], answers, allow_missing=True) == ["b"]
    with pytest.raises(UsageError, match="no such file of answers"):
        read_answers(tmp_path / "none")


def test_files(questions, tmp_path):
    from PIL import Image

    few = [q for q in questions if q.finding == "edema"][:40]
    folder = write_questions(
        tmp_path / "set", few, baselines(few, replicates=5), image_root=tmp_path, facts={"seed": 0}
    )
    for image in {i for q in few for i in q.images}:
        Image.new("L", (4, 4)).save(tmp_path / image)
    assert read_questions(folder) == few
    shipped = [json.loads(line) for line in (folder / "trl.jsonl").read_text().splitlines()]
    assert all(not image.startswith("/") for row in shipped for image in row["images"])
    rows = load_trl(folder)
    assert rows[0]["images"] == [str(tmp_path / image) for image in few[0].images]
    content = rows[0]["prompt"][0]["content"]
    assert [part["type"] for part in content] == ["text", "image", "text", "image", "text"]
    assert all(set(part) == {"type", "text"} for part in content)
    assert rows[0]["completion"][0]["content"][0]["text"].split("\n")[0] == few[0].answer
    chat = load_chat(folder)[0]["messages"][0]["content"]
    assert chat[1]["image_url"]["url"].startswith("data:image/png;base64,")
    (tmp_path / few[0].images[0]).unlink()
    with pytest.raises(DataError, match="no such picture; name the folder of the pictures"):
        load_trl(folder)
    with pytest.raises(UsageError, match="holds no question set"):
        load_trl(tmp_path)


def test_a_set_from_the_phantom_is_at_chance_without_images(phantom, tmp_path):
    evidence = phantom.extra("evidence_truth")
    made, found, _ = make_question_set(phantom, evidence, tmp_path / "set", split="test", timelines=True, most=4)
    assert {(q.kind, q.form) for q in made} >= {("change", "yes-no"), ("difference", "choice")}
    assert all(b.at_chance for b in found)
    patients = set(phantom.studies.loc[phantom.studies["split"] == "test", "patient_id"])
    assert {p for q in made for p in q.patients} <= patients
    rows = [json.loads(line) for line in (tmp_path / "set" / "micxr.jsonl").read_text().splitlines()]
    assert {"qid", "group_type", "qtype", "images", "question", "choices", "answer"} == set(rows[0])
    assert all(len(row["images"]) == 5 and list(row["choices"]) == list("ABCDE") for row in rows)


def test_questions_about_two_patients_need_no_dates(phantom, tmp_path):
    evidence = phantom.extra("evidence_truth")
    undated = phantom.with_tables(studies=phantom.studies.assign(day=np.nan))
    assert not len(choose_priors(undated, "all", prefer="latest").table)
    made, _, _ = make_question_set(undated, evidence, tmp_path / "undated", split="all", most=4)
    assert {q.kind for q in made} == {"difference"}
    dated, _, _ = make_question_set(phantom, evidence, tmp_path / "dated", split="all", most=4)
    about = [{q.finding for q in some if q.kind == "difference"} for some in (made, dated)]
    assert about[0] == about[1] > {"cardiomegaly", "edema"}, "the same findings, whether or not they change"


def test_timelines_are_balanced_and_true(phantom):
    rows = timeline_questions(phantom, choose_priors(phantom, "all", prefer="latest"))
    for group in ("ICR", "TEL"):
        counts = Counter(row["choices"][row["answer"]] for row in rows if row["group_type"] == group)
        assert len(counts) == 5
        assert len(set(counts.values())) == 1
    short = choose_priors(phantom, "all", prefer="latest")
    with pytest.raises(DataError, match="no patient has 5 dated visits"):
        timeline_questions(phantom, type(short)(short.table[short.table["nth"] > 9], []))


def test_command_line(phantom, tmp_path, capsys):
    import lgdea

    evidence = lgdea.extract(phantom, out=tmp_path / "evidence").folder
    code, out, _ = run_lgdea(
        capsys, "compare", "questions", phantom.folder, "--evidence", evidence, "--out", tmp_path / "set"
    )
    assert code == 0
    assert "answered without images" in out
    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        "".join(json.dumps({"qid": q.qid, "answer": q.answer}) + "\n" for q in read_questions(tmp_path / "set"))
    )
    code, out, _ = run_lgdea(capsys, "compare", "score", tmp_path / "set", answers, "--json")
    assert json.loads(out)["result"]["metrics"]["set_accuracy"]["value"] == 1
    answers.write_text("{}\n")
    code, _, err = run_lgdea(capsys, "compare", "score", tmp_path / "set", answers)
    assert code == 1
    assert "row 1: is no answer" in err
    code, _, err = run_lgdea(
        capsys,
        "compare",
        "questions",
        phantom.folder,
        "--evidence",
        evidence,
        "--out",
        tmp_path / "x",
        "--finding",
        "hernai",
    )
    assert code == 2
    assert "hernai" in err


def test_a_set_is_replaced_when_it_is_said_and_an_archive_never(phantom, tmp_path, capsys):
    import lgdea
    from lgdea.runs import fingerprint

    evidence, out = lgdea.extract(phantom, out=tmp_path / "evidence").folder, tmp_path / "set"

    def make(folder, *more):
        asked = ("compare", "questions", phantom.folder, "--evidence", evidence, "--split", "all", "--out", folder)
        return run_lgdea(capsys, *asked, *more)

    assert make(out, "--timelines")[0] == 0
    before = fingerprint(out)
    code, _, err = make(out, "--seed", 1)
    assert (code, fingerprint(out)) == (2, before)
    assert "holds a question set already; choose another --out, or add --overwrite" in err
    assert make(out, "--seed", 1, "--overwrite")[0] == 0
    assert not (out / "micxr.jsonl").exists(), "it is of the earlier set"
    assert json.loads((out / "report.json").read_text())["seed"] == 1

    before = fingerprint(phantom.folder)
    code, _, err = make(phantom.folder, "--overwrite")
    assert (code, fingerprint(phantom.folder)) == (2, before)
    assert "is not empty and holds no question set; choose another --out" in err
    code, _, err = make(out / "report.json")
    assert code == 2
    assert "the output is a file, not a folder; choose another --out" in err

    answers, results = tmp_path / "answers.jsonl", tmp_path / "results"
    answers.write_text("".join(json.dumps({"qid": q.qid, "answer": q.answer}) + "\n" for q in read_questions(out)))
    score = ("compare", "score", out, answers, "--replicates", 0, "--out")
    assert run_lgdea(capsys, *score, results)[0] == 0
    answers.write_text("{}\n")  # is not even read
    code, _, err = run_lgdea(capsys, *score, results)
    assert code == 2
    assert "holds scores of answers already; choose another --out, or add --overwrite" in err
    code, _, err = run_lgdea(capsys, *score, answers)
    assert code == 2
    assert "the output is a file, not a folder; choose another --out" in err
    code, _, err = run_lgdea(capsys, *score, results, "--overwrite")
    assert "row 1: is no answer" in err
