from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from lgdea.evaluation.results.result import Result, Value, write_result
from lgdea.reporting.latex import escape, latex_table
from lgdea.reporting.measures import TaskTables, task_tables

NASTY = "a_b & c% $5 #1 {x} ~^ \\end{table} <script> |\nnew"


def table(folder: Path, labels: tuple[str, ...] = ("good", NASTY)) -> TaskTables:
    for i, label in enumerate(labels):
        metrics = {"auroc_macro": Value(0.9 - i / 5, 0.85 - i / 5, 0.95 - i / 5, 40, "zero-shot/auroc-v1")}
        metrics |= {"mcc_macro": Value(-0.25, -0.5, 0.1, 40), "f1_macro": Value(math.nan)}
        if label == "good":
            metrics["auprc_macro"] = Value(0.5)
        metrics["x/median_rank"] = Value(10.0 + 5 * i, n=40)
        per_class = {NASTY: {"auroc": Value(0.8 - i / 10)}, "[first]": {"auroc": Value(0.7)}, "*": {}}
        write_result(Result("zero-shot", "v_1", "m", NASTY, "te%t", metrics, per_class, {}), folder / str(i))
    (found,) = task_tables({label: folder / str(i) for i, label in enumerate(labels)}, baseline=labels[-1])
    return found


def check_structure(text: str) -> list[str]:
    """Environments and braces close, no special character stands alone; returns the rows of the table's body."""
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    plain = "\n".join(lines)
    opened: list[str] = []
    for kind, name in re.findall(r"(?<!\\)\\(begin|end)\{(\w+)\}", plain):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    bare = re.sub(r"\\[\\&%$#_{}]", "", plain)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert not set('%#_~<>|"') & set(re.sub(r"\$[^$]*\$", "", re.sub(r"\\label\{.*?\}", "", bare)))
    assert bare.isascii()
    body = plain[plain.index("\\midrule") : plain.index("\\bottomrule")].splitlines()[1:-1]
    columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", plain)[1])  # type: ignore[index]
    for row in body:
        assert row.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", row)) == columns - 1
        assert not row.strip().startswith(("[", "*"))
    return [row.strip() for row in body]


def test_nasty_names_stay_text(tmp_path: Path) -> None:
    found = table(tmp_path)
    for text in (latex_table(found, NASTY), latex_table(found, NASTY, found.per_class[0])):
        check_structure(text)
        assert r"a\_b \& c\% \$5 \#1 \{x\} \textasciitilde{}\textasciicircum{}" in text
        assert r"\textbackslash{}end\{table\} \textless{}script\textgreater{} \textbar{} new" in text


def test_the_best_is_bold_lower_where_lower_is_better_and_missing_is_said(tmp_path: Path) -> None:
    rows = check_structure(latex_table(table(tmp_path), None))
    by_name = {row.split(" & ")[0]: row for row in rows}
    assert by_name["macro AUROC"] == r"macro AUROC & 40 & \textbf{0.900} [0.850, 0.950] & 0.700 [0.650, 0.750] \\"
    equal = r"\textbf{$-$0.250} [$-$0.500, 0.100]"
    assert by_name["macro MCC"] == rf"macro MCC & 40 & {equal} & {equal} \\"
    assert by_name["macro AUPRC"] == r"macro AUPRC & -- & \textbf{0.500} & -- \\"
    assert "macro F1" not in by_name
    assert by_name["x median rank, lower is better"].endswith(r"\textbf{10.0} & 15.0 \\")


def test_one_model_has_nothing_in_bold(tmp_path: Path) -> None:
    text = latex_table(table(tmp_path, ("good",)), None)
    check_structure(text)
    assert "textbf" not in text
    assert "bold" not in text


def test_the_caption_says_what_the_numbers_are_and_who_wins_beyond_chance(world) -> None:
    tables = task_tables({k: world.results[k] for k in ("lgdea", "clip")}, baseline="clip")
    retrieval = next(t for t in tables if t.task == "retrieval")
    text = latex_table(retrieval, "clip")
    assert re.search(r"archive toy, test split, ids [0-9a-f]{8}, definition retrieval-v1, up to 40 items\.", text)
    assert r"\textbf{0.700}$^{*}$" in text
    assert "$^{*}$ better than clip, one-sided $p < 0.05$." in text


@pytest.mark.parametrize(("text", "expected"), [("[a]", "{[}a]"), ("*b", "{*}b"), ("", ""), ("α", "α")])
def test_a_name_cannot_become_an_argument(text: str, expected: str) -> None:
    assert escape(text) == expected
