"""Prompts that ask by the sentence, and prompts with a second pass."""

import json

import pandas as pd
import pytest

from lgdea.errors import EvidenceError, RejectedShareError
from lgdea.evidence.backends.base import Response, get_backend
from lgdea.evidence.io import iter_raw, iter_rejects, read_evidence
from lgdea.evidence.prompts import load_prompt
from lgdea.evidence.runner import extract

TEXT = (
    "INDICATION: Cough. FINDINGS: The left lung holds a nodule. No effusion. No effusion.\n"
    "IMPRESSION: A nodule on the right."
)
SENTENCES = ["The left lung holds a nodule.", "No effusion.", "No effusion.", "A nodule on the right."]


class Model:
    """A language model whose answers a test writes, one function for questions about reports and one for verdicts."""

    name = "model"
    needs_prompt = True

    def __init__(self, answer, verdict=None):
        self.answer, self.verdict = answer, verdict
        self.asked = []

    def respond(self, requests):
        for request in requests:
            self.asked.append(request)
            is_verdict = "supported" in request.json_schema["properties"]
            answer = (self.verdict if is_verdict else self.answer)(request)
            yield Response(request.request_id, **(answer if isinstance(answer, dict) else {"text": answer}))

    def describe(self):
        return {"backend": "model"}


def _by_sentence(request):
    finding = "nodule" if "nodule" in request.text else "pleural_effusion"
    assertion = "absent" if request.text.startswith("No ") else "present"
    return json.dumps({"units": [{"finding": finding, "assertion": assertion, "anatomy": "unspecified",
                                  "laterality": "unspecified", "severity": "unspecified",
                                  "change": "unspecified"}]})  # fmt: skip


def _reports(*texts):
    return pd.DataFrame({"report_id": [f"r:{n}" for n in range(len(texts))], "text": texts})


@pytest.fixture(scope="module")
def by_sentence():
    return load_prompt("sentence-v1")


@pytest.fixture(scope="module")
def verified():
    return load_prompt("evidence-v1-verified")


def test_one_question_per_sentence_and_offsets_of_the_report(by_sentence, tmp_path):
    model = Model(_by_sentence)
    summary = extract(_reports(TEXT), model, tmp_path / "e", prompt=by_sentence)
    assert [request.text for request in model.asked] == SENTENCES
    assert len({request.request_id for request in model.asked}) == 4  # equal sentences are different questions
    units = read_evidence(tmp_path / "e")
    assert [TEXT[u.start : u.end] for u in units.itertuples()] == SENTENCES
    assert units["start"].is_monotonic_increasing
    assert units["start"].nunique() == 4
    assert list(units["section"]) == ["findings", "findings", "findings", "impression"]
    assert list(units["assertion"]) == ["present", "absent", "absent", "present"]
    assert (summary["questions"], summary["reports"], summary["units"]) == (4, 1, 4)


def test_a_model_that_answers_nothing_is_noticed(by_sentence, tmp_path, caplog):
    silent = Model(lambda _: json.dumps({"units": []}))
    summary = extract(_reports(TEXT, TEXT), silent, tmp_path / "silent", prompt=by_sentence)
    assert (summary["empty_answers"], summary["questions"]) == (8, 8)
    assert json.loads((tmp_path / "silent" / "quality.json").read_text())["empty_answers"] == 8
    assert "100.0% of the questions were answered with no unit, 2 of 2 reports have none" in caplog.text
    with pytest.raises(RejectedShareError, match=r"allowed are 95\.0%.*--max-empty"):
        extract(_reports(TEXT, TEXT), silent, tmp_path / "silent", prompt=by_sentence, max_empty=0.95)
    caplog.clear()
    summary = extract(_reports(TEXT), Model(_by_sentence), tmp_path / "speaks", prompt=by_sentence, max_empty=0.0)
    assert summary["empty_answers"] == 0
    assert not caplog.text


@pytest.mark.parametrize(("assertion", "kept"), [("present", 4), ("absent", 0), ("uncertain", 0)])
def test_a_normal_report_is_never_absent_or_uncertain(by_sentence, tmp_path, assertion, kept):
    def answer(request):
        content = json.loads(_by_sentence(request))
        content["units"][0].update(finding="no_finding", assertion=assertion)
        return json.dumps(content)

    summary = extract(_reports(TEXT), Model(answer), tmp_path / "e", prompt=by_sentence, max_rejected=1.0)
    assert summary["units"] == kept
    assert summary["rejected_by_reason"].get("contradicts_itself", 0) == 4 - kept


def test_a_lost_sentence_is_listed_and_the_others_stay(by_sentence, tmp_path):
    def answer(request):
        return {"failure": "refused", "detail": "policy"} if "right" in request.text else _by_sentence(request)

    summary = extract(_reports(TEXT), Model(answer), tmp_path / "e", prompt=by_sentence, max_rejected=0.3)
    assert len(read_evidence(tmp_path / "e")) == 3
    (reject,) = iter_rejects(tmp_path / "e")
    assert (reject.report_id, reject.reason, reject.detail, reject.unit) == ("r:0", "refused", "policy", None)
    assert TEXT[reject.start : reject.end] == "A nodule on the right."
    assert (summary["rejected"], summary["incomplete"], summary["rejected_questions"]) == (0, 1, 1)


