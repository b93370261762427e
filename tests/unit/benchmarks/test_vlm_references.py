"""Rows of the benchmark of a vision-language model beside references, made on small phantoms."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from benchmarks import vlm_references as bench
from lgdea.records.archive import Archive


def test_rows_are_alone_and_beside_in_turn_and_tell_the_truth(tmp_path, monkeypatch):
    monkeypatch.setattr(
        bench, "PHANTOMS", {"strong": {"studies": 80, "lesion_contrast": 3.0}, "usual": {"studies": 80}}
    )
    monkeypatch.setattr(bench, "STEPS", {"strong": 2, "usual": 3})
    for name in bench.PHANTOMS:
        bench.make_rows(tmp_path, name)
    file = bench.write_curriculum(tmp_path, tmp_path / "0" / "rows.jsonl", 0)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == 5 * bench.ROWS
    assert [len(row["images"]) for row in rows] == [1, 2] * (len(rows) // 2)
    answers = [row["completion"][0]["content"][0]["text"] for row in rows]
    assert 0.3 < Counter(answers)["yes"] / len(rows) < 0.7
    assert ["strong" in row["images"][0] for row in rows] == [True] * 2 * bench.ROWS + [False] * 3 * bench.ROWS
    archives = {name: Archive.open(tmp_path / name) for name in bench.PHANTOMS}
    for row, answer in zip(rows, answers, strict=True):
        archive = archives["strong" if "strong" in row["images"][0] else "usual"]
        files = {str(Path(archive.image_path(image)).resolve()): image for image in archive.images["image_id"]}
        query = archive.images.set_index("image_id").loc[files[row["images"][-1]], "study_id"]
        labels = archive.labels.query("study_id == @query").set_index("finding")["value"]
        assert (labels[row["class"]] == 1) == (answer == "yes")
        assert archive.studies.set_index("study_id").loc[query, "split"] == "train"
