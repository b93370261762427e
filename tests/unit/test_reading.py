"""Files that people hand in: every odd one is an error of one line, and none is waited for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lgdea.config import parse_override, parse_value, read_yaml
from lgdea.errors import ConfigError, DataError, ImageError, LgdeaError, UsageError
from lgdea.evidence.io import scan_shard
from lgdea.imaging.read import read_image, read_size
from lgdea.manifests import hash_file, read_manifest
from lgdea.pretraining.config import PretrainConfig
from lgdea.reading import parse_yaml, read_json, read_json_lines, read_text, require_file
from lgdea.records.adapters.openi import parse_report
from lgdea.records.adapters.table.text import TextFormat
from lgdea.records.adapters.table.text import read_text as read_table_text
from lgdea.records.csv_io import read_csv, read_spreadsheet
from lgdea.records.tables import read_frame
from lgdea.runs import fingerprint
from tests.helpers.odd_files import make_pipe, make_socket

LEVELS = [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
MERGES = [f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 9)]
BAD_YAML = {
    "alias bomb": "\n".join(["a0: &a0 [x,x,x,x,x,x,x,x,x]", *LEVELS]),
    "merge bomb": "\n".join(["a0: &a0 {k: v}", *MERGES]),
    "alias of itself": "a: &a [*a]",
    "long alias": f"a: &a {'x' * 100_000}\nb: [{','.join(['*a'] * 1000)}]",
    "deep flow": "[" * 10_000 + "]" * 10_000,
    "deep block": "- " * 10_000,
    "deep mapping": "".join(f"{' ' * n}k:\n" for n in range(1_000)),
    "long number": "a: " + "9" * 1_000_000,
    "long base 60": "a: " + "1:" * 300_000 + "1",
    "no date": "a: 2026-02-30",
    "no timestamp": "!!timestamp x",
    "no truth value": "!!bool maybe",
    "no float": "!!float ''",
    "a list as key": "? [a]\n: b",
    "python object": "!!python/object/apply:os.system [x]",
    "control characters": "a: \0",
    "two documents": "a: b\n---\nc: d",
}


@pytest.fixture(autouse=True)
def nothing_hangs() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError("a reader hangs")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)


@pytest.mark.parametrize("name", BAD_YAML)
def test_bad_yaml_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]{1,300}$"):
        parse_yaml(BAD_YAML[name])
    file = tmp_path / "config.yaml"
    file.write_text(BAD_YAML[name])
    with pytest.raises(ConfigError, match=r"config.yaml: is not valid YAML \(.{1,200}\)$"):
        read_yaml(file)
    with pytest.raises(ConfigError, match="is not valid YAML"):
        parse_override(f"seed={BAD_YAML[name]}", PretrainConfig)
    assert parse_value(BAD_YAML[name]) == BAD_YAML[name]


@pytest.mark.parametrize("text", ["{image}", "{patient}/{file}.png", " {a}, {b}"])
def test_templates_are_text(text: str) -> None:
    assert parse_value(text) == text
    assert parse_value("{}") == {}
    assert parse_value("{a: {b: 1}}") == {"a": {"b": 1}}


def test_anchors_and_merge_keys_are_kept() -> None:
    text = "base: &base {lr: 0.1, steps: 3}\nfirst: {<<: *base, lr: 0.2}\nsecond: *base\n"
    assert parse_yaml(text) == yaml.safe_load(text)


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_text_is_yaml_or_a_line(text: str) -> None:
    said = ""
    try:
        parse_yaml(text)
    except ValueError as error:
        said = str(error)
    assert "\n" not in said


def test_a_deep_override_is_one_line() -> None:
    with pytest.raises(ConfigError, match="below 3,000 others"):
        parse_override(".".join("b" * 3_000) + "=1", PretrainConfig)


ODD: dict[str, Callable[[Path], None]] = {
    "folder": Path.mkdir,
    "named pipe": make_pipe,
    "socket": make_socket,
    "device": lambda file: file.symlink_to("/dev/zero"),
    "file": lambda file: None,
}
READERS: dict[str, Callable[[Path], object]] = {
    "image": read_image,
    "size": read_size,
    "yaml": read_yaml,
    "json": read_json,
    "lines": lambda file: list(read_json_lines(file)),
    "text": read_text,
    "manifest": read_manifest,
    "hash": hash_file,
    "raw": lambda file: list(scan_shard(file)),
    "xml": parse_report,
    "csv": lambda file: read_csv(file, [], card="openi"),
    "spreadsheet": lambda file: read_spreadsheet(file, []),
    "table": lambda file: read_table_text(file, TextFormat(), []),  # type: ignore[arg-type]
    "parquet": read_frame,
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_one_line(reader: str, odd: str, tmp_path: Path) -> None:
    file = tmp_path / "given.png"
    ODD[odd](file)
    with pytest.raises((UsageError, ImageError, DataError)) as caught:
        READERS[reader](file)
    assert "given.png" in str(caught.value)
    if odd != "file":
        with pytest.raises(UsageError, match=f"is a {odd}, not a file"):
            require_file(file)


def test_the_fingerprint_of_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is a named pipe"):
        fingerprint(tmp_path / "pipe")


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"9" * 100_000, b"\xff", b"", b"nul"])
def test_bad_json_is_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "given.json"
    file.write_bytes(content)
    for read in (read_json, read_manifest, lambda file: list(read_json_lines(file)) or read_json(file)):
        with pytest.raises(LgdeaError, match=r"given.json.*: "):
            read(file)


def test_a_line_separator_inside_a_string_ends_no_line(tmp_path: Path) -> None:
    file = tmp_path / "given.jsonl"
    file.write_text('{"a": "x\u2028y\x85z"}\n\n{"a": "b"}\r\n', encoding="utf-8")
    assert [(row, line["a"]) for row, line in read_json_lines(file)] == [(1, "x\u2028y\x85z"), (3, "b")]