def test_a_report_without_a_usable_answer_counts_as_rejected(by_sentence, tmp_path):
    model = Model(lambda r: {"failure": "refused"})
    summary = extract(_reports(TEXT, ""), model, tmp_path / "e", prompt=by_sentence, max_rejected=1.0)
    assert (summary["rejected"], summary["incomplete"], summary["rejected_questions"]) == (2, 0, 4)
    assert summary["rejected_by_reason"] == {"refused": 4, "empty_report": 1}


def test_an_answer_cannot_speak_of_another_sentence(tmp_path):
    class Whole:
        """A prompt by the sentence whose answers carry quotes."""

        sha256 = "0" * 64
        verifier = None

        def __init__(self):
            self.inner = load_prompt("evidence-v1")

        def questions(self, report):
            return load_prompt("sentence-v1").questions(report)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    unit = {"quote": "nodule", "finding": "nodule", "finding_text": "nodule", "assertion": "present"}
    model = Model(lambda r: json.dumps({"units": [unit]}))
    extract(_reports(TEXT), model, tmp_path / "e", prompt=Whole(), max_rejected=1.0)
    units = read_evidence(tmp_path / "e")
    assert [TEXT[u.start : u.end] for u in units.itertuples()] == ["nodule", "nodule"]
    assert list(units["section"]) == ["findings", "impression"]
    rejects = list(iter_rejects(tmp_path / "e"))
    assert [r.reason for r in rejects] == ["quote_not_in_report"] * 2
    assert {TEXT[r.start : r.end] for r in rejects} == {"No effusion."}


def _stated(*quotes):
    return json.dumps({"units": [
        {"quote": q, "finding": "nodule", "finding_text": "nodule", "assertion": "present"} for q in quotes
    ]})  # fmt: skip


def _verdict(request):
    good = "left" in request.text
    return json.dumps({"reason": "stated" if good else "negated", "supported": "yes" if good else "no"})


def test_a_unit_that_its_sentence_does_not_support_is_rejected(verified, tmp_path):
    text = "FINDINGS: The left lung holds a nodule. There is no nodule elsewhere."
    model = Model(lambda r: _stated("holds a nodule", "no nodule", "not in the report at all"), _verdict)
    summary = extract(_reports(text), model, tmp_path / "e", prompt=verified, max_rejected=0.5)
    assert [r.text for r in model.asked[1:]] == ["The left lung holds a nodule.", "There is no nodule elsewhere."]
    assert list(read_evidence(tmp_path / "e")["quote"]) == ["holds a nodule"]
    rejects = {r.reason: r for r in iter_rejects(tmp_path / "e")}
    assert set(rejects) == {"not_supported", "quote_not_in_report"}
    lost = rejects["not_supported"]
    assert (lost.detail, lost.unit["quote"], text[lost.start : lost.end]) == ("negated", "no nodule", "no nodule")
    assert (summary["asked"], summary["verified"], summary["rejected_units"]) == (1, 2, 2)
    assert summary["rejected_by_reason"] == {"not_supported": 1, "quote_not_in_report": 1}
    assert summary["share_unaligned"] == pytest.approx(1 / 3, abs=1e-6)  # the verdict says nothing about quotes
    assert len(list(iter_raw(tmp_path / "e", verify=True))) == 2


def test_the_second_pass_resumes_and_its_failures_are_not_silent(verified, tmp_path):
    out = tmp_path / "e"
    texts = [f"FINDINGS: The left lung holds nodule number {n}." for n in range(20)]
    model = Model(
        lambda r: _stated("nodule number"),
        lambda r: {"failure": "backend_error"} if " 7." in r.text else "?" if " 8." in r.text else _verdict(r),
    )
    with pytest.raises(EvidenceError, match="failed on 1 question;"):
        extract(_reports(*texts), model, out, prompt=verified)
    assert len(model.asked) == 20 + 20 + 1  # the unreadable verdict is asked again at once
    again = Model(None, _verdict)
    summary = extract(_reports(*texts), again, out, prompt=verified)
    assert [request.text for request in again.asked] == ["The left lung holds nodule number 7."]
    assert len(read_evidence(out)) == 19
    (reject,) = iter_rejects(out)
    assert (reject.reason, reject.report_id) == ("not_verified", "r:8")
    assert reject.detail.startswith("invalid_response: ")
    assert (summary["verified"], summary["asked"]) == (1, 0)


def test_a_replay_of_both_passes_gives_the_same_bytes(verified, tmp_path):
    model = Model(lambda r: _stated("holds a nodule", "A nodule"), _verdict)
    extract(_reports(TEXT), model, tmp_path / "one", prompt=verified, max_rejected=1.0)
    replay = get_backend("replay", responses=tmp_path / "one")
    extract(_reports(TEXT), replay, tmp_path / "two", prompt=verified, max_rejected=1.0)
    columns = ["unit_id", "quote", "assertion"]
    one, two = (read_evidence(tmp_path / name)[columns] for name in ("one", "two"))
    assert len(one) == 1
    pd.testing.assert_frame_equal(one, two)
