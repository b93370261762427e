from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from lgdea.annotation.compare_runs import Pair
from lgdea.annotation.gold_standards import GoldCounts
from lgdea.annotation.unit_matching import units_by_report
from lgdea.errors import UsageError
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.backends.replay import text_hash
from lgdea.evidence.runner import extract
from lgdea.evidence.schema import Unit, unit_id
from lgdea.records.archive import Archive, write_archive
from lgdea.reporting.evidence_counts import gold_errors, gold_rows
from lgdea.reporting.evidence_page import build_evidence_page
from lgdea.reporting.evidence_payload import Content, choose, script_json

ATTACK = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked=1"> <!-- ]]> \' " &amp;'
TEXTS = {
    "hostile": f"FINDINGS: {ATTACK} Small left pleural effusion.",
    "emoji": "FINDINGS: 🫁🩻 clear. Right pneumothorax 🫀 is seen.\u2028 No edema.",
    "rtl": "FINDINGS: \u202eno\u202c ريه طبيعية. Nodule in the left lung.\nIMPRESSION: No nodule on the right.",
    "plain": "COMPARISON: None.\nFINDINGS: Mild cardiomegaly.\nIMPRESSION: Mild cardiomegaly.",
    "silent": "Nothing to be said.",
    "empty": "",
}
SAID = {
    "hostile": [("Small left pleural effusion", "pleural_effusion", "present")],
    "emoji": [("Right pneumothorax", "pneumothorax", "present"), ("No edema", "edema", "absent")],
    "rtl": [("Nodule in the left lung", "nodule", "present"), ("No nodule", "nodule", "absent")],
    "plain": [("Mild cardiomegaly", "cardiomegaly", "present"), ("<b>gone</b>", "edema", "present")],
    "silent": [],
}
OTHER = {
    **SAID,
    "emoji": [("Right pneumothorax 🫀 is seen", "pneumothorax", "absent"), ("No edema", "edema", "absent")],
    "plain": [],
}


