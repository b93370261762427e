"""Five-way questions over five visits, in the format of MI-CXR (Cho et al. 2026): TEL, ICR and GTS.

The truth is what the phantom drew, so only a phantom can fill them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from lgdea.comparison.change.pairs import Pairs
from lgdea.comparison.change.states import STATES, Drawn, drawn_change, drawn_findings
from lgdea.comparison.questions.question import LETTERS, STATE_WORDS
from lgdea.errors import DataError
from lgdea.records.archive import Archive
from lgdea.vocabulary.phrases import canonical_phrase

VISITS = 5
COURSES = {
    "stays": "it is there throughout and does not change",
    "grows": "it is there throughout and only grows",
    "shrinks": "it is there throughout and only shrinks",
    "comes": "it appears during the timeline and is there at the end",
    "goes": "it is there at first and has gone by the end",
}
MOST = 60
"""Questions of one type and answer."""


def timeline_questions(archive: Archive, pairs: Pairs, *, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of ``qid, group_type, qtype, images, question, choices, answer``; balanced by answer within a type.

    ``TEL``: the visit at which a finding is first seen; ``ICR``: what became of it between two visits; ``GTS``: its
    course.

    Args:
        archive: A phantom.
        pairs: Each study and the one directly before it.
        seed: Seed of the draws.

    Raises:
        UsageError: The archive is no phantom.
        DataError: No patient has five visits, or no type has every answer.
    """
    drawn = drawn_findings(archive)
    paths = archive.images.drop_duplicates("study_id").set_index("study_id")["path"]
    rng = np.random.default_rng([seed, 5])
    pools: dict[str, dict[str, list[tuple[list[str], str]]]] = defaultdict(lambda: defaultdict(list))
    lines = list(_timelines(pairs))
    if not lines:
        raise DataError(
            f"no patient has {VISITS} dated visits", file=archive.folder, remedy="take more visits per patient"
        )
    for studies in lines:
        images, visits = [paths[s] for s in studies], [drawn.get(s, {}) for s in studies]
        for qtype, answer, question in _facts(visits):
            pools[qtype][answer].append((images, question))
    rows = []
    for qtype, by_answer in sorted(pools.items()):
        count = min(MOST, *(len(by_answer[answer]) for answer in _ANSWERS[qtype]))
        for k, answer in enumerate(_ANSWERS[qtype]):
            chosen = rng.permutation(len(by_answer[answer]))[:count]
            for n, i in enumerate(chosen):
                images, question = by_answer[answer][int(i)]
                rows.append(_row(qtype, answer, images, question, position=(n + k) % 5, rng=rng))
    if not rows:
        raise DataError("no type of question has every answer", file=archive.folder, remedy="take more studies")
    return [{"qid": f"{row['group_type'].lower()}-{n:05d}", **row} for n, row in enumerate(rows)]


_ANSWERS: dict[str, tuple[str, ...]] = {
    "single emergence": tuple(f"T{k}" for k in range(1, VISITS + 1)),
    "interval change": STATES,
    "course": tuple(COURSES),
}
_GROUPS = {"single emergence": "TEL", "interval change": "ICR", "course": "GTS"}
_WORDS = {"interval change": STATE_WORDS, "course": COURSES}


def _row(
    qtype: str, answer: str, images: list[str], question: str, *, position: int, rng: np.random.Generator
) -> dict[str, Any]:
    if qtype == "single emergence":
        choices, right = [f"T{k}" for k in range(1, VISITS + 1)], int(answer[1]) - 1
    else:
        others = [label for label in _ANSWERS[qtype] if label != answer]
        labels = [others[int(i)] for i in rng.permutation(4)]
        labels.insert(position, answer)
        choices, right = [_WORDS[qtype][label] for label in labels], position
    return {
        "group_type": _GROUPS[qtype],
        "qtype": qtype,
        "images": images,
        "question": question,
        "choices": {LETTERS[i]: choice for i, choice in enumerate(choices)},
        "answer": LETTERS[right],
    }


def _timelines(pairs: Pairs) -> Iterator[list[str]]:
    """The first five visits of each patient that has as many, in order of time."""
    for _, group in pairs.table[pairs.table["nth"] == 1].groupby("patient_id", sort=False):
        before = dict(zip(group["study_current"], group["study_prior"], strict=True))
        after = {prior: current for current, prior in before.items()}
        chain = [next(study for study in after if study not in before)]
        while chain[-1] in after:
            chain.append(after[chain[-1]])
        if len(chain) >= VISITS:
            yield chain[:VISITS]


def _facts(visits: list[Drawn]) -> Iterator[tuple[str, str, str]]:
    """(type, answer, question) of what is true of a timeline."""
    for finding in sorted({f for visit in visits for f in visit}):
        phrase, shown = canonical_phrase(finding), [finding in visit for visit in visits]
        steps = [drawn_change(a, b).get(finding) for a, b in pairwise(visits)]
        if sum(shown) == len(shown) - shown.index(True):
            yield "single emergence", f"T{shown.index(True) + 1}", f"At which visit is {phrase} first seen?"
        for n, state in enumerate(steps, start=1):
            if state is not None:
                yield "interval change", state, f"What has become of the {phrase} from T{n} to T{n + 1}?"
        course = _course(shown, steps)
        if course is not None:
            yield "course", course, f"What is the course of the {phrase} from T1 to T{VISITS}?"


def _course(shown: list[bool], steps: list[str | None]) -> str | None:
    kinds = set(steps)
    if all(shown):
        if kinds == {"stable"}:
            return "stays"
        if kinds <= {"stable", "worse"}:
            return "grows"
        return "shrinks" if kinds <= {"stable", "better"} else None
    if None in kinds and all(a or not b for a, b in pairwise(shown)) and shown[0]:
        return "goes"
    if shown[-1] and all(b or not a for a, b in pairwise(shown)):
        return "comes"
    return "goes" if shown[0] and all(a or not b for a, b in pairwise(shown)) else None
