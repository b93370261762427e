"""A dry run's words: what was understood, what is wrong, what the archive would contain. Report text is never shown."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lgdea.records.adapters.base import Explanation
from lgdea.records.adapters.table.finder import shown_path
from lgdea.records.adapters.table.header import list_names, shorten
from lgdea.records.adapters.table.parse import ParsedTable, mapping_yaml
from lgdea.records.adapters.table.problems import shown
from lgdea.records.schema import TABLES

_TEXT = ("report", "sections")  # fields whose cells are private
_WIDE = 40  # columns of which unused names are listed


def explanation_of(parsed: ParsedTable) -> Explanation:
    """Facts for machines and lines for people."""
    facts = {
        "table": str(parsed.source.file),
        "rows": len(parsed.source.frame),
        "dataset": parsed.mapping.dataset,
        "fields": _fields(parsed),
        "unused_columns": _unused(parsed),
        "images": vars(parsed.images),
        "reports": _reports(parsed),
        "labels": vars(parsed.labels) if parsed.mapping.labels else None,
        "boxes": vars(parsed.boxes) if parsed.boxes else None,
        "notes": parsed.notes,
        "problems": parsed.problems.facts(),
        "archive": _archive(parsed),
        "mapping": mapping_yaml(parsed.mapping),
        "would_build": _would_build(parsed),
    }
    return Explanation(facts, _lines(facts), bool(facts["would_build"]))


def _would_build(parsed: ParsedTable) -> bool:
    if parsed.tables["studies"].empty or parsed.problems.undecided:
        return False
    return not parsed.problems.found or parsed.mapping.on_problem == "leave_out"


def _fields(parsed: ParsedTable) -> list[dict[str, Any]]:
    """Per field: its columns, whether they were guessed, how many cells say something, and three of them."""
    result = []
    for name, columns in parsed.mapping.named_columns().items():
        if name in ("labels", "boxes"):
            continue
        fact: dict[str, Any] = {"field": name, "columns": columns, "guessed": name in parsed.guessed}
        if name in _TEXT:
            lengths = {column: parsed.cells.frame[column].str.strip().str.len() for column in columns}
            fact["filled"] = {column: int((length > 0).sum()) for column, length in lengths.items()}
        else:
            cells = [parsed.cells.plain(column, name) for column in columns]
            filled = [cell[cell != ""] for cell in cells]
            distinct = pd.concat(filled).drop_duplicates()
            fact["filled"] = {column: len(cell) for column, cell in zip(columns, filled, strict=True)}
            fact |= {"distinct": len(distinct), "examples": [_example(name, cell) for cell in distinct.head(3)]}
        result.append(fact)
    return result


def _example(field: str, cell: str) -> str:
    return shown_path(cell) if field in ("image", "report_file") else shown(cell)


def _unused(parsed: ParsedTable) -> list[str]:
    used = {column for columns in parsed.mapping.named_columns().values() for column in columns}
    return [shorten(str(column)) for column in parsed.source.frame.columns if column not in used]


def _reports(parsed: ParsedTable) -> dict[str, Any]:
    text = parsed.tables["reports"]["text"]
    if text.empty:
        return {"studies_with_text": 0}
    lengths = text.str.len()
    return {
        "studies_with_text": len(text),
        "characters": {"min": int(lengths.min()), "median": int(lengths.median()), "max": int(lengths.max())},
        "word_for_word_repeats": int(text.duplicated().sum()),
        "rows_that_repeat_their_study": parsed.repeated_reports,
    }


def _archive(parsed: ParsedTable) -> dict[str, Any]:
    tables = {name: len(parsed.tables[name]) for name in TABLES}
    studies = parsed.tables["studies"]
    split = studies["split"].value_counts(dropna=True).to_dict() if "split" in studies else {}
    both = set(parsed.tables["images"]["study_id"]) & set(parsed.tables["reports"]["study_id"])
    return {
        **tables,
        "patients": int(studies["patient_id"].nunique()),
        "studies_with_image_and_report": len(both),
        "split": {str(k): int(v) for k, v in split.items()},
    }


def _lines(facts: dict[str, Any]) -> list[str]:
    lines = [f"{facts['table']}: {facts['rows']:,} rows, dataset {facts['dataset']!r}", "", "Fields"]
    lines += [_field_line(fact) for fact in facts["fields"]]
    unused = facts["unused_columns"]
    if unused:
        lines.append(f"  not used: {list_names(unused, _WIDE)}")
    lines += [*_image_lines(facts["images"]), *_report_lines(facts["reports"])]
    lines += _label_lines(facts["labels"]) if facts["labels"] else []
    lines += _box_lines(facts["boxes"]) if facts["boxes"] else []
    if facts["notes"]:
        lines += ["", "Notes", *(f"  {note}" for note in facts["notes"])]
    lines += ["", "Problems", *(_problem_line(problem) for problem in facts["problems"])]
    if not facts["problems"]:
        lines.append("  none")
    lines += ["", "The archive would contain", *_archive_lines(facts["archive"])]
    lines += ["", "Mapping (save it as columns.yaml, change it, give it as --option mapping=columns.yaml)"]
    return lines + [f"  {line}" for line in facts["mapping"].splitlines()]


def _field_line(fact: dict[str, Any]) -> str:
    name = fact["field"] + (" (guessed)" if fact["guessed"] else "")
    columns = ", ".join(f"{column}: {filled:,} filled" for column, filled in fact["filled"].items())
    if "examples" not in fact:
        return f"  {name:<20} {columns}"
    return f"  {name:<20} {columns}, {fact['distinct']:,} distinct, such as {', '.join(fact['examples'])}"


def _image_lines(images: dict[str, Any]) -> list[str]:
    if not images["named"]:
        return []
    counts = ", ".join(f"{images[key]:,} {key}" for key in ("named", "found", "missing", "unreadable"))
    return ["", "Images", f"  {counts}, below {images['root']}"]


def _report_lines(reports: dict[str, Any]) -> list[str]:
    if not reports["studies_with_text"]:
        return []
    size = reports["characters"]
    return [
        "",
        "Reports",
        f"  {reports['studies_with_text']:,} studies with text of {size['min']:,} to {size['max']:,} characters"
        f" (median {size['median']:,}), {reports['word_for_word_repeats']:,} repeat another one word for word",
    ]


def _label_lines(labels: dict[str, Any]) -> list[str]:
    names: dict[str | None, list[str]] = {}
    for word, finding in labels["source"].items():
        names.setdefault(finding, []).append(word)
    lines = ["", f"Labels of the {labels['level']}, labeller {labels['labeller']!r}"]
    for finding, counts in labels["values"].items():
        shown = ", ".join(f"{n:,} x {value}" for value, n in counts.items()) or "no value"
        lines.append(f"  {', '.join(names.get(finding, []))} -> {finding}: {shown}")
    if None in names:
        lines.append(f"  not in the vocabulary: {', '.join(names[None][:_WIDE])}")
    return lines


def _box_lines(boxes: dict[str, Any]) -> list[str]:
    counts = ", ".join(f"{n:,} {finding}" for finding, n in boxes["findings"].items()) or "none"
    return ["", "Boxes", f"  {boxes['table']}: {boxes['rows']:,} rows in {boxes['unit']}: {counts}"]


def _problem_line(problem: dict[str, Any]) -> str:
    rows = ", ".join(map(str, problem["rows"][:5])) + (" ..." if problem["count"] > 5 else "")
    where = f"  {problem['kind']}: {problem['count']:,} x, {problem['file']} row {rows}: {problem['detail']}; "
    after = problem["consequence"]
    return where + problem["remedy"] + (f"; with on_problem=leave_out {after}" if after else "")


def _archive_lines(archive: dict[str, Any]) -> list[str]:
    tables = ", ".join(f"{archive[name]:,} {name}" for name in TABLES)
    split = ", ".join(f"{n:,} {side}" for side, n in archive["split"].items()) or "none"
    both = archive["studies_with_image_and_report"]
    return [
        f"  {tables}",
        f"  {archive['patients']:,} patients, {both:,} studies with image and report",
        f"  split: {split}",
    ]
