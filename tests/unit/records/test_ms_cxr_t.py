"""MS-CXR-T: its table, checks, and the list of subjects that keeps them out of a training on MIMIC-CXR."""

import numpy as np
import pytest
from PIL import Image

from lgdea.errors import DataError, UsageError
from lgdea.evaluation.suites.prepare import prepare_task
from lgdea.evaluation.suites.suite import load_suite
from lgdea.evaluation.tasks import change
from lgdea.records.adapters.mimic_cxr import _held_out
from lgdea.records.adapters.ms_cxr_t import ADAPTER, FINDINGS, STATES

NAME = "MS_CXR_T_temporal_image_classification_v1.0.0.csv"
HEAD = ["subject_id", "study_id", "dicom_id", "previous_study_id", "previous_dicom_id"]
HEAD += [f"{finding}_{what}" for finding in FINDINGS for what in ("progression", "label_quality")]


def place(subject, study, image):
    return f"p{str(subject)[:2]}/p{subject}/s{study}/{image}"


def row(number, states, quality="one_expert"):
    """A pair of a subject of its own; the study with the LARGER id is the earlier one."""
    subject, study, previous = 10000 + number, 5000 + number, 9000 + number
    cells = [subject, study, place(subject, study, f"now{number}"), previous, place(subject, previous, f"old{number}")]
    for finding in FINDINGS:
        cells += [states.get(finding, ""), quality if finding in states else ""]
    return [str(cell) for cell in cells]


@pytest.fixture
def source(tmp_path):
    def write(rows, pictures=True):
        (tmp_path / NAME).write_text("\n".join(",".join(cells) for cells in [HEAD, *rows]) + "\n")
        for cells in rows if pictures else []:
            for k, column in ((1, 2), (0, 4)):
                file = tmp_path / "files" / f"{cells[column]}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                noise = np.random.default_rng(int(cells[0]) * 2 + k).integers(0, 255, (24, 24), np.uint8)
                Image.fromarray(noise).save(file)
        return tmp_path

    return write


WORDS = list(STATES)
ROWS = [
    row(n, {"edema": WORDS[n % 3], "pneumonia": WORDS[(n + 1) % 3]}, "disagreement" if n == 4 else "one_expert")
    for n in range(9)
]


def test_pairs_changes_and_the_list_of_subjects(source, tmp_path):
    archive = ADAPTER.build(source(ROWS), tmp_path / "archive")
    assert len(archive.extra("pairs")) == 9
    assert len(archive.studies) == 18
    changes = archive.extra("changes")
    assert changes["state"].value_counts().to_dict() == {"better": 6, "stable": 6, "worse": 6}
    assert (archive.info["pairs"], archive.info["labels"]) == (9, 18)
    assert archive.info["whole"] is False
    assert (archive.folder / "subjects.csv").read_text().split() == ["subject_id", *(str(10000 + n) for n in range(9))]
    assert set(archive.studies["split"]) == {"test"}


class Knows:
    name = "knows"

    def __init__(self, archive):
        from lgdea.imaging.read import read_image

        truth = archive.extra("changes").set_index(["image_prior", "image_current", "finding"])["state"].to_dict()
        self.ids = {
            np.asarray(read_image(archive.image_path(i)).pixels).tobytes(): i for i in archive.images["image_id"]
        }
        self.truth = truth | {
            (b, a, f): {"better": "worse", "worse": "better"}.get(s, s) for (a, b, f), s in truth.items()
        }

    def read_changes(self, prior, current, findings):
        from lgdea.comparison.change.states import STATES as ALL

        keys = [
            [(self.ids[a.tobytes()], self.ids[b.tobytes()], f) for f in findings]
            for a, b in zip(prior, current, strict=True)
        ]
        return np.array([[[s == self.truth.get(key) for s in ALL] for key in line] for line in keys], float)


def test_the_suite_scores_three_states_and_reports_without_disagreement(source, tmp_path):
    archive = ADAPTER.build(source(ROWS), tmp_path / "archive")
    task = prepare_task(load_suite("ms-cxr-t"), "change", archive)
    assert task.suite == "ms-cxr-t@1"
    assert "not the whole of ms-cxr-t@1: 1,045 pairs expected, 9 here; 1,326 changes expected, 18 here" in task.notes
    result = task.annotate_result(change(Knows(archive), task.archive, task.config))
    assert result.metrics["balanced_accuracy_macro"].value == result.metrics["swap_flipped"].value == 1
    assert set(result.per_class) == {"edema", "pneumonia"}
    assert result.n_ids == 9
    assert any("without the 2 labels on which the source's readers disagree (16 left)" in note for note in result.notes)


@pytest.mark.parametrize(
    ("column", "cell", "line"),
    [
        (
            "edema_progression",
            "improved",
            "row 1: edema_progression is 'improved', none of improving, stable, worsening",
        ),
        ("edema_label_quality", "two", "row 1: edema_label_quality is 'two', none of one_expert"),
        ("dicom_id", "now0", "row 1: dicom_id is 'now0', not like p10"),
        ("dicom_id", place(77777, 5000, "x"), "row 1: dicom_id is .*, not an image of this row's subject"),
        ("previous_dicom_id", place(10000, 5000, "x"), "row 1: previous_dicom_id is .*, an image of the current study"),
    ],
)
def test_a_wrong_cell_is_named(source, tmp_path, column, cell, line):
    rows = [list(cells) for cells in ROWS]
    rows[0][HEAD.index(column)] = cell
    with pytest.raises(DataError, match=line):
        ADAPTER.build(source(rows), tmp_path / "archive")


def test_without_pictures_or_table_one_line_says_what_to_do(source, tmp_path):
    with pytest.raises(UsageError, match=r"holds none of the images .* --option images=FOLDER"):
        ADAPTER.build(source(ROWS, pictures=False), tmp_path / "archive")
    (tmp_path / NAME).unlink()
    with pytest.raises(UsageError, match="no such file: MS_CXR_T"):
        ADAPTER.build(tmp_path, tmp_path / "archive")


def test_subjects_are_held_out_of_mimic(source, tmp_path):
    import pandas as pd

    archive = ADAPTER.build(source(ROWS), tmp_path / "archive")
    studies = pd.DataFrame({"patient_id": ["mimic-cxr:p10003", "mimic-cxr:p1", "mimic-cxr:p2"], "split": "train"})
    metadata = pd.DataFrame({"dicom_id": ["d"], "patient_id": ["mimic-cxr:p2"]})
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("dicom_id\nd\n")
    both = f"{archive.folder / 'subjects.csv'},{boxes}"
    assert _held_out(studies, metadata, both)["split"].tolist() == ["test", "train", "test"]
    assert _held_out(studies, metadata, tmp_path / NAME)["split"].tolist() == ["test", "train", "train"]
    boxes.write_text("path\nd\n")
    with pytest.raises(DataError, match="has neither subject_id nor dicom_id"):
        _held_out(studies, metadata, boxes)
