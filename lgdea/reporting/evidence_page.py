"""One self-contained HTML page about an extraction: its counts, and reports, the most informative ones first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from lgdea.annotation.compare_runs import TIERS, Pair, RunComparison, compare_runs, describe
from lgdea.annotation.export_review import report_texts, reports_read
from lgdea.annotation.gold_standards import GoldCounts
from lgdea.annotation.scoring import count_against_gold
from lgdea.annotation.unit_matching import units_by_report
from lgdea.evidence.coverage import reports_asked
from lgdea.evidence.io import read_evidence
from lgdea.evidence.layout import report_sentences, sentence_line
from lgdea.records.archive import Archive
from lgdea.reporting.counts import ASSERTIONS, count_evidence
from lgdea.reporting.evidence_counts import (
    ExtractionSummary,
    GoldError,
    GoldRow,
    count_reasons,
    count_run,
    gold_errors,
    gold_rows,
    reads_by_layout,
)
from lgdea.reporting.evidence_payload import Content, choose, payload
from lgdea.reporting.page_file import claim_page
from lgdea.reporting.template import fill
from lgdea.runs import now, write_text
from lgdea.vocabulary import load_vocabulary

_TOP = 12  # disagreements on the page's own lists
_PER_FINDING = 2  # of these with the same finding
_BARS = 24  # findings shown at once
_CLASSES = 20  # classes of the gold shown at once


def build_evidence_page(
    evidence: str | Path,
    archive: Archive,
    out: str | Path,
    *,
    gold: str | None = None,
    against: str | Path | None = None,
    limit: int = 2000,
    seed: int = 0,
    overwrite: bool = True,
) -> Path:
    """Write the page.

    Args:
        evidence: Evidence folder.
        archive: The archive that it was extracted from.
        out: HTML file to write.
        gold: A gold standard as in :func:`lgdea.annotation.scoring.score`.
        against: Another evidence folder of the same archive.
        limit: How many reports the page holds at most. Those that differ from the gold or from the other run, or that
            have refused units, come first; the rest are drawn so that every finding is represented.
        seed: Of that draw.
        overwrite: Whether a file that is no page of the same folders is replaced.

    Returns:
        ``out``.

    Raises:
        UsageError: A folder is missing or unfinished, or the archive does not hold the gold.
        DataError: A file is damaged.
    """
    out = Path(out)
    folders = [Path(evidence), *([] if against is None else [Path(against)])]
    end = claim_page(out, [*folders, archive.folder, gold], overwrite)
    names = _names(folders)
    asked = [reports_asked(folder, archive) for folder in folders]
    runs = [
        count_run(name, folder, read_evidence(folder), len(reports))
        for name, folder, reports in zip(names, folders, asked, strict=True)
    ]
    comparison = None if gold is None else count_against_gold(runs[0].units, gold, archive, asked[0])
    difference = None
    if len(runs) == 2:
        difference = compare_runs(runs[0].units, runs[1].units, reports_read(folders, archive))
    whole = report_texts(archive)
    texts = {report: whole[report] for report in asked[0]}
    content = replace(_content(runs, texts, comparison, difference), by_layout=reads_by_layout(folders[0]))
    chosen = choose(content, limit, seed)
    context = {
        "title": f"Evidence of {names[0]}",
        "generated": now(),
        "archive": archive.name,
        "runs": runs,
        "reasons": [(run, count_reasons(run.rejects)) for run in runs],
        "assertions": ASSERTIONS,
        "evidence": [count_evidence(run.units, top=len(set(run.units["finding"]))) for run in runs],
        "bars": _BARS,
        "classes_shown": _CLASSES,
        "gold": None if gold is None else _gold_name(gold),
        "comparison": comparison,
        "gold_rows": [] if comparison is None else gold_rows(comparison),
        "gold_total": None if comparison is None else _total(comparison),
        "gold_worst": _with_sentences(content, comparison),
        "difference": difference,
        "tiers": [] if difference is None else _tiers(difference),
        "tier_text": TIERS,
        "top": [] if difference is None else _first(difference),
        "per_finding": _PER_FINDING,
        "sections": sorted({s for run in runs for s in run.units["section"]}),
        "alignments": sorted({a for run in runs for a in run.units["alignment"]}),
        "findings": sorted({f for run in runs for f in run.units["finding"]}),
        "held": len(chosen),
        "all_reports": len(content.texts),
        "ranked": len(content.ranked),
        "seed": seed,
        "data": payload(content, chosen, names, None if gold is None else _gold_name(gold)),
    }
    styles, scripts = ["style.css", "evidence_page.css"], ["tip.js", "evidence_page.js"]
    write_text(out, fill("evidence_page.html.j2", styles=styles, scripts=scripts, **context) + end)
    return out


def _content(
    runs: Sequence[ExtractionSummary],
    texts: dict[str, str],
    comparison: GoldCounts | None,
    difference: RunComparison | None,
) -> Content:
    errors = [] if comparison is None else [e for e in gold_errors(comparison) if e.report_id in texts]
    pairs: dict[str, list[Pair]] = {}
    if difference is not None:
        for pair in difference.pairs:
            pairs.setdefault(pair.report_id, []).append(pair)
    for report, units in units_by_report(runs[0].units).items():
        # Reports that the other run has not read, and all of them when there is no other run.
        pairs.setdefault(report, [Pair(report, "same", unit, unit) for unit in units])
    rejects = [(n, r) for n, run in enumerate(runs) for r in run.rejects if r.reason != "empty_report"]
    differing = [] if difference is None else list(difference.differing)
    urgent = [p.report_id for p in differing if p.tier not in ("repeat", "negative")]
    ranked = dict.fromkeys(
        [*urgent, *(e.report_id for e in errors), *(r.report_id for _, r in rejects), *(p.report_id for p in differing)]
    )
    members = {} if comparison is None else dict(zip(comparison.classes, comparison.members, strict=True))
    return Content(texts, pairs, errors, rejects, [r for r in ranked if r in texts], members)


def _names(folders: Sequence[Path]) -> list[str]:
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else ["A", "B"]


def _gold_name(gold: str) -> str:
    return Path(gold).name


def _total(comparison: GoldCounts) -> GoldRow:
    """Counts over all classes that the gold's micro average has."""
    inner = [c for c, name in enumerate(comparison.classes) if name not in comparison.excluded_from_averages]
    return GoldRow("micro", *(int(n) for n in comparison.counts[:, inner].sum(axis=(0, 1))))


