"""The schemas of all prompts in the grammar engines that vLLM, SGLang and others decode with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from lgdea.evidence.prompts import load_prompt
from lgdea.evidence.response import MAX_UNITS
from tests.helpers.vllm_environment import PYTHON, needs_vllm

pytestmark = needs_vllm

UNIT = {
    "quote": "No effusion (5 mm), 100% – é 肺 😀 [x] {y} 'z'",
    "finding": "pleural_effusion",
    "finding_text": "effusion",
    "assertion": "absent",
    "anatomy": "pleura",
    "laterality": "left",
    "severity": "mild",
    "change": "new",
    "refers_to_prior": True,
}


def _answer(units):
    return json.dumps({"units": units}, ensure_ascii=False, separators=(",", ":"))


def _case(schema, good, bad):
    return {"schema": schema, "answers": [*good, *bad]}, [True] * len(good) + [False] * len(bad)


@pytest.fixture(scope="module")
def cases():
    report, sentence = load_prompt("evidence-v1"), load_prompt("sentence-v1")
    verify = load_prompt("evidence-v1-verified").verifier
    assert verify is not None
    raw = _answer([UNIT | {"quote": "a#b"}])
    return [
        _case(
            report.json_schema(),
            [
                _answer([]),
                _answer([UNIT] * MAX_UNITS),
                _answer([UNIT | {"quote": "x" * 1000}]),
                *(answer for _, answer in report.examples),
            ],
            [
                _answer([UNIT] * (MAX_UNITS + 1)),
                _answer([UNIT | {"quote": ""}]),
                *(raw.replace("#", sign) for sign in ("\x00", "\x1f", "\n", '"', "\\n", '\\"', "\\u0041")),
                _answer([UNIT | {"finding": "unicorn"}]),
                _answer([UNIT | {"start": 1}]),
                _answer([{k: v for k, v in UNIT.items() if k != "change"}]),
                '{"units":[',
            ],
        ),
        _case(
            sentence.json_schema(),
            [_answer([]), *(answer for _, answer in sentence.examples)],
            [_answer([UNIT]), _answer([{"finding": "edema", "assertion": "maybe"}])],
        ),
        _case(
            verify.json_schema(),
            [answer for *_, answer in verify.examples],
            ['{"reason":"stated"}', '{"reason":"whatever","supported":"no"}', '{"supported":"yes","reason":"stated"}'],
        ),
    ]


def test_grammar_engines_let_a_model_write_what_a_prompt_wants_and_nothing_else(cases):
    script = Path(__file__).parent / "grammar_engines.py"
    done = subprocess.run(
        [PYTHON, script], input=json.dumps([case for case, _ in cases]), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for engine, found in json.loads(done.stdout).items():
        for (case, wanted), allowed in zip(cases, found, strict=True):
            wrong = [a for a, w, f in zip(case["answers"], wanted, allowed, strict=True) if w != f]
            assert not wrong, f"{engine}: {wrong}"
