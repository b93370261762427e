"""Everything that the README and the pages of ``docs/`` tell a reader to type, typed where what they name lies.

The guides work on what ``lgdea demo`` leaves. Here that is a demo of a few studies and steps; the README and the first
page run the real one (test_readme.py).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

import lgdea
from lgdea.cli import main
from tests.helpers.checked_code import check_command, check_mention, check_python
from tests.helpers.page_folders import PREPARED
from tests.helpers.pages import LANGUAGES, ROOT, Block, blocks_of, indented_code, inline_code

DEMO_PAGES = ["README.md", "docs/index.md"]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "prompts/README.md", "data_cards/*.md")
    for path in sorted(ROOT.glob(pattern))
    if path.name != "CHANGELOG.md"
]
BLOCKS = {page: blocks_of(ROOT / page) for page in PAGES}
RUN = ("bash", "python")
RUNNING = [
    page
    for page, blocks in BLOCKS.items()
    if page not in DEMO_PAGES and any(b.language in RUN and not b.not_run and not b.title for b in blocks)
]


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    with pytest.raises(SystemExit) as left:
        main(["demo", "--out", str(folder), "--studies", "120", "--fraction", "0.5", "--max-steps", "4", "--quiet"])
    assert not left.value.code
    return folder


def _run_lgdea(words: list[str], exit_code: int) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == exit_code, f"{words}: {printed.getvalue()}"
    return printed.getvalue()


def _run_shell(command: str, exit_code: int) -> str:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = os.environ.get("PYTHONPATH", str(ROOT))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == exit_code, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout + done.stderr


def _run_bash(block: Block) -> str:
    """Run the ``lgdea`` lines of a block in this process, which saves each the start of Python; all else in a shell."""
    said, commands = "", block.commands()
    for number, line in enumerate(commands, start=1):
        exit_code = block.exit_code if number == len(commands) else 0
        words = shlex.split(line, comments=True)
        if words[0] != "lgdea" or {"|", "&&", ">", "<"} & set(words) or "$" in line:
            said += _run_shell(line, exit_code)
            continue
        added = [more for verb, more in block.run_with.items() if line.startswith(f"{verb} ")]
        said += _run_lgdea([*words[1:], *shlex.split(" ".join(added))], exit_code)
    return said


def _run_python(block: Block, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * block.line + block.content, str(ROOT / block.page), "exec"), names)
    return printed.getvalue()


def _compare(block: Block, said: str) -> None:
    lines = [line.rstrip() for line in said.splitlines()]
    for line in block.content.strip("\n").splitlines():
        wanted = line.replace("rules 0.1.0", f"rules {lgdea.__version__}").rstrip()
        assert any(wanted.strip() in found for found in lines), f"{block.place}: {wanted!r} is not in\n{said}"


@pytest.mark.parametrize("page", RUNNING)
def test_a_page_does_what_it_says(page: str, small_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    shutil.copytree(small_demo, "demo", ignore=shutil.ignore_patterns("checkpoints"))
    PREPARED.get(page, lambda: None)()
    names: dict[str, Any] = {"__name__": "__main__"}
    said: str | None = None
    for block in BLOCKS[page]:
        if block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.content, encoding="utf-8")
        elif block.language in RUN and block.not_run:
            said = None
        elif block.language == "bash":
            said = _run_bash(block)
        elif block.language == "python":
            said = _run_python(block, names)
        elif block.language == "text" and said is not None:
            _compare(block, said)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_holds_nothing_that_the_package_does_not_know(page: str, tmp_path: Path) -> None:
    for block in BLOCKS[page]:
        assert block.language in LANGUAGES, f"{block.place}: of what language is it? {block.language!r}"
        commands = [line for line in block.commands() if line.startswith("lgdea ")]
        assert block.language or not commands, f"{block.place}: a command in a block without a language"
        if block.language == "bash":
            done = subprocess.run(["bash", "-n", "-c", block.content], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block.place}: {done.stderr}"
            for line in block.commands():
                words = shlex.split(line, comments=True)
                script = next((n for n, word in enumerate(words) if word.startswith("pipelines/pretrain_")), None)
                if words[0] == "lgdea" or words[0].endswith("/bin/lgdea"):
                    check_command(words[1:])
                elif script is not None:  # SCRIPT RUN ARGUMENTS
                    check_command(["pretrain", *words[script + 2 :], "--out", words[script + 1]])
        elif block.language == "python":
            check_python(block.content, block.place)
        elif block.language == "yaml":
            yaml.safe_load(block.content)
        elif block.language == "json":
            json.loads(block.content)
    for code in inline_code(ROOT / page):
        if code.startswith("lgdea "):
            check_mention(code)
    assert not any("lgdea " in code for code in indented_code(ROOT / page)), f"{page}: indented code; fence it"


def test_how_many_blocks_run(capsys: pytest.CaptureFixture[str]) -> None:
    counts: Counter[str] = Counter()
    for page, blocks in BLOCKS.items():
        runs = page in RUNNING or page in DEMO_PAGES
        for block in blocks:
            if block.language in RUN and not block.title:
                assert block.not_run or runs, block.place
                assert block.not_run is None or len(block.not_run) > 10, f"{block.place}: why does it not run?"
                kind = "checked" if block.not_run else "run"
                counts[f"{kind} {block.language}"] += 1
                counts[f"{kind} lines"] += len(block.commands()) if block.language == "bash" else 0
        counts["mentions"] += sum(code.startswith("lgdea ") for code in inline_code(ROOT / page))
    with capsys.disabled():
        print(
            f"\ndocumentation: {counts['run bash']} shell blocks ({counts['run lines']} commands) and"
            f" {counts['run python']} Python blocks run; only checked: {counts['checked bash']} shell blocks"
            f" ({counts['checked lines']} commands), {counts['checked python']} Python blocks,"
            f" {counts['mentions']} commands in prose"
        )
    assert counts["run bash"] + counts["run python"] > counts["checked bash"] + counts["checked python"]
