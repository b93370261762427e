"""``lgdea data``: from source files to an archive, and what an archive can be asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgdea.cli.console import JsonFlag, OverwriteFlag, console, echo, show_json, show_table
from lgdea.cli.outputs import REPLACED, claim
from lgdea.errors import DataError, UsageError
from lgdea.progress import show_progress

if TYPE_CHECKING:
    import pandas as pd

    from lgdea.records.adapters.base import DatasetAdapter
    from lgdea.records.archive import Archive

app = typer.Typer(help="Build, check, join and pair archives.", no_args_is_help=True)

ArchiveArgument = Annotated[Path, typer.Argument(help="Archive folder, made by `lgdea data build`.")]


@app.command()
def build(
    name: Annotated[str, typer.Argument(help="Dataset; `lgdea data list` shows them.")],
    source: Annotated[Path, typer.Argument(help="Folder of the dataset's files, or your own table.")],
    out: Annotated[Path | None, typer.Option(help="Archive folder to write.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Adapter option as key=value, e.g. studies=500 for the phantom.")
    ] = None,
    patient_key: Annotated[
        Path | None,
        typer.Option(
            help="Store keyed hashes of patients' ids; this file, outside --out, holds the key and is made if missing."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be made and what is wrong, write nothing (`table`).")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Turn a dataset's own files, or your own table, into an archive.

    `table` reads any CSV, TSV or Parquet table of images and reports; `lgdea data card table` says how.

    Example: `lgdea data build openi ~/openi --out archives/openi`

    Example: `lgdea data build table studies.csv --option mapping=columns.yaml --dry-run`
    """
    from lgdea.api.archives import build_dataset
    from lgdea.records.adapters.base import get_adapter, require_patients
    from lgdea.records.patient_key import load_patient_key

    options = _options(name, option)
    patient_key = options.pop("patient_key", patient_key)
    if dry_run:
        if patient_key is not None:
            require_patients(get_adapter(name))
            options["patient_key"] = load_patient_key(patient_key, outside=out, make=False)
        _explain(get_adapter(name), source, options, json)
        return
    if out is None:
        raise UsageError("Missing option '--out'", remedy="name the archive folder to write")
    replaced = REPLACED if (out / "_SUCCESS").exists() else ""
    archive = build_dataset(name, source, out, options, patient_key=patient_key)
    counts = {table: len(getattr(archive, table)) for table in ("studies", "images", "reports", "boxes", "labels")}
    left_out = archive.info.get("left_out", [])
    patients = _describe_patient_ids(archive)
    if json:
        show_json({**counts, "left_out": left_out, "patient_ids": patients}, [out])
    else:
        console.print(f"{out}: " + ", ".join(f"{n:,} {table}" for table, n in counts.items()) + replaced)
        if patients:
            console.print(f"patient ids: {patients}", highlight=False, soft_wrap=True)
        if left_out:
            lines = [f"  {problem['kind']}: {problem['count']:,} x, {problem['detail']}" for problem in left_out]
            echo("\n".join(["Left out:", *lines, f"  all rows are in {out / 'left_out.parquet'}"]))


def _describe_patient_ids(archive: Archive) -> str | None:
    """How the archive names its patients, where its adapter says so."""
    told = archive.info.get("patient_ids")
    if archive.patient_keys:
        return f"{told} (key {', '.join(sorted(set(archive.patient_keys.values())))})"
    return f"{told}; --patient-key FILE stores keyed hashes" if told else None


def _options(dataset: str, items: list[str] | None) -> dict[str, Any]:
    from lgdea.config import parse_value

    options: dict[str, Any] = {}
    for item in items or []:
        key, sign, value = item.partition("=")
        if not sign:
            raise UsageError(f"cannot read --option {item!r}", remedy="write it as key=value")
        if key in ("self", "source", "out"):  # what every adapter is given besides its options
            raise UsageError(f"the dataset {dataset} takes no option {key!r}", remedy="leave it out")
        options[key] = parse_value(value)
    return options


