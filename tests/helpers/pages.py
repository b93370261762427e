"""The code of a Markdown page: its blocks in order, what runs, and why another does not.

A block with ``title="FILE"`` is a file that lies in the folder from then on; a ``text`` block behind a block that runs
holds lines of what that printed. Comments of a page, directly before a block, say what a test does otherwise:

``<!-- not run: REASON -->``
    The block is only checked: shell by ``bash -n`` and its ``lgdea`` lines by the command line's own parser, Python by
    the compiler and its calls of lgdea by their signatures.
``<!-- run lgdea VERB with: WORDS -->``
    A test adds the words to the lines that begin so: a few steps of training, a class with few images.
``<!-- exits with CODE: REASON -->``
    The last command of the block ends with this code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = frozenset({"bash", "python", "text", "yaml", "csv", "json", ""})
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->", re.DOTALL)
_RUN_WITH = re.compile(r"<!-- run (lgdea [a-z -]+) with: (.+?) -->")
_EXITS = re.compile(r"<!-- exits with (\d+): .+? -->", re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One fenced block of a page.

    Args:
        page: Path below the repository.
        line: Line of its opening fence, from 1.
        language: First word behind the fence; empty for drawings and formulas.
        content: Its text.
        title: Name of the file that it shows; None if it is no file.
        not_run: Reason why no test runs it; None if one does.
        run_with: Beginnings of commands, and the words that a test adds to these.
        exit_code: Of its last command.
    """

    page: str
    line: int
    language: str
    content: str
    title: str | None
    not_run: str | None
    run_with: dict[str, str]
    exit_code: int

    @property
    def place(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"

    def commands(self) -> list[str]:
        """Lines of a shell block without comments; a line that ends in a backslash goes on in the next."""
        lines = self.content.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    found, comments = [], ""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "html_block":
            comments += token.content
            continue
        if token.type == "fence":
            found.append(_block(page, token, comments))
        if token.content:
            comments = ""
    return found


def inline_code(page: Path) -> list[str]:
    """Return what stands between backticks in a page's prose and tables."""
    tokens = MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))
    children = [child for token in tokens for child in token.children or []]
    return [" ".join(child.content.split()) for child in children if child.type == "code_inline"]


def indented_code(page: Path) -> list[str]:
    """Return blocks that are code because they are indented, which no test would run."""
    return [t.content for t in MarkdownIt().parse(page.read_text(encoding="utf-8")) if t.type == "code_block"]


def _block(page: Path, token: Token, comments: str) -> Block:
    title, reason, exits = _TITLE.search(token.info), _NOT_RUN.search(comments), _EXITS.search(comments)
    return Block(
        page=page.relative_to(ROOT).as_posix(),
        line=(token.map or [0])[0] + 1,
        language=token.info.split(" ")[0],
        content=token.content,
        title=title[1] if title else None,
        not_run=" ".join(reason[1].split()) if reason else None,
        run_with=dict(_RUN_WITH.findall(comments)),
        exit_code=int(exits[1]) if exits else 0,
    )
