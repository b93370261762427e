"""Scores of answers to a question set: accuracy by kind and form, and set accuracy over twins."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from lgdea.comparison.questions.baselines import patient_of
from lgdea.comparison.questions.question import Question
from lgdea.errors import DataError
from lgdea.statistics.bootstrap import Interval, cluster_bootstrap, weighted_mean


def score_answers(
    questions: list[Question], answers: Mapping[str, str], *, seed: int = 0, replicates: int = 1000
) -> dict[str, dict[str, Interval]]:
    """Score answers.

    Args:
        questions: The set.
        answers: Question id to the text of the answer; its first word or letter counts in yes/no and 4-option
            questions, in open ones the words of the right answer must be its beginning.
        seed: Seed of the bootstrap.
        replicates: Bootstrap replicates.

    Returns:
        By kind and form, and ``all``: ``accuracy``, and ``set_accuracy``, the share of twins (the same images in both
        orders) of which both are right; with 95% intervals by patient.

    Raises:
        DataError: A question has no answer.
    """
    missing = [question.qid for question in questions if question.qid not in answers]
    if missing:
        raise DataError(f"{len(missing)} questions have no answer, first {missing[0]}", remedy="answer all of them")
    right = {question.qid: is_right(question, answers[question.qid]) for question in questions}
    groups: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        groups[f"{question.kind}/{question.form}"].append(question)
        groups["all"].append(question)
    scores: dict[str, dict[str, Interval]] = {}
    for name, group in groups.items():
        patients = np.array([patient_of(question) for question in group])
        alone = np.array([float(right[q.qid]) for q in group])
        both = np.array([float(right[q.qid] and right[q.twin]) if q.twin in right else np.nan for q in group])
        scores[name] = {
            key: cluster_bootstrap(weighted_mean(values), patients, replicates=replicates, seed=seed)
            for key, values in (("accuracy", alone), ("set_accuracy", both))
        }
    return scores


def is_right(question: Question, answer: str) -> bool:
    """Whether an answer's text is right.

    Args:
        question: The question.
        answer: What was answered, perhaps with a reason behind it.
    """
    text = answer.strip()
    if question.form == "choice":
        letter = re.match(r"\(?([A-E])\b", text)
        return letter is not None and letter[1] == question.answer
    if question.form == "yes-no":
        word = re.match(r"(yes|no)\b", text, re.IGNORECASE)
        return word is not None and word[1].lower() == question.answer
    return text.lower().startswith(question.answer.lower())
