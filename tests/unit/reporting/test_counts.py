from __future__ import annotations

import pandas as pd

from lgdea.records.archive import Archive
from lgdea.reporting.counts import count_archive, count_evidence, count_pairings
from lgdea.reporting.run_folder import read_run


def test_archive_counts(world) -> None:
    counts = count_archive(Archive.open(world.archive))
    assert dict(counts.totals) == {"studies": 12, "patients": 6, "images": 12, "reports": 12, "boxes": 12, "labels": 0}
    assert [name for name, _ in counts.splits] == ["train", "val", "test"]
    assert counts.splits[0][1] == (4, 4, 4, 4)
    assert sum(row[1][0] for row in counts.splits) == 12


def test_equal_pairings_are_told_once(world) -> None:
    (pairing,) = count_pairings([read_run(label, folder) for label, folder in world.runs.items()])
    assert pairing.labels == ("clip", "lgdea")
    assert [(s[0], s[2], s[3]) for s in pairing.states] == [("paired", 2, 2), ("unlinked", 10, 6)]
    assert (pairing.linked, pairing.studies) == (2, 12)


def test_evidence_counts() -> None:
    units = pd.DataFrame(
        {
            "report_id": ["a", "a", "b", "b"],
            "finding": ["edema", "nodule", "edema", "edema"],
            "assertion": ["present", "absent", "uncertain", "present"],
            "alignment": ["exact", "exact", "exact", "fuzzy"],
        }
    )
    counts = count_evidence(units, top=1)
    assert (counts.units, counts.reports, counts.located) == (4, 2, 0.75)
    assert counts.assertions == (("present", 2), ("uncertain", 1), ("absent", 1))
    assert [(f.name, f.parts, f.total) for f in counts.findings] == [("edema", (2, 1, 0), 3)]


def test_no_evidence_at_all() -> None:
    empty = pd.DataFrame(columns=["report_id", "finding", "assertion", "alignment"], dtype="str")
    counts = count_evidence(empty)
    assert (counts.units, counts.located, counts.findings) == (0, 0.0, ())