def _explain(adapter: DatasetAdapter, source: Path, options: dict[str, Any], json: bool) -> None:
    """Show what an adapter that explains itself would do; leave with 1 when the build would stop."""
    from lgdea.records.adapters.base import Explains

    if not isinstance(adapter, Explains):
        raise UsageError(f"the dataset {adapter.name} has no dry run", remedy="build it, then `lgdea data verify`")
    explanation = adapter.explain(source, **options)
    if json:
        show_json(explanation.facts)
    else:
        echo("\n".join(explanation.lines))
    if not explanation.would_build:
        remedy = "mend the rows, or add --option on_problem=leave_out to leave them out and count them"
        if any(problem.get("decision") for problem in explanation.facts["problems"]):
            remedy = "say what it asks for"
        raise DataError("the build would stop at the first problem", file=source, remedy=remedy)


@app.command("list")
def list_datasets(json: JsonFlag = False) -> None:
    """List the datasets that can be built.

    Example: `lgdea data list`
    """
    from lgdea.api.archives import list_datasets as list_names

    facts = {name: _describe_dataset(name) for name in list_names()}
    if json:
        show_json(facts)
    else:
        rows = [
            (name, fact.get("title") or fact.get("error", "-"), fact.get("licence", "-"))
            for name, fact in facts.items()
        ]
        show_table(None, ["name", "dataset", "licence"], rows)


def _describe_dataset(name: str) -> dict[str, Any]:
    """The head of a dataset's card, or why there is none: another package's fault is no reason to list nothing."""
    from lgdea.errors import LgdeaError
    from lgdea.records.adapters.base import get_adapter
    from lgdea.records.cards import card_of, load_card

    try:
        card = card_of(get_adapter(name))
        return {} if card is None else load_card(card).model_dump(exclude={"prose"})
    except LgdeaError as error:
        return {"error": str(error)}


@app.command()
def card(
    name: Annotated[str, typer.Argument(help="Dataset; `lgdea data list` shows them.")], json: JsonFlag = False
) -> None:
    """Show a dataset's card: source, licence, expected layout, known faults, split rule.

    Example: `lgdea data card nih-cxr14`
    """
    from lgdea.records.adapters.base import get_adapter, list_adapters
    from lgdea.records.cards import card_of, card_text, load_card

    known = card_of(get_adapter(name)) if name in list_adapters() else name
    if known is None:
        raise UsageError(f"the dataset {name!r} has no card", remedy="ask those who made the package that has it")
    if json:
        show_json(load_card(known).model_dump())
        return
    echo(card_text(known))


@app.command()
def verify(archive: ArchiveArgument, json: JsonFlag = False) -> None:
    """Look for what would spoil a run: unreadable images, leaking patients, boxes outside, empty or repeated reports.

    Leaves with 1 when there is an error, 0 when there are only warnings.

    Example: `lgdea data verify archives/openi`
    """
    from collections import Counter

    from lgdea.records.archive import Archive
    from lgdea.records.verify import verify as find_problems

    opened = Archive.open(archive)
    with show_progress("decoding images") as progress:
        problems = find_problems(opened, progress=progress)
    errors = sum(p.severity == "error" for p in problems)
    warnings = len(problems) - errors
    if json:
        show_json({"errors": errors, "warnings": warnings, "problems": [vars(p) for p in problems]})
    else:
        # A kind that has several remedies has several causes: an example of each.
        counts = Counter((p.severity, p.kind, p.remedy) for p in problems)
        for (severity, kind, remedy), count in sorted(counts.items(), key=lambda item: (item[0][:2], -item[1])):
            first = next(p for p in problems if (p.severity, p.kind, p.remedy) == (severity, kind, remedy))
            example = f"{first.table} {first.row}: {first.detail}; {first.remedy}"
            console.print(f"{severity}: {kind}: {count}, e.g. {example}", highlight=False)
        console.print(f"{archive}: {_count(errors, 'error')}, {_count(warnings, 'warning')}", highlight=False)
    if errors:
        raise DataError(
            f"{_count(errors, 'error')} found", file=archive, remedy="mend the source and build the archive again"
        )


