"""The command line as a user meets it: help with examples, one line for each error, honest exit codes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lgdea.cli import FULL, _explain, app
from tests.helpers.command_line import run_lgdea, uncounted_environment

VERBS = [
    ("demo",),
    ("data", "build"),
    ("data", "list"),
    ("data", "card"),
    ("data", "verify"),
    ("data", "scrub"),
    ("data", "merge"),
    ("data", "pair"),
    ("data", "suggest-links"),
    ("data", "link"),
    ("data", "doubt-links"),
    ("extract", "run"),
    ("extract", "score"),
    ("extract", "page"),
    ("extract", "diff"),
    ("extract", "review"),
    ("extract", "corrections"),
    ("extract", "apply"),
    ("prompts", "list"),
    ("prompts", "show"),
    ("prompts", "check"),
    ("pretrain",),
    ("config", "schema"),
    ("config", "show"),
    ("embed",),
    ("eval", "zero-shot"),
    ("eval", "retrieval"),
    ("eval", "grounding"),
    ("eval", "suites"),
    ("eval", "freeze"),
    ("eval", "probe"),
    ("eval", "features"),
    ("eval", "compare"),
    ("eval", "entity-retrieval"),
    ("eval", "change"),
    ("eval", "references"),
    ("compare", "train"),
    ("compare", "finetune"),
    ("compare", "read"),
    ("compare", "questions"),
    ("compare", "answer"),
    ("compare", "score"),
    ("compare", "references"),
    ("compare", "ask"),
    ("compare", "beside"),
    ("find",),
    ("heatmap",),
    ("app",),
    ("model", "info"),
    ("model", "card"),
    ("model", "push"),
    ("model", "export"),
    ("report",),
    ("verify",),
    ("doctor",),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example(verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_lgdea(capsys, *verb, "--help")
    assert code == 0
    assert "Example: lgdea " + verb[0] in " ".join(re.sub(r"[│╭╰─]", " ", out).split())


def test_the_list_of_verbs_above_is_complete() -> None:
    found = {(c.name or c.callback.__name__.replace("_", "-"),) for c in app.registered_commands if c.callback}
    for group in app.registered_groups:
        inner = group.typer_instance
        assert inner is not None
        found |= {
            (str(group.name), c.name or c.callback.__name__.replace("_", "-"))
            for c in inner.registered_commands
            if c.callback
        }
    assert found == set(VERBS)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nonsense"], 2, "No such command"),
        (["data", "build", "openi"], 2, "Missing"),
        (["data", "build", "opnei", "{tmp}", "--out", "{tmp}/a"], 2, "did you mean openi?"),
        (["config", "show", "demo-lgdea"], 2, "for 'stage': 'demo-lgdea' is not one of"),
        (["data", "build", "openi", "{tmp}/none", "--out", "{tmp}/a"], 2, "{tmp}/none"),
        (["data", "build", "phantom", "default", "--out", "{tmp}/a", "--option", "studies"], 2, "key=value"),
        (["data", "verify", "{tmp}/none"], 2, "lgdea data build"),
        (["extract", "{tmp}/none", "--out", "{tmp}/e"], 2, "lgdea data build"),
        (["extract", "{tmp}/none", "--out", "{tmp}/e", "--backend", "rulez"], 2, ""),
        (["pretrain", "--config", "{tmp}/none.yaml", "--out", "{tmp}/r"], 2, "no such configuration file"),
        (["pretrain", "--config", "demo-lgdea", "--set", "optimizer.lrr=1", "--out", "{tmp}/r"], 2, "optimizer.lrr"),
        (["eval", "zero-shot", "{tmp}/none", "{tmp}/none", "--out", "{tmp}/r"], 2, "{tmp}/none"),
        (["eval", "grounding", "{tmp}", "{tmp}/none", "--suite", "nih-boxes", "--out", "{tmp}/r"], 2, "{tmp}/none"),
        (["report", "{tmp}/none"], 2, "{tmp}/none"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
)
def test_a_bad_request_is_one_line_and_exit_code_2(
    arguments: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [a.replace("{tmp}", str(tmp_path)) for a in arguments]
    got, _, err = run_lgdea(capsys, *filled)
    assert got == code, err
    assert says.replace("{tmp}", str(tmp_path)) in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run_lgdea(capsys, "data", "verify", str(tmp_path / "none"), "--debug")
    assert code == 2
    assert "Traceback" in err


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    # The kernel refuses to let a file grow past the limit: a real failing write in a real process.
    command = f"ulimit -f 8; exec {sys.executable} -m lgdea data build phantom default --out {tmp_path}/a "
    command += "--option studies=40 --option workers=1"
    done = subprocess.run(
        ["bash", "-c", command], env=uncounted_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "a" / "_SUCCESS").exists()


@pytest.mark.parametrize("number", FULL)
def test_every_kind_of_full_disk_has_its_remedy(number: int) -> None:
    assert "free some space and repeat the command to resume" in _explain(OSError(number, "no room"))