def _tiers(difference: RunComparison) -> list[tuple[str, str, int]]:
    counts = pd.Series([p.tier for p in difference.differing], dtype=object).value_counts()
    return [(tier, text, int(counts.get(tier, 0))) for tier, text in TIERS.items()]


def _first(difference: RunComparison) -> list[tuple[Pair, int, str, str]]:
    """The differences to read first, how many read alike, and both readings; no finding fills the list."""
    seen: Counter[str] = Counter()
    chosen = []
    for pair, alike in difference.distinct():
        seen[pair.finding] += 1
        if seen[pair.finding] <= _PER_FINDING:
            chosen.append((pair, alike, describe(pair.a), describe(pair.b)))
    return chosen[:_TOP]


def _with_sentences(content: Content, comparison: GoldCounts | None) -> list[tuple[GoldError, str]]:
    """The first disagreements with the gold and the sentence of each that explains it best."""
    if comparison is None:
        return []
    seen: Counter[str] = Counter()
    result = []
    for error in content.errors:
        seen[error.name] += 1
        if seen[error.name] <= _PER_FINDING:
            result.append((error, _sentence(content, error)))
    return result[:_TOP]


def _sentence(content: Content, error: GoldError) -> str:
    """Sentence of a present unit of the class; else the first sentence that names the class."""
    text, members = content.texts[error.report_id], set(content.members[error.name])
    units = [p.a for p in content.pairs.get(error.report_id, ()) if p.a is not None and p.a.finding in members]
    if units:
        unit = min(units, key=lambda u: u.assertion != "present")
        return sentence_line(text, unit.start, unit.end)
    findings = load_vocabulary().findings
    terms = {word.lower() for f in members for word in (findings[f].name, *findings[f].synonyms)}
    for start, end in report_sentences(text):
        if any(word in text[start:end].lower() for word in terms):
            return sentence_line(text, start, end)
    return ""
