"""Whatever a reader is given, it gives a valid result or an error of one line; ``make fuzz`` tries more examples.

``LGDEA_FUZZ`` is the number of examples of each target (60 by default); Hypothesis shrinks what it finds.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lgdea.config import load_config
from lgdea.errors import LgdeaError
from lgdea.evidence.alignment.aligner import Aligner
from lgdea.evidence.backends.http_client import TransientServerError, _read_answer
from lgdea.evidence.layout import lay_out
from lgdea.evidence.prompts import load_prompt
from lgdea.evidence.response import InvalidResponse
from lgdea.evidence.rules.reader import read_report
from lgdea.imaging.geometry import fit, geometry
from lgdea.imaging.read import read_image, read_size
from lgdea.manifests import read_manifest, seal
from lgdea.pretraining.config import PretrainConfig
from lgdea.records.adapters.openi import parse_report
from lgdea.records.adapters.table.adapter import ADAPTER
from lgdea.records.csv_io import read_csv, read_spreadsheet

EXAMPLES = int(os.environ.get("LGDEA_FUZZ", "60"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=timedelta(seconds=20),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
WORDS = (
    "FINDINGS: IMPRESSION: no pleural effusion pneumothorax opacity left right base , . ; \n \t ( ) 1. 2) - * <b> | "
    "&amp; ___ normal heart size 5 mm x versus cannot be excluded unchanged INDICATION COMPARISON \u00a0 \u2028 ﬁ ß"
)
words = st.sampled_from(WORDS.split(" "))
reports = st.one_of(st.text(max_size=200), st.lists(words, max_size=40).map(" ".join))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
)


def one_line(read: Callable[[], Any], *also: type[Exception]) -> Any:
    """What a reader gives; None for an error that is meant for people, which must be one line."""
    try:
        return read()
    except (LgdeaError, *also) as error:
        said = str(error)
    assert said
    assert "\n" not in said
    return None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def _mutations(whole: bytes) -> st.SearchStrategy[bytes]:
    """A file with some bytes replaced, removed or repeated."""
    edits = st.lists(st.tuples(st.integers(0, len(whole)), st.integers(0, 6), st.binary(max_size=6)), max_size=6)

    def edit(changes: list[tuple[int, int, bytes]]) -> bytes:
        content = whole
        for at, removed, new in changes:
            content = content[:at] + new + content[at + removed :]
        return content

    return edits.map(edit)


cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(['"', '""', ",", "=1", "a\nb"])
tables = st.one_of(
    st.binary(max_size=200),
    st.lists(st.lists(cells, min_size=1, max_size=5), min_size=1, max_size=6).map(
        lambda rows: "\n".join(",".join(row) for row in rows).encode()
    ),
    _mutations(b'study_id,patient_id,report\r\n1,a,"No ""large"" effusion."\r\n2,b,Clear\r\n'),
    st.text(max_size=80).map(lambda text: ("study_id;report\n1;" + text).encode("utf-16", "replace")),
)


@given(tables)
@fuzz
def test_csv(place: Path, content: bytes) -> None:
    file = place / "table.csv"
    file.write_bytes(content)
    one_line(lambda: read_csv(file, [], card="openi"))
    one_line(lambda: read_spreadsheet(file, []))


@given(tables)
@fuzz
def test_table_adapter(place: Path, content: bytes) -> None:
    source = place / "source"
    source.mkdir(exist_ok=True)
    (source / "table.csv").write_bytes(content)
    one_line(lambda: ADAPTER.build(source, place / "archive"))


XML = (
    b"<?xml version='1.0'?><eCitation><uId id='CXR1'/><MedlineCitation><Article><Abstract>"
    b"<AbstractText Label='FINDINGS'>Clear &amp; dry.</AbstractText>"
    b"<AbstractText Label='FINDINGS'>Again.</AbstractText>"
    b"</Abstract></Article></MedlineCitation><MeSH><major>normal</major></MeSH><parentImage id='a'/></eCitation>"
)


@given(_mutations(XML) | st.binary(max_size=100))
@fuzz
def test_xml(place: Path, content: bytes) -> None:
    file = place / "1.xml"
    file.write_bytes(content)
    found = one_line(lambda: parse_report(file))
    assert found is None or found["id"].startswith("openi:")


def _picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(12, 16)).save(stream, kind)
    return stream.getvalue()


def _dicom() -> bytes:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 4, 6, 1
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.WindowCenter, dataset.WindowWidth, dataset.RescaleSlope, dataset.RescaleIntercept = "20", "40", "1", "0"
    dataset.PixelData = np.arange(24, dtype="<u2").tobytes()
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


pictures = st.one_of(
    *(_mutations(whole) for whole in (_picture("PNG"), _picture("JPEG"), _dicom(), _dicom())),
    st.binary(max_size=60).map(lambda tail: bytes(128) + b"DICM" + tail),
    st.binary(max_size=60).map(lambda tail: b"\x89PNG\r\n\x1a\n" + tail),
)


@given(pictures)
@fuzz
def test_pictures_and_dicom_headers(place: Path, content: bytes) -> None:
    file = place / "x.png"
    file.write_bytes(content)
    size = one_line(lambda: read_size(file))
    assert size is None or min(size) > 0
    image = one_line(lambda: read_image(file))
    if image is not None:
        assert np.isfinite(image.pixels).all()
        assert 0 <= image.pixels.min() <= image.pixels.max() <= 1


@given(reports, st.text(max_size=40) | st.lists(words, max_size=6).map(" ".join), st.none() | st.integers(-5, 300))
@fuzz
def test_alignment(text: str, quote: str, start: int | None) -> None:
    found = Aligner(text).align(quote, start)
    assert found is None or 0 <= found.start < found.end <= len(text)
    assert isinstance(Aligner(text).why_not(quote), str)


@given(reports)
@fuzz
def test_sections_and_rules(text: str) -> None:
    for section in lay_out(text).sections:
        assert 0 <= section.start <= section.end <= len(text)
    for item in read_report(text):
        assert 0 <= item.start < item.end <= len(text)


@given(st.integers(1, 5_000), st.integers(1, 5_000), st.integers(1, 600), st.sampled_from(["letterbox", "center_crop"]))
@fuzz
def test_geometry(width: int, height: int, size: int, mode: Any) -> None:
    frame = geometry(width, height, size, mode)
    box = np.array([0.0, 0.0, width, height])
    np.testing.assert_allclose(frame.to_source_box(frame.to_model_box(box)), box, atol=1e-6 * max(width, height))
    if width * height < 40_000:
        pixels, _ = fit(np.full((height, width), 0.5, np.float32), size, mode)
        assert pixels.shape == (size, size)


KEYS = (
    "seed data data.archive data.batch_size_per_device image.size image.tower text.max_tokens objective objective.name "
    "optimizer.lr trainer trainer.max_steps trainer.precision validation checkpoint.every_steps image.augment"
)
keys = st.sampled_from(KEYS.split())


@given(st.lists(st.tuples(keys | st.text(max_size=12), st.text(max_size=20) | trees.map(str)), max_size=3), trees)
@fuzz
def test_configs(place: Path, overrides: list[tuple[str, str]], tree: Any) -> None:
    one_line(lambda: load_config(PretrainConfig, [], [f"{key}={value}" for key, value in overrides]))
    file = place / "config.yaml"
    file.write_text(json.dumps(tree), encoding="utf-8", errors="replace")
    one_line(lambda: load_config(PretrainConfig, [file]))


@given(st.binary(max_size=120) | trees.map(lambda tree: json.dumps({"seed": tree}).encode()))
@fuzz
def test_yaml_files(place: Path, content: bytes) -> None:
    file = place / "config.yaml"
    file.write_bytes(content)
    one_line(lambda: load_config(PretrainConfig, [file]))


@given(_mutations(json.dumps(seal({"a": [1, {"b": None}], "c": "d"})).encode()))
@fuzz
def test_manifests(place: Path, content: bytes) -> None:
    file = place / "run.json"
    file.write_bytes(content)
    one_line(lambda: read_manifest(file))


UNIT = {"quote": "No effusion", "finding": "pleural_effusion", "finding_text": "effusion", "assertion": "absent"}
UNIT |= {"anatomy": "unspecified", "laterality": "unspecified", "severity": "unspecified", "change": "unspecified"}
units = st.dictionaries(st.sampled_from(list(UNIT)), trees, max_size=3).map(
    lambda changed: json.dumps({"units": [UNIT | {"refers_to_prior": False} | changed]})
)
damaged = _mutations(json.dumps({"units": []}).encode()).map(lambda content: content.decode("utf-8", "replace"))
answers = st.one_of(units, trees.map(json.dumps), st.text(max_size=60), damaged)


@given(answers)
@fuzz
def test_answers_of_models(answer: str) -> None:
    for prompt in ("evidence-v2", "sentence-v2"):
        one_line(lambda prompt=prompt: load_prompt(prompt).parse(answer, "FINDINGS: No effusion."), InvalidResponse)


choices = st.lists(st.fixed_dictionaries({"message": trees, "finish_reason": scalars}) | trees, max_size=2)
envelope = st.fixed_dictionaries({"choices": choices | trees}, optional={"usage": trees, "error": trees})
messages = st.fixed_dictionaries({}, optional={"content": trees, "refusal": trees, "role": scalars})
with_messages = st.tuples(messages, trees, trees).map(
    lambda p: {"choices": [{"message": p[0], "logprobs": p[1]}], "usage": {"completion_tokens": p[2]}}
)


@given(envelope | with_messages | trees)
@fuzz
def test_responses_of_servers(content: Any) -> None:
    answer = one_line(lambda: _read_answer(content), TransientServerError)
    assert answer is None or answer.tokens is None or answer.tokens >= 0
