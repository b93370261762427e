"""The text of each study: a column, a file that a column names, or sections put together."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lgdea.errors import DataError, UsageError
from lgdea.records.adapters.table.fields import SPREADSHEET_ERROR, Cells
from lgdea.records.adapters.table.mapping import TableMapping
from lgdea.records.adapters.table.problems import RowProblems
from lgdea.records.csv_io import read_utf8

_EXCEL_CUTS = 32_767
_READ_WRONGLY = r"[ÃÂ][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
_NOTHING = ("nan", "null", "<na>")  # as programs write a cell that is empty


def report_table(
    cells: Cells, mapping: TableMapping, rows: pd.DataFrame, folder: Path, problems: RowProblems
) -> tuple[pd.DataFrame, int]:
    """Rows of ``Report`` with ``row``; and how many rows repeat their study's text.

    Text is verbatim; text of blanks alone is none. A second, different text of one study is a problem.
    """
    texts = _texts(cells, mapping, folder, problems)
    if texts is None:
        return pd.DataFrame(columns=["report_id", "study_id", "text", "language", "row"]), 0
    reports = rows[["study_id"]].assign(text=texts.loc[rows.index], row=rows.index)
    language = mapping.constants.get("language", "en")
    reports["language"] = language
    if mapping.language:
        own = cells.plain(mapping.language, "language").loc[rows.index]
        reports["language"] = own.where(own != "", language)
    reports = reports[reports["text"].str.strip() != ""]
    reports = reports.drop(index=_errors(cells, mapping, reports, problems))
    first = reports.drop_duplicates("study_id")
    later = reports.drop(first.index)
    same = first.set_index("study_id")["text"].loc[later["study_id"]].to_numpy() == later["text"].to_numpy()
    other = later[~same]
    problems.add(
        "two-reports",
        cells.file,
        other.index,
        f"the study {other['study_id'].iloc[0]!r} has another text in an earlier row" if len(other) else "",
        consequence="the study keeps its first text",
        remedy="name a study column that tells them apart, such as --option 'study=[patient column, date column]'",
    )
    return first.assign(report_id=first["study_id"]).reset_index(drop=True), int(same.sum())


def _errors(cells: Cells, mapping: TableMapping, reports: pd.DataFrame, problems: RowProblems) -> pd.Index:
    """Rows of texts that a spreadsheet's error stands in the place of, as where a text began with ``=`` or ``-``."""
    columns = [mapping.report] if mapping.report else [*mapping.section_columns().values()]
    wrong = pd.Series(False, index=reports.index)
    for column in columns:
        wrong |= cells.frame[column].loc[reports.index].str.strip().str.fullmatch(SPREADSHEET_ERROR)
    problems.add(
        "spreadsheet-error",
        cells.file,
        reports.index[wrong],
        "an error of a spreadsheet (#NAME?, #####) stands in the place of text",
        consequence="the report is left out",
        remedy="export the text again, with its column formatted as text",
    )
    return reports.index[wrong]


def text_notes(texts: pd.Series) -> list[str]:
    """What reports show of what happened to them before: cut by a spreadsheet, or decoded wrongly."""
    found = {
        "have 32,767 characters, where Excel cuts off what follows": texts.str.len() == _EXCEL_CUTS,
        "hold letters that were lost when they were decoded (U+FFFD)": texts.str.contains("\ufffd", regex=False),
        "hold pairs such as 'Ã¼', UTF-8 that was read as another encoding": texts.str.contains(_READ_WRONGLY),
        "are a word for nothing": texts.str.strip().str.lower().isin(_NOTHING),
    }
    return [f"{int(those.sum()):,} reports {what}" for what, those in found.items() if those.any()]


def _texts(cells: Cells, mapping: TableMapping, folder: Path, problems: RowProblems) -> pd.Series | None:
    """Text of each row, empty where there is none."""
    if mapping.report:
        return cells.frame[mapping.report]
    if mapping.report_file:
        return _from_files(cells, mapping, folder, problems)
    sections = mapping.section_columns()
    if not sections:
        return None
    text = pd.Series("", index=cells.frame.index, dtype="str")
    for name, column in sections.items():
        words = cells.frame[column].str.strip()
        words = words.where(~words.str.lower().isin(_NOTHING), "")
        line = (f"{name}: " + words).where(words != "", "")
        text = (text + "\n" + line).where((text != "") & (line != ""), text + line)
    return text


def _from_files(cells: Cells, mapping: TableMapping, folder: Path, problems: RowProblems) -> pd.Series:
    root = folder / (mapping.report_root or "")
    if not root.is_dir():
        raise UsageError("no such folder", file=root, remedy="correct report_root")
    names = cells.plain(str(mapping.report_file), "report_file").str.replace("\\", "/", regex=False)
    codes, unique = pd.factorize(names)
    texts: list[str] = []
    wrong: dict[int, str] = {}
    for place, name in enumerate(unique):
        text = ""
        if name:
            try:
                text = read_utf8(root / str(name))
            except DataError as error:
                wrong[place] = f"the report {error.file}: {error.problem}"
            except UsageError as error:
                wrong[place] = f"no report {name!r} under {root} ({error.problem})"
        texts.append(text)
    bad = names.index[pd.Series(codes).isin(wrong).to_numpy()]
    problems.add(
        "missing-report",
        cells.file,
        bad,
        next(iter(wrong.values()), ""),
        consequence="the report is left out",
        remedy="fetch it, or say where the reports are, --option report_root=FOLDER",
    )
    return pd.Series(pd.array(texts, dtype="str").take(codes), index=names.index)
