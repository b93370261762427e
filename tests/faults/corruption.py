"""Flipped bits and cut files: what reads them says so in one line, or reads what was written."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.process import call
from tests.faults.stages import Workspace
from tests.faults.trials import Log, Trial

Read = Callable[[Path], Any]


def _archive(file: Path) -> Any:
    from lgdea.records.archive import Archive
    from lgdea.records.schema import TABLES

    archive = Archive.open(file.parent)
    return [getattr(archive, name).to_dict("list") for name in TABLES], archive.name


def _image(file: Path) -> Any:
    from lgdea.imaging.read import read_image

    return read_image(file).pixels.tobytes()


def _evidence(file: Path) -> Any:
    from lgdea.evidence.io import iter_rejects, read_evidence

    return read_evidence(file.parent).to_dict("list"), list(iter_rejects(file.parent))


def _raw(file: Path) -> Any:
    from lgdea.evidence.io import iter_raw

    return list(iter_raw(file.parent.parent))


def _pairing(file: Path) -> Any:
    from lgdea.records.pairing import read_pairing

    return read_pairing(file).to_dict("list")


def _model(file: Path) -> Any:
    import lgdea

    model = lgdea.load_model(file.parent)
    return [value.numpy().tobytes() for value in model.state_dict().values()], model.preprocess.to_dict()


def _entity_model(file: Path) -> Any:
    from lgdea.comparison.entity.train import load_entity_model

    return [value.numpy().tobytes() for value in load_entity_model(file.parent).state_dict().values()]


def _run(file: Path) -> Any:
    from lgdea.reporting.run_folder import read_run

    run = read_run("a", file.parent)
    metrics = {name: [part.tolist() for part in values] for name, values in run.metrics.items()}
    return run.config, run.environment, run.manifest, metrics


def _checkpoint(file: Path) -> Any:
    """Name and content of the checkpoint that a resumed run takes; an older one stands for a refusal."""
    import torch

    from lgdea.errors import DataError
    from lgdea.training.callbacks import newest_checkpoint

    newest = newest_checkpoint(file.parent)
    if newest != file:
        raise DataError("an older checkpoint is taken", file=file)
    content = torch.load(file, map_location="cpu", weights_only=True)
    return [value.numpy().tobytes() for value in content["state_dict"].values()], content["global_step"]


def _frames(file: Path) -> Any:
    from lgdea.imaging.frames import ImageCache

    cache = ImageCache(file.parent)
    return cache.ids, cache[:].tobytes()


def _features(file: Path) -> Any:
    import numpy as np

    from lgdea.training.feature_cache import check_features

    check_features(file.parent)
    return np.load(file.parent / "features.npy").tobytes()


def _embeddings(file: Path) -> Any:
    from lgdea.evaluation.embed import read_embeddings

    both = [read_embeddings(file.parent, side) for side in ("image", "report")]
    return [(array.tobytes(), ids.to_dict("list")) for array, ids in both]


def _result(file: Path) -> Any:
    from lgdea.evaluation.results.result import read_result

    result = read_result(file.with_suffix(".json"))
    return result.to_dict(), result.items.to_dict("list")


def _archive_files() -> Iterator[tuple[str, str, Read]]:
    for name in ("reports", "studies", "images", "boxes", "labels"):
        yield "archive table", f"build/{name}.parquet", _archive


FILES: list[tuple[str, str, Read]] = [
    *_archive_files(),
    ("archive.json", "build/archive.json", _archive),
    ("picture", "build/images/*.png", _image),
    *(("evidence", f"extract/{name}", _evidence) for name in ("evidence.parquet", "rejects.jsonl", "run.json")),
    ("raw answers", "extract http/raw/*.jsonl", _raw),
    ("pairing", "pairing.parquet", _pairing),
    ("weights", "pretrain/model/model.safetensors", _model),
    *(("model's JSON", f"pretrain/model/{n}.json", _model) for n in ("config", "preprocess", "tokenizer")),
    *(("run folder", f"pretrain/{name}", _run) for name in ("run.json", "config.yaml", "env.json", "metrics.csv")),
    ("checkpoint", "pretrain/checkpoints/step-0000004.ckpt", _checkpoint),
    *(("image cache", f"pretrain/image_cache/{n}", _frames) for n in ("pixels.npy", "index.parquet", "cache.json")),
    *(("feature cache", f"frozen/feature_cache/*/{name}", _features) for name in ("features.npy", "checksums.bin")),
    *(("embeddings", f"embed/{n}", _embeddings) for n in ("images.npy", "reports.npy", "images.parquet", "run.json")),
    *(("result", f"eval/zero-shot.{end}", _result) for end in ("json", "parquet")),
    ("entity head", "compare/model/*.safetensors", _entity_model),
]


def flip_bits(work: Workspace, log: Log, count: int) -> None:
    """One bit of one file at a time."""
    _damage(work, log, count, "bit flip")


def truncate(work: Workspace, log: Log, count: int) -> None:
    """A file cut to some lengths."""
    _damage(work, log, min(count, 8), "truncation")


def _damage(work: Workspace, log: Log, count: int, how: str) -> None:
    for place, (kind, pattern, _) in enumerate(FILES):
        found = sorted(work.inputs.glob(pattern))
        if not found:
            log.add(Trial(f"{how}, {kind}", pattern, "lost", "no such file was written"))
            continue
        if not found[0].stat().st_size:
            continue  # nothing was rejected: there is no bit to flip
        name = str(found[0].relative_to(work.inputs))
        if (f"{how}, {kind}", f"{name} {count - 1}") in log:
            continue
        said = work.trials / "damage.jsonl"
        said.parent.mkdir(parents=True, exist_ok=True)
        said.unlink(missing_ok=True)
        call(_damage_file, place, str(work.inputs), name, how, count, str(said))
        lines = [json.loads(line) for line in said.read_text().splitlines()] if said.exists() else []
        for number in range(count):
            outcome, detail = lines[number] if number < len(lines) else ("died", "the reader died or hung")
            log.add(Trial(f"{how}, {kind}", f"{name} {number}", outcome, detail))


def _damage_file(place: int, inputs: str, name: str, how: str, count: int, said: str) -> None:
    """In a child: damage a copy ``count`` times, and note what its reader makes of each."""
    read = FILES[place][2]
    top = name.partition("/")[0]
    copy = Path(said).with_name("damaged")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    whole_top = Path(inputs) / top
    shutil.copytree(whole_top, copy / top) if whole_top.is_dir() else shutil.copy(whole_top, copy)
    file = copy / name
    whole, draw = file.read_bytes(), random.Random(f"{name} {how}")
    expected = repr(read(file))
    with Path(said).open("a") as stream:
        for number in range(count):
            where, content = _damaged(whole, how, number, draw)
            file.write_bytes(content)
            stream.write(json.dumps(_judge(read, file, expected, where)) + "\n")
            stream.flush()


def _damaged(whole: bytes, how: str, number: int, draw: random.Random) -> tuple[str, bytes]:
    if how == "truncation":
        length = (0, 1, len(whole) // 2, len(whole) - 1)[number] if number < 4 else draw.randrange(len(whole))
        return f"cut to {length}", whole[:length]
    bit = draw.randrange(8 * len(whole))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    return f"bit {bit}", bytes(flipped)


def _judge(read: Read, file: Path, expected: str, where: str) -> tuple[str, str]:
    from lgdea.errors import LgdeaError

    try:
        outcome = repr(read(file))
    except LgdeaError as error:
        return ("refused", where) if error.file else ("traceback", f"{where}: no file is named: {error}")
    except BaseException as error:
        return "traceback", f"{where}: {type(error).__name__}: {error}"[:300]
    return ("same", where) if outcome == expected else ("silent", where)
