"""What a report or a path holds never steers the terminal, and report text is shown only when it was asked for."""

from __future__ import annotations

import ast
import csv
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lgdea import cli
from lgdea.cli.console import console, echo, show_json, show_table, stderr
from lgdea.records.adapters.openi import LABELLER
from lgdea.records.archive import write_archive
from lgdea.records.schema import Label, Report, Study
from tests.helpers.command_line import run_lgdea

TEXT = "FINDINGS: Small left effusion \x1b]0;owned\x07 [/x] here."


@pytest.fixture
def scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Score evidence that misses a labelled finding, in a report that would set the terminal's title."""
    folder = tmp_path / "archive"
    write_archive(
        folder,
        "openi",
        {
            "studies": [Study(study_id="openi:1", patient_id="openi:p", dataset="openi")],
            "reports": [Report(report_id="openi:1", study_id="openi:1", text=TEXT)],
            "labels": [Label(study_id="openi:1", finding="atelectasis", value=1.0, labeller=LABELLER)],
        },
        image_root=folder,
    )
    evidence = tmp_path / "evidence"
    assert run_lgdea(capsys, "extract", str(folder), "--out", str(evidence))[0] == 0
    return ["extract", "score", str(evidence), "--gold", "openi-14", "--archive", str(folder)]


def test_score_shows_sentences_only_when_asked_and_never_obeys_them(
    scored: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_lgdea(capsys, *scored)
    assert code == 0, err
    assert "effusion \N{REPLACEMENT CHARACTER}" not in out
    code, out, err = run_lgdea(capsys, *scored, "--worst", "5")
    assert code == 0, err
    assert "Small left effusion \N{REPLACEMENT CHARACTER}]0;owned\N{REPLACEMENT CHARACTER} [/x] here." in " ".join(
        out.split()
    )
    assert "\x1b" not in out


def test_an_escape_sequence_in_a_path_is_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run_lgdea(capsys, "data", "verify", "none\x1b]0;owned\x07")
    assert code == 2
    assert "\x1b" not in err
    assert "owned" in err


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.\u2066[red]x[/red][/x]:boom: \r\x08"
"""Escape sequences of 7 and 8 bits, marks that turn the reading direction, markup and an emoji of rich."""
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@given(
    st.text(st.sampled_from([*HOSTILE, "a", "\n", "\t", "[", "]", "\x00", "\u200f", "\u2028", "é", "肺"]), max_size=60)
)
def test_nothing_that_a_terminal_would_obey_is_printed(text: str) -> None:
    made = StringIO()
    with redirect_stdout(made), redirect_stderr(made):
        for shown in (console, stderr):
            shown.file = made
            shown.print(text)
            shown.print(text, markup=False, highlight=False)
            shown.file = None
        show_table(text, [text, "b"], [(text, 1)])
        echo(text)
        echo(text, err=True)
    assert not OBEYED.search(made.getvalue()), repr(made.getvalue())


@example("\x1b\x7f\x9b\u202e\U000e0001")
@given(st.text(max_size=40))
def test_json_says_the_same_and_holds_no_command(text: str) -> None:
    made = StringIO()
    with redirect_stdout(made):
        show_json({"text": text})
    assert not OBEYED.search(made.getvalue())
    assert json.loads(made.getvalue())["result"] == {"text": text}


def test_verbs_print_by_the_console_alone() -> None:
    """Another way to print would not be filtered."""
    for file in sorted(Path(cli.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and file.name != "console.py":
                name = ast.unparse(node.func)
                allowed = name == "typer.echo" and file.name == "__init__.py"  # the version, and what is printable
                assert allowed or name not in ("print", "typer.echo", "click.echo", "typer.secho", "rich.print"), file
                assert name != "Console", f"{file.name}: take lgdea.cli.console.console"


@pytest.mark.parametrize("verb", [("data", "verify"), ("extract", "run"), ("verify",), ("report",), ("config", "show")])
def test_hostile_words_on_the_command_line(verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([HOSTILE], [f"--{HOSTILE}"], [HOSTILE, "--set", HOSTILE], ["--debug", HOSTILE]):
        code, out, err = run_lgdea(capsys, *verb, *arguments)
        assert code != 0
        assert not OBEYED.search(out + err), repr(out + err)


def test_hostile_ids_and_texts_through_the_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "table.csv"
    evil = HOSTILE.replace("\r", "")
    rows = [["study", "patient", "report", "view"], [f"{evil}1", evil, f"FINDINGS: Small effusion {evil}", evil],
            [f"{evil}1", "other", f"No effusion {evil}", evil]]  # fmt: skip
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    folder, evidence = tmp_path / "archive", tmp_path / "evidence"
    for arguments in (
        ["data", "build", "table", table, "--out", folder],
        ["data", "build", "table", table, "--dry-run"],
        ["data", "build", "table", table, "--out", folder, "--option", "on_problem=leave_out"],
        ["data", "verify", folder],
        ["data", "verify", folder, "--json"],
        ["extract", folder, "--out", evidence, "--max-rejected", "1", "--verbose"],
        ["extract", "diff", evidence, evidence, "--archive", folder],
        ["extract", "score", evidence, "--gold", "openi-14", "--archive", folder, "--worst", "3"],
        ["verify", folder],
        ["doctor"],
    ):
        _, out, err = run_lgdea(capsys, *arguments)
        assert not OBEYED.search(out + err), (arguments, repr(out + err))
        assert "Small effusion" not in err