class Reader(HTMLParser):
    """Counts scripts, collects what a page would fetch, its ids and inner links, and checks that tags are balanced."""

    VOID = frozenset({"meta", "link", "img", "input", "br", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.fetched, self.ids, self.links, self.scripts = [], [], [], [], 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        found = dict(attrs)
        self.scripts += tag == "script"
        self.open += [] if tag in self.VOID else [tag]
        self.fetched += [v for k, v in attrs if k in ("src", "srcset", "data", "poster") or k.startswith("on")]
        target = found.get("href", "#")
        (self.links if target.startswith("#") else self.fetched).append(target.removeprefix("#"))
        self.ids += [found["id"]] if "id" in found else []

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def make_archive(folder: Path, texts=TEXTS, truth=()) -> Archive:
    studies = [{"study_id": f"s:{k}", "patient_id": f"p:{k}", "dataset": "s", "split": "test"} for k in texts]
    reports = [{"report_id": f"r:{k}", "study_id": f"s:{k}", "text": text} for k, text in texts.items()]
    extra = {"evidence_truth": pd.DataFrame(list(truth), columns=list(Unit.model_fields))}
    return write_archive(folder, "invented", {"studies": studies, "reports": reports}, folder, extra_tables=extra)


def unit(key: str, quote: str, finding: str, assertion: str) -> dict:
    start = TEXTS[key].index(quote)
    end = start + len(quote)
    content = {"report_id": f"r:{key}", "section": "findings", "quote": quote, "start": start, "end": end}
    content |= {"alignment": "exact", "finding": finding, "finding_text": quote, "assertion": assertion, "run_id": "t"}
    return Unit(unit_id=unit_id(f"r:{key}", start, end, finding, None, "unspecified"), **content).model_dump()


def make_run(folder: Path, archive: Archive, said) -> Path:
    lines = []
    for key, units in said.items():
        stated = [{"quote": q, "finding": f, "finding_text": q, "assertion": a} for q, f, a in units]
        lines.append(json.dumps({"text_sha256": text_hash(TEXTS[key]), "text": json.dumps({"units": stated})}))
    folder.with_suffix(".jsonl").write_text("\n".join(lines))
    extract(archive, get_backend("replay", responses=folder.with_suffix(".jsonl")), folder, max_rejected=1)
    return folder


def make_page(root: Path) -> Path:
    """The page of an invented run with a gold and another run."""
    truth = [unit(k, *u) for k, said in SAID.items() for u in said if u[0] in TEXTS[k] and k != "hostile"]
    archive = make_archive(root / "archive", truth=[*truth, unit("silent", "Nothing", "edema", "present")])
    mine, other = make_run(root / "mine", archive, SAID), make_run(root / "other", archive, OTHER)
    return build_evidence_page(mine, archive, root / "deep" / "page.html", gold="phantom", against=other)


@pytest.fixture(scope="session")
def page(tmp_path_factory) -> Path:
    return make_page(tmp_path_factory.mktemp("page"))


def island(text: str) -> dict:
    """The page's JSON as a browser reads it."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_is_one_file_and_asks_for_nothing(page):
    found = Reader(text := page.read_text(encoding="utf-8"))
    assert found.fetched == []
    assert found.scripts == 2
    assert len(set(found.ids)) == len(found.ids)
    anchors = {link for link in found.links if link and "=" not in link}
    assert anchors <= set(found.ids)
    assert "http" not in re.sub(r"http-equiv|http://www\.w3\.org/\S+", "", text)


def test_report_text_is_data_and_never_markup(page):
    text = page.read_text(encoding="utf-8")
    assert "<img" not in text
    assert "<b>gone" not in text
    assert "\u2028" not in text
    reports = {r[0]: r[1] for r in island(text)["reports"]}
    assert reports == {f"r:{k}": v for k, v in TEXTS.items()}
    assert json.loads(script_json({"a": ATTACK})) == {"a": ATTACK}
    assert not set("<>&\u2028\u2029") & set(script_json(ATTACK))


def test_offsets_are_those_of_a_browser(page):
    data = island(page.read_text(encoding="utf-8"))
    shown = {}
    for report, text, _, pairs, *_ in data["reports"]:
        units = text.encode("utf-16-le")
        for a, *_rest in pairs:
            if a is not None:
                shown.setdefault(report, []).append(units[2 * a[0] : 2 * a[1]].decode("utf-16-le"))
    wanted = {f"r:{k}": [q for q, *_ in said if q in TEXTS[k]] for k, said in SAID.items() if said}
    assert {k: sorted(v) for k, v in shown.items()} == {k: sorted(v) for k, v in wanted.items()}


def test_stretches_that_were_passed_over_have_their_reasons(page):
    data = island(page.read_text(encoding="utf-8"))
    report = next(row for row in data["reports"] if row[0] == "r:plain")
    passed = [(report[1][start:end], data["values"][reason]) for start, end, reason in report[6]]
    assert passed[:2] == [("COMPARISON:", "heading"), (" None.\n", "comparison")]


def test_counts_refusals_gold_and_difference_are_told(page):
    text = " ".join(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8").split('<script type="app')[0]).split())
    assert "quote not in report the quoted words are not in the report 1 r:plain" in text
    assert "empty report the report has no text 1 r:empty" in text
    # pleural effusion is not in the truth at all, so only findings the phantom states are scored
    assert "edema 1 0 1 1.000 0.500 0.667" in text
    assert "missed edema r:silent" in text
    assert "pneumothorax r:emoji · one run says present, the other absent" in text
    assert "All 6 reports" in text


def test_what_to_read_comes_first(page):
    order = [r[0] for r in island(page.read_text(encoding="utf-8"))["reports"]]
    assert order[:3] == ["r:emoji", "r:plain", "r:silent"]  # contradiction, in one run only, missed


def test_a_page_of_one_run_needs_no_gold(tmp_path):
    archive = make_archive(tmp_path / "archive")
    run = make_run(tmp_path / "run", archive, SAID)
    text = build_evidence_page(run, archive, tmp_path / "p.html").read_text(encoding="utf-8")
    assert Reader(text).scripts == 2
    assert "Gold" not in text
    assert "RunComparison" not in text
    nothing = make_run(tmp_path / "nothing", archive, {k: [] for k in SAID})
    assert island(build_evidence_page(nothing, archive, tmp_path / "n.html").read_text())["reports"][0][3] == []
    with pytest.raises(UsageError, match="no gold 'openai'"):
        build_evidence_page(run, archive, tmp_path / "p.html", gold="openai")


def test_a_large_run_is_cut_with_every_finding_represented(tmp_path):
    texts = {f"r:{n}": "x" * 10 for n in range(500)}
    rows = []
    for n, report in enumerate(texts):
        finding = {0: "hernia", 1: "scoliosis"}.get(n % 250, "nodule")
        rows.append(unit("plain", "Mild", finding, "present") | {"report_id": report})
    units = units_by_report(pd.DataFrame(rows))
    pairs = {report: [Pair(report, "same", u, u) for u in found] for report, found in units.items()}
    content = Content(texts, pairs, [], [], ["r:7", "r:3"], {})
    chosen = choose(content, 20, seed=0)
    assert len(set(chosen)) == 20
    assert chosen[:2] == ["r:7", "r:3"]
    findings = [pairs[report][0].finding for report in chosen]
    assert (findings.count("hernia"), findings.count("scoliosis")) == (2, 2)
    assert chosen == choose(content, 20, seed=0) != choose(content, 20, seed=1)
    assert choose(content, 1, seed=0) == ["r:7"]
    assert len(choose(content, 1000, seed=0)) == 500


def test_the_page_says_what_it_leaves_out(tmp_path):
    archive = make_archive(tmp_path / "archive")
    run = make_run(tmp_path / "run", archive, SAID)
    text = build_evidence_page(run, archive, tmp_path / "p.html", limit=3, seed=5).read_text(encoding="utf-8")
    assert len(island(text)["reports"]) == 3
    said = " ".join(text.split())
    assert "holds 3 of 6 reports: all 1 with a disagreement or a refusal, the others drawn (seed 5)" in said


def test_gold_errors_come_urgent_and_rare_first_and_apart_last():
    import numpy as np

    counts = np.zeros((3, 4, 3))
    counts[0, 0, 2] = counts[1, 1, 1] = counts[2, 2, 2] = counts[0, 3, 1] = 1
    counts[1:, 2, 0] = 1
    classes = ["normal", "Cardiomegaly", "Pneumothorax", "Mass"]
    members = [frozenset({f}) for f in ("no_finding", "cardiomegaly", "pneumothorax", "mass")]
    comparison = GoldCounts("d", ["a", "b", "c"], classes, members, counts, excluded_from_averages=("normal",))
    found = [(e.report_id, e.name, e.kind) for e in gold_errors(comparison)]
    assert found == [
        ("a", "Mass", "false"), ("c", "Pneumothorax", "missed"), ("b", "Cardiomegaly", "false"),
        ("a", "normal", "missed"),
    ]  # fmt: skip
    row = next(r for r in gold_rows(comparison) if r.name == "Pneumothorax")
    assert (row.right, row.false, row.missed, row.precision, row.recall, row.f1) == (2, 0, 1, 1.0, 2 / 3, 0.8)
    assert next(r for r in gold_rows(comparison) if r.name == "normal").precision is None
