"""Files that people hand in: no pipe is waited for, no nesting is too deep, no alias grows without end.

A folder may hold a named pipe, a socket or a link to a device where a file is expected, and opening one can wait for
ever or never end. YAML and JSON of a few hundred bytes can stand for gigabytes or exhaust the stack. All of that is an
error of one line here.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lgdea.errors import DataError, UsageError, first_line

DEEPEST = 100
"""Nesting of YAML that is read; the constructor of PyYAML calls itself, so the stack ends somewhere."""
MOST_CHARACTERS = 20_000_000
"""Characters of a YAML text, aliases written out."""
_LONGEST_NUMBER = 4_000
_NUMBER = re.compile(r"[-+]?[0-9][0-9_:.,a-fA-FxXoO+-]*")
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def require_file(file: str | Path, *, what: str = "file", remedy: str = "check the path") -> Path:
    """Check that a path names a file that can be read to its end; links are followed.

    Args:
        file: The path.
        what: What it should be, for the message.
        remedy: What helps where it is not.

    Returns:
        The path.

    Raises:
        UsageError: There is nothing, or a folder, a named pipe, a socket or a device.
    """
    try:
        mode = Path(file).stat().st_mode
    except FileNotFoundError:
        raise UsageError(f"no such {what}", file=file, remedy=remedy) from None
    except (OSError, ValueError) as error:  # a ValueError for a NUL in the path
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UsageError(f"the {what} cannot be opened ({reason})", file=file, remedy=remedy) from None
    for is_kind, name in _KINDS:
        if is_kind(mode):
            article = "an" if what[0] in "aeiou" else "a"
            raise UsageError(f"is {name}, not {article} {what}", file=file, remedy=remedy)
    return Path(file)


def read_bytes(file: str | Path, *, what: str = "file", remedy: str = "check the path") -> bytes:
    """Read a whole file.

    Args:
        file: The path.
        what: As of :func:`require_file`.
        remedy: As of :func:`require_file`.

    Raises:
        UsageError: As :func:`require_file`, or it cannot be opened.
    """
    try:
        return require_file(file, what=what, remedy=remedy).read_bytes()
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise UsageError(f"the {what} cannot be read ({reason})", file=file, remedy=remedy) from None


def read_text(file: str | Path, *, what: str = "file", remedy: str = "check the path") -> str:
    """Read a whole UTF-8 file, with or without a byte-order mark.

    Args:
        file: The path.
        what: As of :func:`require_file`.
        remedy: As of :func:`require_file`.

    Raises:
        UsageError: As :func:`read_bytes`.
        DataError: It is not UTF-8; the message has the row.
    """
    content = read_bytes(file, what=what, remedy=remedy)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = 1 + content[: error.start].count(b"\n")
        problem = f"is not UTF-8 (byte 0x{content[error.start]:02x})"
        raise DataError(problem, file=file, row=row, remedy="convert it to UTF-8") from None


def parse_json(text: str | bytes) -> Any:
    """Read JSON.

    Raises:
        ValueError: It is no JSON, is nested too deeply or has a number of thousands of digits; one line.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(file: str | Path, *, what: str = "file", remedy: str = "make it again") -> Any:
    """Read a JSON file.

    Args:
        file: The path.
        what: As of :func:`require_file`.
        remedy: What helps where it is missing or damaged.

    Raises:
        UsageError: As :func:`read_bytes`.
        DataError: It is no JSON.
    """
    text = read_text(file, what=what, remedy=remedy)
    try:
        return parse_json(text)
    except ValueError as error:
        raise DataError(f"is not JSON ({first_line(error)})", file=file, remedy=remedy) from None


def parse_yaml(text: str) -> Any:
    """Read a YAML document of safe types.

    Args:
        text: The document; an empty one is None.

    Raises:
        ValueError: It is no YAML, nested too deeply, or grows beyond :data:`MOST_CHARACTERS` when its aliases are
            written out; one line.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(text, loader)
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or first_line(error)
        raise ValueError(said if mark is None else f"{said}, line {mark.line + 1}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:  # a tag that its value does not fit
        raise ValueError(f"a value is not what its tag says ({first_line(error)})") from None


def _check_events(text: str, loader: Any) -> None:
    """Walk through a document without building it: its depth, and its size with aliases written out."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"longer than {MOST_CHARACTERS:,} characters")
    sizes: dict[str, int] = {}
    above: list[tuple[str | None, int]] = []  # anchor of each open collection, and the size when it began
    size = 0
    for event in yaml.parse(text, Loader=loader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.CollectionStartEvent):
            above.append((event.anchor, size))
            if len(above) > DEEPEST:
                raise ValueError(f"nested deeper than {DEEPEST} levels, line {line}")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, start = above.pop()
            if anchor is not None:
                sizes[anchor] = size - start
        elif isinstance(event, yaml.ScalarEvent):
            if len(event.value) > _LONGEST_NUMBER and _NUMBER.fullmatch(event.value):
                raise ValueError(f"a number of {len(event.value):,} digits, line {line}")
            size += len(event.value)
            if event.anchor is not None:
                sizes[event.anchor] = len(event.value)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in {anchor for anchor, _ in above}:
                raise ValueError(f"the alias *{event.anchor} holds itself, line {line}")
            size += sizes.get(event.anchor or "", 0)
        size += 1
        if size > MOST_CHARACTERS:
            raise ValueError(f"grows beyond {MOST_CHARACTERS:,} characters through its aliases")


def read_json_lines(
    file: str | Path, *, what: str = "file", remedy: str = "make it again"
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a file of one JSON object per line; blank lines are passed over.

    Args:
        file: The path.
        what: As of :func:`require_file`; also what a line should be.
        remedy: What helps where it is missing or a line is damaged.

    Yields:
        Row, 1-based, and object.

    Raises:
        UsageError: As :func:`read_bytes`.
        DataError: A line is no JSON object.
    """
    # Not splitlines(): JSON may hold U+2028 and its like inside a string.
    for row, line in enumerate(read_text(file, what=what, remedy=remedy).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            content = parse_json(line)
        except ValueError as error:
            raise DataError(f"is not JSON ({first_line(error)})", file=file, row=row, remedy=remedy) from None
        if not isinstance(content, dict):
            raise DataError("is no JSON object", file=file, row=row, remedy=remedy)
        yield row, content
