"""Metrics of generated text against a reference: BLEU, ROUGE and METEOR of kept libraries, and plug-ins.

A plug-in is an entry point of the group ``lgdea.text_metrics``: a function of N hypotheses and N references that gives,
by name, N scores each, higher is better. ``radgraph`` and ``ratescore`` are used when their packages are installed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lgdea.errors import DataError
from lgdea.statistics.bootstrap import Statistic

Floats = NDArray[np.float64]
TextMetric = Callable[[Sequence[str], Sequence[str]], Mapping[str, Sequence[float]]]
"""N hypotheses and N references to N scores by name."""
GROUP = "lgdea.text_metrics"
NEEDED = ("sacrebleu", "rouge_score", "nltk")
ROUGE = {"rouge1": "rouge-1", "rouge2": "rouge-2", "rougeL": "rouge-l"}
BLEU_COLUMNS = (*(f"bleu_correct_{n}" for n in range(1, 5)), *(f"bleu_total_{n}" for n in range(1, 5)),
                "bleu_length", "bleu_reference")  # fmt: skip


def missing_packages() -> list[str]:
    """Packages of ``lgdea[text]`` that are not installed."""
    return [name for name in NEEDED if find_spec(name) is None]


def bleu_counts(hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
    """Sufficient statistics of BLEU, (N, 10): n-grams that are right and their number for n = 1 to 4, both lengths.

    As sacrebleu counts them: tokeniser 13a, lower case.

    Args:
        hypotheses: N texts.
        references: Their N references.
    """
    from sacrebleu.metrics import BLEU

    metric = BLEU(lowercase=True)
    rows = []
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        score = metric.corpus_score([_line(hypothesis)], [[_line(reference)]])
        rows.append([*score.counts, *score.totals, score.sys_len, score.ref_len])
    return np.array(rows, np.float64).reshape(len(rows), 10)


def corpus_bleu(counts: ArrayLike) -> Statistic:
    """The statistic "BLEU of the corpus", in [0, 1]: weights (R, N) to (R,); exponential smoothing, as sacrebleu.

    Args:
        counts: (N, 10) of :func:`bleu_counts`.
    """
    table = np.asarray(counts, np.float64)

    def statistic(weights: Floats) -> Floats:
        from sacrebleu.metrics import BLEU

        sums = np.rint(weights @ table).astype(int)
        values = []
        for row in sums:
            score = BLEU.compute_bleu(
                row[:4].tolist(), row[4:8].tolist(), int(row[8]), int(row[9]), smooth_method="exp"
            )
            values.append(score.score / 100 if row[9] else np.nan)
        return np.array(values)

    return statistic


def rouge(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Floats]:
    """F1 of ROUGE-1, ROUGE-2 and ROUGE-L with Porter's stemmer, (N,) each, as rouge-score gives them.

    Args:
        hypotheses: N texts.
        references: Their N references.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE), use_stemmer=True)
    scores = [scorer.score(r, h) for h, r in zip(hypotheses, references, strict=True)]
    return {name: np.array([score[name].fmeasure for score in scores]) for name in ROUGE}


def meteor(hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
    """METEOR with exact and stemmed matches (N,), as NLTK gives it.

    Without synonyms: WordNet is no package, and a value must not depend on what is on the machine.

    Args:
        hypotheses: N texts.
        references: Their N references.
    """
    from nltk.translate.meteor_score import single_meteor_score

    words = ([re.findall(r"\w+", text.lower()) for text in texts] for texts in (hypotheses, references))
    pairs = zip(*words, strict=True)
    scores = [single_meteor_score(r, h, wordnet=_NoSynonyms()) if r and h else 0.0 for h, r in pairs]
    return np.array(scores, np.float64)


class _NoSynonyms:
    def synsets(self, _word: str) -> list[Any]:
        """None: no word has a synonym."""
        return []


def plugin_scores(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[dict[str, Floats], list[str]]:
    """Scores of every installed plug-in, (N,) by name, and notes on those that could not be used.

    Args:
        hypotheses: N texts.
        references: Their N references.

    Raises:
        DataError: A plug-in gives another number of scores than there are texts, or the name of another's score.
    """
    found: dict[str, Floats] = {}
    notes = []
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda e: e.name):
        try:
            scores = entry.load()(list(hypotheses), list(references))
        except ImportError as error:
            if entry.dist is None or entry.dist.name != "lgdea":  # ours are for packages that few have installed
                notes.append(f"the plug-in {entry.name} cannot be used: it needs {error.name or error}")
            continue
        except Exception as error:
            notes.append(f"the plug-in {entry.name} failed: {type(error).__name__}: {error}")
            continue
        for name, values in scores.items():
            column = np.asarray(values, np.float64)
            if column.shape != (len(hypotheses),):
                raise DataError(
                    f"the plug-in {entry.name} gave {name} of shape {column.shape} for {len(hypotheses)} texts",
                    remedy="one score for each text",
                )
            if name in found:
                raise DataError(f"two plug-ins give scores called {name}", remedy="uninstall one of them")
            found[name] = column
    return found, notes


def radgraph_f1(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Sequence[float]]:
    """RadGraph-F1, simple, partial and complete (Delbrouck et al. 2022), where ``radgraph`` is installed.

    Args:
        hypotheses: N texts.
        references: Their N references.
    """
    from radgraph import F1RadGraph

    _, rewards, _, _ = F1RadGraph(reward_level="all")(refs=list(references), hyps=list(hypotheses))
    return dict(zip(("radgraph_simple", "radgraph_partial", "radgraph_complete"), rewards, strict=True))


def ratescore(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Sequence[float]]:
    """RaTEScore (Zhao et al. 2024), where ``RaTEScore`` is installed.

    Args:
        hypotheses: N texts.
        references: Their N references.
    """
    from RaTEScore import RaTEScore

    return {"ratescore": list(RaTEScore().compute_score(list(hypotheses), list(references)))}


def _line(text: str) -> str:
    return " ".join(text.split())
