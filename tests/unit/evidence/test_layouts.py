"""150 invented reports in many layouts, whose units were written down before any reader had seen them.

The numbers are of the first and only reading of this set; the rules are not fitted to it, so that they tell how the
rules do on layouts that nobody thought of.
"""

from pathlib import Path

from lgdea.evidence.rules.reader import read_report
from tests.helpers.report_gold import disagreements, read_gold

REPORTS = read_gold(Path(__file__).with_name("layouts.jsonl"))
RIGHT, REVERSED = 109, 11


def test_reports_in_layouts_that_the_rules_were_not_written_for():
    found = {report.id: list(disagreements(report, read_report(report.text))) for report in REPORTS}
    wrong = {report: differences for report, differences in found.items() if differences}
    turned = [report for report, differences in wrong.items() if any(kind == "reversed" for kind, _ in differences)]
    assert len(REPORTS) == 150
    assert len(REPORTS) - len(wrong) >= RIGHT, wrong
    assert len(turned) <= REVERSED, turned
