"""One flipped bit in anything that a stage wrote is an error or has no effect; what is gone is made again."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lgdea
from lgdea.errors import LgdeaError
from lgdea.evaluation.embed import read_embeddings
from lgdea.evaluation.results.result import read_result
from lgdea.evidence.io import read_evidence
from lgdea.imaging.frames import ImageCache
from lgdea.records.archive import Archive
from lgdea.records.pairing import read_pairing
from lgdea.records.schema import TABLES
from tests.helpers.command_line import run_lgdea

FLIPS = 25


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive, its evidence, a pairing, a short run, embeddings and a result."""
    folder = tmp_path_factory.mktemp("work")
    archive = lgdea.build_archive("phantom", "default", folder / "archive", studies=60, size=64)
    lgdea.extract(archive, out=folder / "evidence")
    lgdea.make_pairing(archive, 0.5, out=folder / "pairing.parquet")
    config: dict[str, Any] = {"trainer": {"max_steps": 2}, "validation": {"max_images": 0}}
    pairing = folder / "pairing.parquet"
    lgdea.pretrain(archive, folder / "evidence", pairing, folder / "run", "demo-clip", **config)
    lgdea.evaluate(folder / "run" / "model", archive, "zero-shot", out=folder / "results", min_positive=1)
    return folder


def _tables(folder: Path) -> list[Any]:
    archive = Archive.open(folder)
    return [getattr(archive, name).to_dict("list") for name in TABLES] + [archive.name, str(archive.image_root)]


def _weights(folder: Path) -> list[Any]:
    model = lgdea.load_model(folder)
    return [*(value.numpy().tobytes() for value in model.state_dict().values()), model.preprocess.to_dict()]


def _result(file: Path) -> list[Any]:
    result = read_result(file)
    return [result.to_dict(), result.items.to_dict("list")]


READERS: list[tuple[str, Callable[[Path], Any]]] = [
    *((f"archive/{name}.parquet", lambda file: _tables(file.parent)) for name in TABLES),
    ("archive/archive.json", lambda file: _tables(file.parent)),
    ("evidence/evidence.parquet", lambda file: read_evidence(file.parent).to_dict("list")),
    ("evidence/run.json", lambda file: read_evidence(file.parent).to_dict("list")),
    ("pairing.parquet", lambda file: read_pairing(file).to_dict("list")),
    ("run/model/model.safetensors", lambda file: _weights(file.parent)),
    ("run/model/config.json", lambda file: _weights(file.parent)),
    ("run/model/preprocess.json", lambda file: _weights(file.parent)),
    ("run/model/tokenizer.json", lambda file: _weights(file.parent)),
    ("results/zero-shot.json", _result),
    ("results/zero-shot.parquet", lambda file: _result(file.with_suffix(".json"))),
    ("run/image_cache/pixels.npy", lambda file: ImageCache(file.parent)[:].tobytes()),
    ("run/image_cache/index.parquet", lambda file: ImageCache(file.parent).ids),
    ("run/image_cache/cache.json", lambda file: ImageCache(file.parent)[:].tobytes()),
]


@pytest.mark.parametrize(("name", "read"), READERS, ids=[name for name, _ in READERS])
def test_no_flipped_bit_is_read_as_something_else(
    work: Path, tmp_path: Path, name: str, read: Callable[[Path], Any]
) -> None:
    top = name.partition("/")[0]
    place = shutil.copytree(work / top, tmp_path / top) if (work / top).is_dir() else tmp_path
    if place == tmp_path:
        shutil.copy(work / top, place)
    file = tmp_path / name
    whole, draw = file.read_bytes(), random.Random(name)
    expected = repr(read(file))
    for _ in range(FLIPS):
        at = draw.randrange(8 * len(whole))
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        file.write_bytes(flipped)
        error, outcome = _read(read, file)
        if error is not None:
            assert error.file is not None  # one line that names a file
            continue
        assert outcome == expected, f"bit {at} of {name}"
        # White space of a manifest and the footer of a table without one may change unnoticed.
        assert name.endswith(".json") or name == "pairing.parquet", f"bit {at} of {name} was not noticed"


def _read(read: Callable[[Path], Any], file: Path) -> tuple[LgdeaError | None, str]:
    try:
        return None, repr(read(file))
    except LgdeaError as error:
        return error, ""


def test_verify_names_what_was_changed_and_accept_takes_it(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(work, tmp_path / "work")
    code, out, err = run_lgdea(capsys, "verify", str(folder))
    assert code == 0, err
    cut = folder / "archive" / "reports.parquet"
    cut.write_bytes(cut.read_bytes()[:-1])
    (folder / "results" / "zero-shot.parquet").unlink()
    weights = folder / "run" / "model" / "model.safetensors"  # sealed by the model and by its run
    weights.write_bytes(weights.read_bytes()[:-1])
    code, out, err = run_lgdea(capsys, "verify", str(folder))
    assert code == 1
    assert "archive/reports.parquet: is not as it was written" in out
    assert "results/zero-shot.parquet: is missing" in out
    assert out.count("model.safetensors: is not as it was written") == 1
    assert "3 of" in err
    assert run_lgdea(capsys, "verify", str(folder), "--accept")[0] == 0
    assert run_lgdea(capsys, "verify", str(folder))[0] == 0


def test_a_finished_stage_whose_output_is_gone_makes_it_again(work: Path, tmp_path: Path) -> None:
    evidence = shutil.copytree(work / "evidence", tmp_path / "evidence")
    before = (evidence / "evidence.parquet").read_bytes()
    (evidence / "evidence.parquet").unlink()
    with pytest.raises(LgdeaError, match=r"lacks evidence.parquet; .*lgdea extract"):
        read_evidence(evidence)
    lgdea.extract(work / "archive", out=evidence)
    assert (evidence / "evidence.parquet").read_bytes() == before


def test_a_finished_stage_whose_output_was_changed_is_refused(work: Path, tmp_path: Path) -> None:
    evidence = shutil.copytree(work / "evidence", tmp_path / "evidence")
    pd.DataFrame({"a": [1]}).to_parquet(evidence / "evidence.parquet")
    with pytest.raises(LgdeaError, match=r"evidence.parquet: is not as it was written"):
        lgdea.extract(work / "archive", out=evidence)


def test_equal_models_are_equal_files(work: Path, tmp_path: Path) -> None:
    model = lgdea.load_model(work / "run" / "model")
    first, second = (lgdea.save_model(model, tmp_path / name) for name in "ab")
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_embeddings_notice_a_flipped_bit_and_replaced_pictures(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = shutil.copytree(work / "archive", tmp_path / "archive")
    out, model = tmp_path / "embeddings", work / "run" / "model"
    assert run_lgdea(capsys, "embed", str(model), str(archive), "--out", str(out))[0] == 0
    vectors = np.array(read_embeddings(out, "image")[0])
    assert np.isfinite(vectors).all()
    picture = next((archive / "images").glob("*.png"))
    picture.write_bytes(picture.read_bytes() + b"\0")
    code, _, err = run_lgdea(capsys, "embed", str(model), str(archive), "--out", str(out))
    assert code == 2
    assert "pictures" in err
    array = out / "images.npy"
    flipped = bytearray(array.read_bytes())
    flipped[-3] ^= 1
    array.write_bytes(flipped)
    with pytest.raises(LgdeaError, match="is not as it was written"):
        read_embeddings(out, "image")
