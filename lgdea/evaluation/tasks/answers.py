"""Text of answers: right options, agreement of what is stated, BLEU, ROUGE, METEOR and plug-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lgdea.comparison.questions.scoring import complete, is_right, read_label, stated_label, statements_of
from lgdea.evaluation.metrics import answers as metrics
from lgdea.evaluation.metrics import text as text_metrics
from lgdea.evaluation.metrics.statements import Placed, statement_counts
from lgdea.evaluation.results.result import Result, Value, values
from lgdea.evaluation.tasks.answers_references import Reference, ReferenceSet
from lgdea.statistics.bootstrap import cluster_bootstrap

EXTRA = "pip install 'lgdea[text]'"


def score_answers(
    asked: ReferenceSet,
    answers: Mapping[str, str],
    *,
    model: str = "answers",
    allow_missing: bool = False,
    bootstrap_replicates: int = 1000,
    seed: int = 0,
) -> Result:
    """Score the text of answers.

    The result's items are ``qid, patient_id, form, class, state``, ``answered``, ``accuracy`` and ``set_accuracy`` (1,
    0, or NaN where there is no option to choose), the counts ``evidence_FACET_hits|false|missed``, those of BLEU, and
    the scores of ROUGE, METEOR and plug-ins. No text of a report or an answer stands in it.

    Args:
        asked: What answers are scored against.
        answers: Id to text.
        model: Name of what has answered.
        allow_missing: If true, what has no answer counts as wrong; else it is refused.
        bootstrap_replicates: Bootstrap replicates of the intervals; 0 for none.
        seed: Seed of the bootstrap.

    Raises:
        DataError: Answers are missing or to something else.
    """
    references = asked.references
    missing = complete([r.qid for r in references], dict(answers), allow_missing=allow_missing)
    said = [answers.get(r.qid, "") for r in references]
    items = _items(references, said, answers)
    texts, notes = _texts(said, [r.text for r in references])
    items = pd.concat([items, texts], axis=1)
    settings = {"replicates": bootstrap_replicates, "seed": seed}
    overall = _values(items, **settings)
    against = "reference" if all(r.true is None for r in references) else "evidence"
    return Result(
        task="answers",
        definition="answers-v1",
        model=model,
        archive=asked.archive,
        split=asked.split,
        metrics=overall,
        per_class={name: _values(items[rows], **settings) for name, rows in metrics.groups_of(items)},
        config={"bootstrap_replicates": bootstrap_replicates, "seed": seed, "allow_missing": allow_missing,
                "statements": against},
        items=items,
        notes=[*_told(references, said, missing), *asked.notes, *notes],
    )  # fmt: skip


def _items(references: list[Reference], said: list[str], answers: Mapping[str, str]) -> pd.DataFrame:
    right = {r.qid: _right(r, text) for r, text in zip(references, said, strict=True)}
    rows = []
    for reference, text in zip(references, said, strict=True):
        question = reference.question
        twin = right.get(question.twin or "", np.nan) if question is not None else np.nan
        row: dict[str, Any] = {
            "qid": reference.qid,
            "patient_id": reference.patient,
            "form": "" if question is None else f"{question.kind}/{question.form}",
            "class": reference.finding,
            "state": reference.state,
            "answered": reference.qid in answers,
            "accuracy": right[reference.qid],
            "set_accuracy": np.nan if np.isnan(twin) else min(right[reference.qid], twin),
        }
        for facet, counts in statement_counts(*_statements(reference, text)).items():
            row |= dict(zip(metrics.evidence_columns(facet), counts, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def _right(reference: Reference, text: str) -> float:
    return np.nan if reference.question is None else float(is_right(reference.question, text))


def _statements(reference: Reference, text: str) -> tuple[Sequence[Placed], Sequence[Placed]]:
    """What the answer states and what is true; image by image where both say of which image."""
    question = reference.question
    found = statements_of(text, question, None if question is None else stated_label(question, text))
    if reference.true is not None:
        if found.captioned and question is not None:
            return found.apart(), reference.true
        return found.pooled(), [(0, unit) for _, unit in reference.true]
    wanted = statements_of(
        reference.text, question, None if question is None else stated_label(question, question.answer)
    )
    if found.captioned and wanted.captioned:
        return found.apart(), wanted.apart()
    return found.pooled(), wanted.pooled()


def _texts(said: list[str], references: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Columns of the text metrics, and notes on what could not be used."""
    columns: dict[str, Any] = {}
    notes = []
    lacking = text_metrics.missing_packages()
    if lacking:
        notes.append(f"no BLEU, ROUGE and METEOR: {', '.join(lacking)} not installed; {EXTRA}")
    else:
        counts = text_metrics.bleu_counts(said, references)
        columns |= {name: counts[:, k] for k, name in enumerate(text_metrics.BLEU_COLUMNS)}
        columns |= text_metrics.rouge(said, references)
        columns["meteor"] = text_metrics.meteor(said, references)
    plugins, told = text_metrics.plugin_scores(said, references)
    columns |= {f"{metrics.PLUGIN}{name}": scores for name, scores in plugins.items()}
    return pd.DataFrame(columns), notes + told


def _values(items: pd.DataFrame, *, replicates: int, seed: int) -> dict[str, Value]:
    names = metrics.metrics_of(items)
    interval = cluster_bootstrap(
        metrics.answers_statistic(items, names), items["patient_id"].to_numpy(), replicates=replicates, seed=seed
    )
    return values(names, interval, metrics.counts_of(items, names), [metrics.definition_of(name) for name in names])


def _told(references: list[Reference], said: list[str], missing: list[str]) -> list[str]:
    total = len(references)
    notes = [f"{total:,} answers about {len({r.patient for r in references}):,} patients"]
    if missing:
        notes.append(f"{len(missing):,} of {total:,} have no answer and count as wrong, first {missing[0]}")
    empty = sum(not text.strip() for text in said) - len(missing)
    if empty:
        notes.append(f"{empty:,} of {total:,} answers are empty")
    chosen = [r for r in references if r.question is not None and r.question.form != "yes-no"]
    texts = dict(zip((r.qid for r in references), said, strict=True))
    silent = sum(read_label(r.question, texts[r.qid]) is None for r in chosen if r.question is not None)
    if silent:
        notes.append(f"{silent:,} of {len(chosen):,} answers decide for no option, or for several, and count as wrong")
    return notes
