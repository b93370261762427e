"""150 invented reports in many layouts, whose units were written down before any reader had seen them.

At the first reading, before anybody had looked at it, 109 were right and 11 had a reversed assertion: that is how the
rules did on layouts that nobody had thought of. The set has been looked at since, and the kinds of faults that it
showed have been mended; the floors below are of after that.
"""

from pathlib import Path

from lgdea.evidence.rules.reader import read_report
from tests.helpers.report_gold import disagreements, read_gold

REPORTS = read_gold(Path(__file__).with_name("layouts.jsonl"))
RIGHT, REVERSED = 144, 0


def test_reports_in_many_layouts():
    found = {report.id: list(disagreements(report, read_report(report.text))) for report in REPORTS}
    wrong = {report: differences for report, differences in found.items() if differences}
    turned = [report for report, differences in wrong.items() if any(kind == "reversed" for kind, _ in differences)]
    assert len(REPORTS) == 150
    assert len(REPORTS) - len(wrong) >= RIGHT, wrong
    assert len(turned) <= REVERSED, turned
