"""``lgdea extract page|diff|review|corrections|apply``: read, compare and correct evidence."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lgdea.cli.console import JsonFlag, OverwriteFlag, console, echo, show_json, show_table
from lgdea.cli.outputs import REPLACED

ArchiveOption = Annotated[Path, typer.Option(help="Archive that the evidence was extracted from.")]
_PROBLEMS_SHOWN = 20


class Selection(StrEnum):
    """Choices of the reports that a person reviews."""

    random = "random"
    disagreements = "disagreements"
    uncertain = "uncertain"


def register(app: typer.Typer) -> None:
    """Add these verbs to ``lgdea extract``."""
    for command in (page, diff, review, corrections, apply):
        app.command()(command)


def page(
    evidence: Annotated[Path, typer.Argument(help="Evidence folder.")],
    archive: ArchiveOption,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("evidence.html"),
    gold: Annotated[
        str | None, typer.Option(help="Gold to compare with: openi-14, openi-mesh, phantom, or a corrections folder.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="Another evidence folder of the same archive.")] = None,
    reports: Annotated[int, typer.Option(min=1, help="How many reports the page holds at most.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the choice of reports beyond those that differ.")] = 0,
    overwrite: OverwriteFlag = False,
    json: JsonFlag = False,
) -> None:
    """Make one self-contained HTML page of a run: counts, rejects, highlighted reports, disagreements.

    Example: `lgdea extract page evidence/rules --archive archives/openi --gold openi-14 --against evidence/model`
    """
    from lgdea.records.archive import Archive
    from lgdea.reporting.evidence_page import build_evidence_page
    from lgdea.vocabulary.extension import using_vocabulary_of

    replaced = REPLACED if out.exists() else ""
    with using_vocabulary_of(evidence, against):
        made = build_evidence_page(
            evidence, Archive.open(archive), out, gold=gold, against=against, limit=reports, seed=seed,
            overwrite=overwrite,
        )  # fmt: skip
    if json:
        show_json({}, [made])
        return
    console.print(f"page: {made}{replaced}", highlight=False)


def diff(
    first: Annotated[Path, typer.Argument(help="Evidence folder A.", metavar="A")],
    second: Annotated[Path, typer.Argument(help="Evidence folder B of the same archive.", metavar="B")],
    archive: ArchiveOption,
    top: Annotated[int, typer.Option(min=0, help="How many differences to list.")] = 20,
    json: JsonFlag = False,
) -> None:
    """Compare two extractions of the same reports; what a person should read comes first.

    Example: `lgdea extract diff evidence/rules evidence/model --archive archives/openi`
    """
    from lgdea.annotation.compare_runs import TIERS, compare_runs, describe
    from lgdea.annotation.export_review import reports_read
    from lgdea.evidence.io import read_evidence
    from lgdea.records.archive import Archive
    from lgdea.vocabulary.extension import using_vocabulary_of

    ids = reports_read([first, second], Archive.open(archive))
    with using_vocabulary_of(first, second):
        difference = compare_runs(read_evidence(first), read_evidence(second), ids)
    if json:
        show_json(difference.to_dict(top))
        return
    apart = [r for r in difference.findings if r.f1 < 1]
    rows = [
        (r.finding, r.units_a, r.units_b, r.matched, r.agreed, f"{r.f1:.3f}", _kappa(r.kappa))
        for r in (difference.overall, *apart)
    ]
    columns = ["finding", "units A", "units B", "matched", "same assertion", "F1", "kappa (reports)"]
    show_table(f"A {first}, B {second}: {len(ids):,} reports that both have read", columns, rows)
    console.print(f"and {len(difference.findings) - len(apart)} findings on which both agree throughout")
    attributes = [(name, f"{share:.3f}", n) for name, (share, n) in difference.attributes.items()]
    show_table("matched units", ["attribute", "agreement", "compared"], attributes)
    tiers = [(text, sum(p.tier == tier for p in difference.pairs)) for tier, text in TIERS.items()]
    show_table("differences", ["what differs", "units"], tiers)
    for pair, alike in difference.distinct()[:top]:
        more = f" (and {alike - 1:,} more that read the same)" if alike > 1 else ""
        what = f"{pair.report_id} {pair.finding}: {' '.join(pair.differs) or 'in one run only'}{more}"
        console.print(what, style="bold", highlight=False, markup=False)
        console.print(f"  A {describe(pair.a) or '-'}\n  B {describe(pair.b) or '-'}", highlight=False, markup=False)


def review(
    evidence: Annotated[Path, typer.Argument(help="Evidence folder.")],
    archive: ArchiveOption,
    out: Annotated[Path, typer.Option(help="CSV file to write.")] = Path("review.csv"),
    select: Annotated[Selection, typer.Option(help="Which reports; disagreements needs --against.")] = Selection.random,
    against: Annotated[Path | None, typer.Option(help="Another evidence folder of the same archive.")] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many reports at most.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    json: JsonFlag = False,
) -> None:
    """Write a spreadsheet in which a person checks evidence.

    Example: `lgdea extract review evidence/rules --archive archives/openi --out review.csv --n 50`
    """
    from lgdea.annotation.export_review import write_review
    from lgdea.errors import UsageError
    from lgdea.records.archive import Archive
    from lgdea.vocabulary.extension import using_vocabulary_of

    if out.exists():
        raise UsageError("exists, and may hold a reviewer's work", file=out, remedy="choose another --out")
    opened = Archive.open(archive)
    with using_vocabulary_of(evidence, against):
        made = write_review(evidence, opened, out, select=select.value, against=against, count=n, seed=seed)
    if json:
        show_json({"reports": made.reports, "without_units": made.without_units, "units": made.units}, [out])
        return
    console.print(
        f"{out}: {made.reports:,} reports ({made.without_units:,} without any unit), {made.units:,} units\n"
        "verdict of a unit row: correct, wrong, or fixed with the correct_ columns filled in\n"
        "verdict of a report row when the whole report is read: complete, or others_correct (units without a verdict "
        "are correct)\n"
        "missed row: fill correct_quote, correct_finding, correct_assertion; copy the row for more",
        highlight=False,
    )


def corrections(
    files: Annotated[list[Path], typer.Argument(help="Filled-in review files of one or more reviewers.")],
    archive: ArchiveOption,
    out: Annotated[Path, typer.Option(help="Corrections folder to write.")],
    lexicon: Annotated[Path | None, typer.Option(help="lexicon.yaml that the evidence was extracted with.")] = None,
    json: JsonFlag = False,
) -> None:
    """Import filled-in review files; the folder is a gold for `score --gold FOLDER`, and `apply` puts it into evidence.

    Example: `lgdea extract corrections review.csv --archive archives/openi --out corrections/openi`
    """
    from lgdea.annotation.corrections import CONFLICTS, InvalidReviewError, import_corrections
    from lgdea.records.archive import Archive
    from lgdea.vocabulary import using_vocabulary
    from lgdea.vocabulary.extension import extend_vocabulary, read_lexicon

    own = None if lexicon is None else read_lexicon(lexicon)
    try:
        with using_vocabulary(extend_vocabulary(own)):
            made = import_corrections(files, Archive.open(archive), out)
    except InvalidReviewError as error:
        for line in error.problems[:_PROBLEMS_SHOWN]:
            echo(line, err=True)
        raise
    if json:
        conflicts = [vars(c) for c in made.conflicts]
        shown = {"reports": made.reports, "units": made.units, "unfinished": list(made.unfinished)}
        show_json({**shown, "conflicts": conflicts}, [out])
        return
    console.print(f"{out}: {made.units:,} true units of {made.reports:,} reviewed reports")
    if made.unfinished:
        unfinished = f"left out, no verdict on the whole report: {', '.join(made.unfinished)}"
        console.print(unfinished, highlight=False, markup=False)
    if made.conflicts:
        left_out = len({c.report_id for c in made.conflicts})
        console.print(
            f"left out, reviewers differ on {left_out} reports; agree, correct a file, import to a new --out:"
        )
        columns = ["report", "finding", "differs", "one reviewer", "another"]
        rows = [
            (
                c.report_id,
                c.finding,
                c.differs,
                f"{c.first}: {c.first_reading or '-'}",
                f"{c.second}: {c.second_reading or '-'}",
            )
            for c in made.conflicts
        ]
        show_table(str(out / CONFLICTS), columns, rows[:_PROBLEMS_SHOWN])


def apply(
    evidence: Annotated[Path, typer.Argument(help="Evidence folder.")],
    corrections: Annotated[Path, typer.Argument(help="Folder of `lgdea extract corrections`.")],
    out: Annotated[Path, typer.Option(help="Evidence folder to write.")],
    archive: Annotated[
        Path | None, typer.Option(help="Archive of both; default: where the extraction found it.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Put corrections into evidence: a new folder, in which reviewed reports have the units that the reviewers left.

    Example: `lgdea extract apply evidence/rules corrections/openi --out evidence/corrected`
    """
    from dataclasses import asdict

    from lgdea.annotation.apply_corrections import apply_corrections

    done = apply_corrections(evidence, corrections, out, archive)
    if json:
        show_json(asdict(done), [out])
        return
    console.print(
        f"{out}: {done.reports:,} reviewed reports; of their units {done.kept:,} kept, {done.changed:,} changed, "
        f"{done.added:,} added, {done.removed:,} removed",
        highlight=False,
    )


def _kappa(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