@app.command()
def scrub(
    archive: ArchiveArgument,
    out: Annotated[Path, typer.Option(help="Archive folder to write.")],
    known: Annotated[
        Path | None, typer.Option(help="Text file of names to mask wherever they stand, one a line: staff, patients.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the reports.")] = 1,
    json: JsonFlag = False,
) -> None:
    """Mask likely identifiers in the reports: names, dates, numbers, addresses. No guarantee of de-identification.

    Example: `lgdea data scrub archives/ours --out archives/ours-scrubbed`

    Example: `lgdea data scrub archives/ours --known staff.txt --out archives/ours-scrubbed`
    """
    from lgdea.api.archives import scrub_archive

    with show_progress("scrubbing reports") as progress:
        made = scrub_archive(archive, out, known=known, workers=workers, progress=progress)
    facts = made.info["scrubbed"]
    if json:
        show_json(facts, [out])
        return
    show_table(None, ["type", "masks"], [(kind, f"{number:,}") for kind, number in facts["masks"].items()])
    console.print(
        f"{out}: {facts['reports_with_masks']:,} of {facts['reports']:,} reports have masks; "
        "this is no guarantee of de-identification, look at a sample",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def merge(
    archives: Annotated[list[Path], typer.Argument(help="Two or more archive folders.")],
    out: Annotated[Path, typer.Option(help="Archive folder to write.")],
    name: Annotated[str | None, typer.Option(help="Name of the new archive; default: the folder's name.")] = None,
    json: JsonFlag = False,
) -> None:
    """Join archives; ids must differ, patients of one id stay together.

    Example: `lgdea data merge archives/openi archives/nih --out archives/chest`
    """
    from lgdea.records.archive import Archive
    from lgdea.records.merge import merge as join

    merged = join([Archive.open(a) for a in archives], out, name=name or out.name)
    linked = merged.studies["study_id"].isin(merged.images["study_id"])
    linked &= merged.studies["study_id"].isin(merged.reports["study_id"])
    counts = {
        "studies": len(merged.studies),
        "patients": int(merged.studies["patient_id"].nunique()),
        "studies_with_both": int(linked.sum()),
    }
    if json:
        show_json(counts, [out])
        return
    both = f"{counts['studies_with_both']:,} of them with image and report"
    console.print(f"{out}: {counts['studies']:,} studies of {counts['patients']:,} patients, {both}", highlight=False)


@app.command()
def pair(
    archive: ArchiveArgument,
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    fraction: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Share of the linkable training patients.")
    ] = None,
    links: Annotated[
        list[Path] | None, typer.Option(help="Instead: CSV files whose rows name the links, image_id and report_id.")
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option("--except", help="Hide the links whose column `wrong` is filled in in this CSV file.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the patients' order; one seed's fractions are nested.")] = 0,
    overwrite: OverwriteFlag = False,
    json: JsonFlag = False,
) -> None:
    """Choose which studies keep their image-report link; by patient, 1% inside 5% inside 20%.

    Example: `lgdea data pair archives/phantom --fraction 0.05 --out pairing.parquet`

    Example: `lgdea data pair archives/klinik --fraction 1 --except doubts.csv --out pairing.parquet`
    """
    from lgdea.records.archive import Archive
    from lgdea.records.links import pair_links, without_wrong
    from lgdea.records.pairing import make_pairing, write_pairing

    if (fraction is None) == (not links):
        raise UsageError("which links are kept is not said, or twice", remedy="give either --fraction or --links")
    opened = Archive.open(archive)
    pairing = pair_links(opened, links or []) if fraction is None else make_pairing(opened, fraction, seed)
    if exclude is not None:
        pairing = without_wrong(pairing, exclude)
    replaced = _claim_pairing(pairing, out, overwrite)
    write_pairing(pairing, out)
    counts = pairing["state"].value_counts().to_dict()
    if json:
        show_json(counts, [out])
    else:
        told = ", ".join(f"{n:,} {state}" for state, n in sorted(counts.items()))
        training = opened.studies.loc[opened.studies["split"] == "train", "study_id"]
        hidden = pairing.loc[pairing["state"] == "unlinked", "study_id"]
        held = int((~hidden.isin(training)).sum())
        told += f" ({held:,} of them of validation and test)" if held and told.endswith("unlinked") else ""
        console.print(f"{out}: {told}{replaced}", highlight=False)


def _claim_pairing(pairing: pd.DataFrame, out: Path, overwrite: bool) -> str:
    """Refuse to write over other links, unless it is said."""
    from lgdea.records.pairing import read_pairing

    if not overwrite and out.is_file():
        try:
            if read_pairing(out).equals(pairing.reset_index(drop=True)):
                return REPLACED
        except DataError:
            pass  # something else, or damaged
    return claim(out, overwrite, "other links")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
