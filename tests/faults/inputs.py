"""Bad input: every file and value that a person hands in, of a kind that nobody expects. One line, and no hang."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.faults.process import Ended, run
from tests.faults.stages import Workspace
from tests.faults.trials import Log, Trial, complaint, last_line
from tests.helpers.odd_files import make_pipe, make_socket

TIMEOUT = 60.0
_DEEP = 10_000


ODD: dict[str, Callable[[Path], None]] = {
    "folder": Path.mkdir,
    "named pipe": make_pipe,
    "socket": make_socket,
    "/dev/zero": lambda file: file.symlink_to("/dev/zero"),
    "/proc/self/mem": lambda file: file.symlink_to("/proc/self/mem"),
    "loop of links": lambda file: file.symlink_to(file),
    "link to nothing": lambda file: file.symlink_to("nowhere"),
    "empty": Path.touch,
    "zero bytes": lambda file: file.write_bytes(bytes(5_000)) and None,
    "random bytes": lambda file: file.write_bytes(bytes(range(256)) * 40) and None,
    "UTF-16": lambda file: file.write_text("a,b\nc,d\n", encoding="utf-16") and None,
}
"""Things that may stand where a file is expected."""

_ALIASES = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x]"] + [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
)
YAML = {
    "alias bomb": _ALIASES,
    "alias of itself": "a: &a [*a]",
    "10,000 deep": "[" * _DEEP + "]" * _DEEP,
    "a mapping 1,000 deep": "".join(f"{' ' * n}k:\n" for n in range(1_000)),
    "number of a million digits": "seed: " + "9" * 1_000_000,
    "text of 5 MB": "seed: " + "x" * 5_000_000,
    "python object": "!!python/object/apply:os.system [id]",
    "timestamp": "!!timestamp x",
    "no mapping": "- a\n- b",
    "two documents": "a: 1\n---\nb: 2",
    "key of a list": "? [a]\n: b",
    "escape sequence": '"\\e]0;x\\a": 1',
    "NaN": "seed: .nan",
}
JSON = {
    "10,000 deep": "[" * _DEEP + "]" * _DEEP,
    "number of 10,000 digits": "9" * 10_000,
    "a list": "[]",
    "null": "null",
    "NaN": '{"a": NaN}',
    "cut": '{"a": ',
    "lone surrogate": '{"a": "\\ud800"}',
}
CSV = {
    "100,001 columns": ",".join(f"c{n}" for n in range(100_001)) + "\n" + ",".join("x" * 100_001) + "\n",
    "a cell of 5 MB": "study_id,report\n1," + "x" * 5_000_000 + "\n",
    "quote not closed": 'study_id,report\n1,"no end\n',
    "no header": "1,2\n3,4\n",
    "NUL": "study_id,report\n1,a\0b\n",
    "one column": "a\nb\n",
    "columns of one name": "study_id,study_id,report\n1,2,x\n",
    "blank": "\n\n\n",
    "10,000 quotes": "study_id,report\n1," + '"' * 10_000 + "\n",
}
XML = {
    "lol bomb": '<!DOCTYPE l [<!ENTITY a "x">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1 or str()};" * 10}">' for n in range(1, 10))
    + "]><l>&a9;</l>",
    "external entity": '<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><l>&x;</l>',
    "200,000 deep": "<a>" * 200_000,
    "cut": "<eCitation><uId id='1'",
    "no uId": "<eCitation/>",
    "UTF-16": "<?xml version='1.0' encoding='utf-16'?><a/>",
}
VALUES = {
    "a key 3,000 deep": ["pretrain", "--config", "demo-clip", "--set", ".".join("b" * 3_000) + "=1"],
    "a value 10,000 deep": ["pretrain", "--config", "demo-clip", "--set", "seed=" + "[" * _DEEP],
    "port 0": ["extract", "{archive}", "--backend", "http", "--url", "http://127.0.0.1:0/v1"],
    "port 70,000": ["extract", "{archive}", "--backend", "http", "--url", "http://127.0.0.1:70000/v1"],
    "port -1": ["extract", "{archive}", "--backend", "http", "--url", "http://127.0.0.1:-1/v1"],
    "NUL in a path": ["extract", "a\0b"],
    "path of 5,000 characters": ["extract", "x" * 5_000],
    "escape in a path": ["extract", "\x1b]0;x\x07"],
    "an empty path": ["extract", ""],
    "steps inf": ["pretrain", "--config", "demo-clip", "--set", "trainer.max_steps=.inf"],
    "steps of a million digits": ["pretrain", "--config", "demo-clip", "--set", "trainer.max_steps=" + "9" * 90_000],
    "limit 0": ["extract", "{archive}", "--limit", "0"],
    "fraction nan": ["data", "pair", "{archive}", "--fraction", "nan"],
    "lone surrogate": ["extract", "\udcff"],
}


def bad_inputs(work: Workspace, log: Log, most: int) -> None:
    """Each of them once."""
    _odd_files(work, log, most)
    _contents(work, log, most)
    for name, command in list(VALUES.items())[:most]:
        filled = [part.replace("{archive}", str(work.inputs / "build")) for part in command]
        _try(work, log, "bad value", name, lambda place, filled=filled: filled)


def _odd_files(work: Workspace, log: Log, most: int) -> None:
    for what in list(_COMMANDS)[:most]:
        for odd, make in list(ODD.items())[:most]:

            def prepare(place: Path, what: str = what, make: Callable[[Path], None] = make) -> list[str]:
                return _COMMANDS[what](work, place, make)

            _try(work, log, "not a file", f"{odd} as {what}", prepare)


def _contents(work: Workspace, log: Log, most: int) -> None:
    kinds = (("YAML", YAML, _YAML), ("JSON", JSON, _JSON), ("CSV", CSV, ("table",)), ("XML", XML, ("report.xml",)))
    for kind, contents, places in kinds:
        for name, content in list(contents.items())[:most]:
            for what in places:

                def prepare(place: Path, what: str = what, content: str = content) -> list[str]:
                    def make(file: Path) -> None:
                        file.write_text(content, encoding="utf-8", errors="surrogatepass")

                    return _COMMANDS[what](work, place, make)

                _try(work, log, f"bad {kind}", f"{name} as {what}", prepare)
    for name, content in PICTURES.items():
        _try(
            work,
            log,
            "bad picture",
            name,
            lambda place, c=content: _picture(work, place, lambda f: f.write_bytes(c) and None),
        )


def _try(work: Workspace, log: Log, kind: str, name: str, prepare: Callable[[Path], list[str]]) -> None:
    if (kind, name) in log:
        return
    place = work.trials / "input"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    command = prepare(place)
    if "--out" not in command and command[0] not in ("verify", "config"):
        command = [*command, "--out", str(place / ("out.html" if command[0] == "report" else "out"))]
    ended = run(command, place / "log", timeout=TIMEOUT, memory=3 << 30)
    log.add(Trial(kind, name, *_judge(ended)))


def _judge(ended: Ended) -> tuple[str, str]:
    said = last_line(ended.err)
    if ended.hung:
        return "hung", said
    if ended.code < 0:
        return "died", f"exit code {ended.code}: {said}"
    if "\x1b]" in ended.err or "\x1b]" in ended.out:
        return "silent", "an escape sequence reaches the terminal"
    if ended.code == 0:
        return "same", said
    wrong = complaint(ended.err)
    return ("traceback", f"{wrong}: {said}") if wrong else ("refused", said)


# Commands that read one file each: made of a place for it, and of how it is made.

Make = Callable[[Path], None]


def _archive(work: Workspace, place: Path, name: str, make: Make) -> Path:
    copy = place / "archive"
    shutil.copytree(work.inputs / "build", copy)
    (copy / name).unlink()
    make(copy / name)
    return copy


def _picture(work: Workspace, place: Path, make: Make) -> list[str]:
    pictures = place / "source"
    pictures.mkdir()
    make(pictures / "x.png")
    Image.new("L", (40, 50), 90).save(pictures / "y.png")
    (pictures / "table.csv").write_text("study_id,patient_id,image,report\n1,1,x.png,No effusion.\n2,2,y.png,Clear.\n")
    return ["data", "build", "table", str(pictures)]


def _fill(part: str, known: dict[str, str]) -> str:
    for name, value in known.items():
        part = part.replace(name, value)
    return part


def _file(name: str, command: list[str]) -> Callable[[Workspace, Path, Make], list[str]]:
    """A command in which ``{file}`` stands for the odd file, and ``{place}`` for its folder."""

    def filled(work: Workspace, place: Path, make: Make) -> list[str]:
        source = place / "given"
        source.mkdir()
        make(source / name)
        known = {"{file}": str(source / name), "{place}": str(source), "{archive}": str(work.inputs / "build")}
        known |= {"{model}": str(work.inputs / "pretrain" / "model")}
        return [_fill(part, known) for part in command]

    return filled


def _of_run(stage: str, name: str, command: list[str]) -> Callable[[Workspace, Path, Make], list[str]]:
    """A command that reads a copy of what a stage wrote, with one file replaced."""

    def filled(work: Workspace, place: Path, make: Make) -> list[str]:
        copy = place / "copy"
        shutil.copytree(work.inputs / stage, copy)
        (copy / name).unlink()
        make(copy / name)
        known = {
            "{copy}": str(copy),
            "{archive}": str(work.inputs / "build"),
            "{evidence}": str(work.inputs / "extract"),
        }
        return [_fill(part, known) for part in command]

    return filled


def _pairing(work: Workspace, place: Path, make: Make) -> list[str]:
    make(place / "pairing.parquet")
    command = list(work.stages["pretrain"].command)
    return [part.replace(str(work.inputs / "pairing.parquet"), str(place / "pairing.parquet")) for part in command]


_COMMANDS: dict[str, Callable[[Workspace, Path, Make], list[str]]] = {
    "pretraining configuration": _file("c.yaml", ["pretrain", "--config", "{file}"]),
    "extraction configuration": _file("c.yaml", ["extract", "{archive}", "--config", "{file}"]),
    "evaluation configuration": _file("c.yaml", ["eval", "zero-shot", "{model}", "{archive}", "--config", "{file}"]),
    "lexicon": _file("lexicon.yaml", ["extract", "{archive}", "--lexicon", "{file}"]),
    "prompt.yaml": _file(
        "prompt.yaml",
        ["extract", "{archive}", "--backend", "http", "--url", "http://127.0.0.1:9/v1", "--prompt", "{place}"],
    ),
    "table": _file("table.csv", ["data", "build", "table", "{place}"]),
    "packed table": _file("table.csv.gz", ["data", "build", "table", "{place}"]),
    "Parquet table": _file("table.parquet", ["data", "build", "table", "{place}"]),
    "report.xml": _file("1.xml", ["data", "build", "openi", "{place}"]),
    "recorded answers": _file(
        "r.jsonl", ["extract", "{archive}", "--backend", "replay", "--set", "options.responses={file}"]
    ),
    "picture": _picture,
    "archive.json": lambda w, p, m: ["extract", str(_archive(w, p, "archive.json", m))],
    "reports.parquet": lambda w, p, m: ["extract", str(_archive(w, p, "reports.parquet", m))],
    "pairing": _pairing,
    "weights": _of_run("pretrain", "model/model.safetensors", ["embed", "{copy}/model", "{archive}"]),
    "model's config.json": _of_run("pretrain", "model/config.json", ["embed", "{copy}/model", "{archive}"]),
    "tokenizer": _of_run("pretrain", "model/tokenizer.json", ["embed", "{copy}/model", "{archive}"]),
    "evidence": _of_run("extract", "evidence.parquet", ["report", "pretrain={copy}", "--evidence", "{copy}"]),
    "run.json": _of_run("pretrain", "run.json", ["report", "{copy}"]),
    "config.yaml of a run": _of_run("pretrain", "config.yaml", ["report", "{copy}"]),
    "metrics.csv": _of_run("pretrain", "metrics.csv", ["report", "{copy}"]),
    "result": _of_run("eval", "zero-shot.json", ["report", "{copy}"]),
    "file that is verified": _of_run("eval", "zero-shot.parquet", ["verify", "{copy}"]),
}
_YAML = (
    "pretraining configuration",
    "extraction configuration",
    "evaluation configuration",
    "lexicon",
    "prompt.yaml",
    "config.yaml of a run",
)
_JSON = ("archive.json", "model's config.json", "run.json", "result", "recorded answers")


def _png(width: int, height: int, depth: int = 8, colour: int = 0, rows: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PICTURES = {
    "30,000 x 30,000": _png(30_000, 30_000),
    "2^31 wide": _png(2**31 - 1, 1),
    "0 x 0": _png(0, 0),
    "1 x 1": _png(1, 1, rows=b"\0\x80"),
    "cut": _png(64, 64, rows=bytes(65 * 64))[:60],
    "no rows": _png(64, 64),
    "unknown colour": _png(8, 8, 8, 7),
    "DICOM mark alone": bytes(128) + b"DICM",
    "DICOM of nothing": bytes(128) + b"DICM" + bytes(400),
    "JPEG mark alone": b"\xff\xd8\xff",
    "a script": b"#!/bin/sh\nid\n",
    "JSON": json.dumps({"a": 1}).encode(),
}
