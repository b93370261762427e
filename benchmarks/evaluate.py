"""Cost of evaluation: retrieval of a large split from given embeddings, and embedding beside the bare encoders.

Every part leaves one JSON file; what is there is not measured again. Retrieval of each size has one thread and a
process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field, PositiveInt

from benchmarks.archive import PhantomSettings
from lgdea import runs
from lgdea.config import Config, load_config
from lgdea.errors import UsageError
from lgdea.version import __version__

if TYPE_CHECKING:
    from lgdea.evaluation.tasks.ranking import Gallery
    from lgdea.models.lgdea_model import LgdeaModel
    from lgdea.records.archive import Archive

DUPLICATES = 0.2
"""Share of reports that repeat one of :data:`STOCK` texts word for word, as normal reports do."""
STOCK = 50
PRESENT = 0.1
"""Probability of each finding in each study."""
AGREEMENT = 0.3
"""Cosine, about, of an image with its own report."""


class EvalBenchConfig(Config):
    """Sizes and settings of the measurements."""

    sizes: list[PositiveInt] = Field(default=[10_000, 30_000, 100_000])
    """Images, and as many reports."""
    dim: PositiveInt = 128
    """Dimension of the embeddings."""
    findings: PositiveInt = 20
    """Number of findings."""
    bootstrap_replicates: int = Field(1000, ge=0)
    """Bootstrap samples of the intervals."""
    phantom: PhantomSettings = PhantomSettings(studies=160, size=512, difficulty="easy")
    """The archive that is embedded."""
    pretrain: str = "limited-pairing"
    """A shipped pretraining configuration, whose towers embed it with random weights."""
    batch_size: PositiveInt = 16
    """Images, or texts, per forward pass."""
    passes: PositiveInt = 5
    """Passes over all images and reports, after one that does not count."""
    seed: int = 0
    """Seed of embeddings and evidence."""


def run_eval(config: EvalBenchConfig, out: Path, *, say: Callable[[str], Any]) -> dict[str, Any]:
    """Measure every part that is not there yet; returns all by name (``retrieval-<size>``, ``embedding``).

    Raises:
        UsageError: ``out`` holds measurements with other settings.
    """
    ranking = config.model_dump(mode="json", include={"dim", "findings", "bootstrap_replicates", "seed"})
    embedding = config.model_dump(mode="json", include={"phantom", "pretrain", "batch_size", "passes"})
    found: dict[str, Any] = {}
    for size in sorted(config.sizes):
        part = found[f"retrieval-{size}"] = _kept(
            out / f"retrieval-{size}.json", ranking, partial(_alone, measure_retrieval, size, config)
        )
        say(
            f"{size:,} images x {size:,} reports: {part['seconds']['total']:.0f} s on one thread "
            f"({part['cpu_seconds']:.0f} s of CPU), "
            f"{part['peak_gib']:.2f} GiB"
        )
    part = found["embedding"] = _kept(out / "embedding.json", embedding, partial(measure_embedding, config, out))
    for side in ("images", "reports"):
        say(f"{side}: {part[side]['per_second']:.0f} a second, {part[side]['ratio']:.2f} of the bare encoder's time")
    return found


def measure_retrieval(size: int, config: EvalBenchConfig) -> dict[str, Any]:
    """Both directions of the retrieval task from given embeddings, intervals included, on one thread.

    Returns:
        ``seconds`` by part; ``cpu_seconds`` in all, which other work on the machine does not lengthen; ``peak_gib`` of
        this process and, of it, ``before_gib`` (libraries and embeddings); and ``metrics`` beside their chance.
    """
    from threadpoolctl import threadpool_limits

    from lgdea.evaluation.config import RetrievalConfig
    from lgdea.evaluation.tasks.common import resolve
    from lgdea.evaluation.tasks.ranking import DIRECTIONS, rank
    from lgdea.evaluation.tasks.retrieval import summarise

    settings = resolve(
        RetrievalConfig, None, {"bootstrap_replicates": config.bootstrap_replicates, "seed": config.seed}
    )
    gallery = synthetic_gallery(size, config)
    before, cpu = _peak_gib(), time.process_time()
    seconds: dict[str, float] = {}
    shown: dict[str, float] = {}
    with threadpool_limits(1):
        for direction in DIRECTIONS:
            began = time.perf_counter()
            items = rank(gallery, direction, settings)
            seconds[direction] = time.perf_counter() - began
            began = time.perf_counter()
            overall = summarise(items.assign(patient_id=np.arange(size)), direction, settings)
            seconds[f"{direction}_intervals"] = time.perf_counter() - began
            for name in ("recall@10", "recall_chance@10", "evidence_ndcg@10", "evidence_ndcg_chance@10"):
                shown[f"{direction}/{name}"] = round(overall[f"{direction}/{name}"].value, 6)
    seconds["total"] = sum(seconds.values())
    return {
        "size": size,
        "texts": len(gallery.text_vectors),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_gib": _peak_gib(),
        "before_gib": before,
        "metrics": shown,
        "lgdea_version": __version__,
    }


def synthetic_gallery(size: int, config: EvalBenchConfig) -> Gallery:
    """One image and one report per study; an image agrees with its report, a fifth of the reports are stock texts."""
    from lgdea.evaluation.tasks.ranking import Gallery

    rng = np.random.default_rng(config.seed)
    stock = rng.random(size) < DUPLICATES
    names = np.where(stock, rng.integers(STOCK, size=size), STOCK + np.arange(size))
    text, distinct = pd.factorize(names)
    texts = _unit(rng.standard_normal((len(distinct), config.dim), dtype=np.float32))
    noise = _unit(rng.standard_normal((size, config.dim), dtype=np.float32))
    images = _unit(np.float32(AGREEMENT) * texts[text] + noise)
    facts = rng.random((size, config.findings)) < PRESENT
    facts[stock] = facts[names[stock]]  # the same words state the same evidence
    studies = np.arange(size)
    return Gallery(images, texts, studies, studies, text.astype(np.int64), facts)


def measure_embedding(config: EvalBenchConfig, out: Path) -> dict[str, Any]:
    """Seconds a batch of whole passes over the archive: images from files, texts, and the bare encoders, in turns.

    The bare encoder is the model's tower alone on tensors that are ready, with the same number of torch's threads;
    images are read, and brought into the model's frame, by threads of their own.
    """
    import torch

    from lgdea.evaluation.encoders.protocol import LgdeaEvaluable
    from lgdea.evaluation.images import ImageSource

    model, archive = _random_model(config, out)
    images, texts, ours = archive.images["image_id"].tolist(), archive.reports["text"].tolist(), LgdeaEvaluable(model)
    assert model.preprocess is not None
    source = ImageSource(archive, frame=ours.frame)
    frames = [model.preprocess(source.read(i))[0] for i in images]
    pixels = [torch.stack(part) for part in _parts(frames, config.batch_size)]
    tokens = [model.tokenize(part) for part in _parts(texts, config.batch_size)]
    # Every pass ends in one number, so that nothing of it can be left out.
    passes = {
        "images": lambda: sum(ours.encode_images(p).sum() for _, p in source.batches(images, config.batch_size)),
        "bare_images": lambda: sum(float(model.image_tower(p)["pooled"].sum()) for p in pixels),
        "reports": lambda: sum(ours.encode_texts(part).sum() for part in _parts(texts, config.batch_size)),
        "bare_reports": lambda: sum(float(model.text_tower(*t.values())["pooled"].sum()) for t in tokens),
    }
    with torch.inference_mode():
        taken = [{name: _seconds(work) for name, work in passes.items()} for _ in range(config.passes + 1)][1:]
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "lgdea_version": __version__}
    for side, items in (("images", images), ("reports", texts)):
        ratios = [one[side] / one[f"bare_{side}"] for one in taken]
        found[side] = {
            "per_second": len(items) / statistics.median(one[side] for one in taken),
            "bare_per_second": len(items) / statistics.median(one[f"bare_{side}"] for one in taken),
            "ratio": statistics.median(ratios),
            "ratios": ratios,
        }
    return found


def _parts(items: Sequence[Any], size: int) -> list[Any]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _random_model(config: EvalBenchConfig, out: Path) -> tuple[LgdeaModel, Archive]:
    from benchmarks.train import make_inputs
    from lgdea.pretraining.build import build_training
    from lgdea.pretraining.config import PretrainConfig
    from lgdea.pretraining.inputs import read_inputs
    from lgdea.shipped import shipped

    file = Path(str(shipped("configs"))) / "pretrain" / f"{config.pretrain}.yaml"
    inputs = read_inputs(load_config(PretrainConfig, [file], [make_inputs(config.phantom, out)]), out)
    module, _ = build_training(load_config(PretrainConfig, [file], [make_inputs(config.phantom, out)]), inputs)
    return module.model, inputs.archive


def _kept(file: Path, settings: Mapping[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    if not file.exists():
        runs.write_json(file, {"settings": settings, **measure()})
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if result["settings"] != settings:
        raise UsageError("was measured with other settings", file=file, remedy="choose another --out")
    return result


def _alone(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """``measure`` in a fresh process."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def _peak_gib() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
