"""Balanced questions from units: by answer, finding, position and length of the right option.

Every unit gives a question and its twin, the same images in the other order with the mirrored answer. So of two images
that have changed, "worse" is as often right as "better", and a reader that ignores the order is right in one of two.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from lgdea.comparison.change.states import MIRROR, STATES
from lgdea.comparison.questions.question import WHICH, Form, Question, Unit, ask_choice, ask_open, ask_yes_no
from lgdea.errors import DataError

GROUPS = {
    "change": {"new": "come and go", "resolved": "come and go", "worse": "grow and shrink", "better": "grow and shrink",
               "stable": "stay"},
    "difference": {"first": "one", "second": "one", "both": "both", "neither": "neither"},
}  # fmt: skip
"""Labels that are each other's mirror form a group."""
WHOLE = {"change": ("come and go", "grow and shrink", "stay"), "difference": ("one", "both", "neither")}
NEGATIVE = {"stay": ("grow and shrink", "come and go"), "both": ("one", "neither")}
"""Groups whose units answer no to the question that a group's own units, both ways, answer yes."""
YES_LABEL = {"come and go": "new", "grow and shrink": "worse", "stay": "stable", "one": "first", "both": "both"}


def build_questions(units: Iterable[Unit], forms: Iterable[Form], *, seed: int = 0) -> tuple[list[Question], list[str]]:
    """Make a balanced set.

    Open and 4-option questions take the findings of which there are units of every group, as many of each: a state is
    as often right as another, for every finding. Yes/no questions take, for each finding and question, as many that are
    true as are not.

    Args:
        units: Pairs with what is true of them.
        forms: Forms of questions.
        seed: Seed of the draws.

    Returns:
        The questions, and notes on what was left out.

    Raises:
        DataError: Nothing can be balanced.
    """
    rng = np.random.default_rng([seed, 3])
    units = list(units)
    pools: dict[tuple[str, str], dict[str, list[Unit]]] = defaultdict(lambda: defaultdict(list))
    for i in rng.permutation(len(units)):
        unit = units[int(i)]
        pools[unit.kind, unit.finding][GROUPS[unit.kind][unit.label]].append(unit)
    questions: list[Question] = []
    notes: list[str] = []
    for kind in sorted({kind for kind, _ in pools}):
        mine = {finding: pool for (k, finding), pool in sorted(pools.items()) if k == kind}
        for form in forms:
            found = list(_yes_no(kind, mine)) if form == "yes-no" else list(_of_all(kind, form, mine, rng))
            questions += found
            asked = {question.finding for question in found}
            left = sorted(set(mine) - asked)
            if left:
                notes.append(f"{kind}, {form}: too few units to balance {len(left)} findings: {', '.join(left)}")
    if not questions:
        what = ", ".join(sorted({unit.finding for unit in units})) or "no finding"
        raise DataError(
            f"nothing to ask: the pairs hold too few different answers about {what}",
            remedy="take another split or more studies; a finding that never changes cannot be balanced",
        )
    return questions, notes


def _of_all(
    kind: str, form: str, pools: dict[str, dict[str, list[Unit]]], rng: np.random.Generator
) -> Iterator[Question]:
    """Open or 4-option questions: of each finding as many units that stay (and of any other group) as the rest."""
    # A group of two labels gives each of them one question per unit; one that is its own mirror gives two of the same.
    sizes = {
        f: min(*(len(pool[g]) * (2 if g in _SELF else 1) for g in WHOLE[kind]), 24) // 2 * 2
        for f, pool in pools.items()
    }
    count = _common(sizes)
    position = 0
    for finding in (f for f, size in sizes.items() if count and size >= count):
        for group in WHOLE[kind]:
            for n, unit in enumerate(pools[finding][group][: count // 2 if group in _SELF else count]):
                first = unit if unit.label not in ("resolved", "better", "second") else unit.exchanged()
                pair = (first, first.exchanged())
                if form == "open":
                    yield from _twins(pair, "open", [ask_open(u) for u in pair])
                    continue
                options = _options(kind, first.label, n, position, rng)
                mirrored = [_mirror(kind, option) for option in options]
                position += 1
                yield from _twins(pair, "choice", [ask_choice(pair[0], options), ask_choice(pair[1], mirrored)])


_SELF = ("stay", "both", "neither")


def _options(kind: str, right: str, number: int, position: int, rng: np.random.Generator) -> list[str]:
    """Four labels with the right one at ``position``; of five states each wrong one is left out as often."""
    labels = list(STATES if kind == "change" else WHICH)
    wrong = [label for label in labels if label != right]
    if len(wrong) > 3:
        wrong.pop(number % len(wrong))
    options = [wrong[int(i)] for i in rng.permutation(3)]
    options.insert(position % 4, right)
    return options


def _mirror(kind: str, label: str) -> str:
    return MIRROR[label] if kind == "change" else {"first": "second", "second": "first"}.get(label, label)


def _yes_no(kind: str, pools: dict[str, dict[str, list[Unit]]]) -> Iterator[Question]:
    for pool in pools.values():
        for group in WHOLE[kind]:
            asked = YES_LABEL.get(group)
            if asked is None:
                continue
            if group not in NEGATIVE:  # the twin of a yes is a no
                for unit in pool[group][:12]:
                    first = unit if unit.label == asked else unit.exchanged()
                    pair = (first, first.exchanged())
                    yield from _twins(pair, "yes-no", [ask_yes_no(u, asked) for u in pair])
                continue
            others = [unit for other in NEGATIVE[group] for unit in pool[other]]
            count = min(len(pool[group]), len(others), 6)
            for unit in [*pool[group][:count], *others[:count]]:
                pair = (unit, unit.exchanged())
                yield from _twins(pair, "yes-no", [ask_yes_no(u, asked) for u in pair])


def _common(sizes: dict[str, int]) -> int:
    """Units per finding and group that give the most questions, the same for every finding that has as many."""
    tried = {size: size * sum(other >= size for other in sizes.values()) for size in sizes.values() if size >= 2}
    return max(tried, key=lambda size: (tried[size], size)) if tried else 0


def _twins(pair: tuple[Unit, Unit], form: str, asked: list[tuple[str, list[str], str]]) -> Iterator[Question]:
    stem = _stem(pair[0], form, asked[0])
    for n, (unit, (question, options, answer)) in enumerate(zip(pair, asked, strict=True)):
        yield Question(
            f"{stem}-{n}", unit.kind, form, unit.finding, unit.label, list(unit.images), list(unit.image_ids),
            list(unit.patients), unit.days, question, options, answer, unit.reason, f"{stem}-{1 - n}",
        )  # fmt: skip


def _stem(unit: Unit, form: str, asked: tuple[str, list[str], str]) -> str:
    import hashlib

    text = "\x1f".join([unit.kind, form, *unit.image_ids, unit.finding, asked[0], *asked[1]])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def describe(questions: list[Question]) -> dict[str, dict[str, dict[str, int]]]:
    """Counts of answers, labels, findings and right positions, by kind and form."""
    told: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for question in questions:
        name = f"{question.kind}/{question.form}"
        for what in ("answer", "label", "finding"):
            told[name][what][getattr(question, what)] += 1
    return {name: {what: dict(sorted(c.items())) for what, c in parts.items()} for name, parts in told.items()}
