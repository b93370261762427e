"""The image tower that the demo starts from: trained with the labels of another phantom archive.

Launch: python -m pipelines.phantom_tower --out tower

Writes ``tower/phantom.safetensors`` (half precision) and ``tower/phantom.json``, which says where it comes from; both
ship in ``towers/``. Learned from 8,000 other phantom studies are, per image, which of the phantom's findings it shows
(the archive's label table), and, per finding, the side and the lung zone that its own report states, as the rules
extract them. No box, no mask and no report text reaches the tower, and no image of an archive that the demo makes:
the seed lies outside of those that the demo takes. Twenty minutes on one core.
"""

from __future__ import annotations

import argparse
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from lgdea import runs
from lgdea.demo import DIFFICULTY, MAX_SEED, TOWER_FILE
from lgdea.evaluation.tasks.common import label_matrix, labels_of, scored_classes
from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.runner import extract
from lgdea.imaging.cache import build_cache
from lgdea.imaging.transforms import Augment, Preprocess
from lgdea.manifests import seal
from lgdea.models.image_tower import build_image_tower
from lgdea.phantom import generate
from lgdea.records.archive import Archive
from lgdea.statistics.roc import auroc
from lgdea.training.config import AugmentConfig
from lgdea.training.schedule import learning_rate
from lgdea.version import __version__

TOWER, IMAGE_SIZE, STRIDE = "test_resnet", 96, 8
"""As in ``configs/pretrain/demo-tower.yaml``."""
SEED = MAX_SEED + 2
"""Of the archive; the demo takes none so great."""
STUDIES, STEPS, BATCH, PEAK = 8000, 2800, 48, 3e-3
SIDES = ("right", "left")
BANDS = {"upper": -0.36, "middle": 0.02, "lower": 9.0}
"""Lower edges of the lungs' zones, in halves of the picture's height from its centre: usual anatomy, not the archive's
boxes."""
BAND_WORDS = {"upper": "upper", "apex": "upper", "middle": "middle", "lingula": "middle", "lower": "lower"}
BAND_WORDS["base"] = "lower"
MARGIN = 0.15
"""How far beyond its usual edges a zone or a side may reach."""

log = logging.getLogger(__name__)


class Classifier(nn.Module):
    """A tower with one linear layer on its patches and one on its pooled vector."""

    def __init__(self, tower: Any, classes: int) -> None:
        super().__init__()
        self.tower = tower
        self.patches = nn.Sequential(nn.LayerNorm(tower.dim), nn.Linear(tower.dim, classes))
        self.pooled = nn.Sequential(nn.LayerNorm(tower.dim), nn.Linear(tower.dim, classes))
        nn.init.constant_(self.pooled[1].bias, -3.0)  # most findings are not in most images
        nn.init.constant_(self.patches[1].bias, -8.0)  # and summed over 144 patches

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of patches (B, P, C) and of images (B, C)."""
        out = self.tower(images)
        return self.patches(out["patches"]), self.pooled(out["pooled"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; its archive is kept")
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    print(make_tower(arguments.out, arguments.studies, arguments.steps))


def make_tower(out: Path, studies: int = STUDIES, steps: int = STEPS) -> Path:
    """Make the archive, train on its training and validation parts, score its test part, write the tower."""
    archive = _archive(out, studies)
    images = archive.images.merge(archive.studies[["study_id", "split"]], on="study_id")
    classes = scored_classes("labels", labels_of(archive, None))
    labels = np.nan_to_num(label_matrix(archive.labels, images, classes))
    places = stated_places(archive, images, [c.name for c in classes], out / "evidence")
    cache = build_cache([(i, archive.image_path(i)) for i in images["image_id"]], out / "image_cache", IMAGE_SIZE)
    frames = torch.from_numpy(np.asarray(cache[cache.index(images["image_id"])]))[:, None]
    test = images["split"].to_numpy() == "test"
    model, preprocess = train(frames[~test], labels[~test], places[~test], steps)
    scores = _score(model, preprocess, frames[test])
    told = {c.name: float(auroc(scores[:, k], labels[test, k])) for k, c in enumerate(classes)}
    weights = {name: _half(value) for name, value in model.tower.state_dict().items()}
    with runs.atomic(out / TOWER_FILE) as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})
    provenance = describe(studies, steps, {k: round(v, 3) for k, v in told.items() if np.isfinite(v)})
    runs.write_json((out / TOWER_FILE).with_suffix(".json"), seal(provenance, out, [TOWER_FILE]))
    return out / TOWER_FILE


def describe(studies: int, steps: int, told: dict[str, float]) -> dict[str, Any]:
    """What stands beside the weights."""
    return {
        "licence": "Apache-2.0",
        "made_by": f"python -m pipelines.phantom_tower --studies {studies} --steps {steps}",
        "lgdea_version": __version__,
        "tower": {"name": TOWER, "size": IMAGE_SIZE, "stride": STRIDE},
        "steps": steps,
        "archive": {"phantom": DIFFICULTY, "studies": studies, "seed": SEED, "parts": "train and val"},
        "labels": "findings per image (the phantom's label table); side and lung zone per finding as its report states "
        "them (rules); no boxes, no masks, no report texts",
        "auroc_macro": round(float(np.mean(list(told.values()))), 3),
        "auroc": told,
    }


def _archive(out: Path, studies: int) -> Archive:
    if not runs.is_finished(out / "archive"):
        generate(out / "archive", studies=studies, seed=SEED, difficulty=DIFFICULTY, masks=False)
    return Archive.open(out / "archive")


def stated_places(archive: Archive, images: pd.DataFrame, classes: list[str], evidence: Path) -> np.ndarray:
    """Where the report of each image says that it shows each class: (N, C, sides, bands) bool; all false: not said."""
    extract(archive, get_backend("rules"), evidence)
    units = pd.read_parquet(evidence / "evidence.parquet").merge(archive.reports[["report_id", "study_id"]])
    units = units[(units["assertion"] == "present") & units["finding"].isin(classes)]
    places = np.zeros((len(images), len(classes), len(SIDES), len(BANDS)), bool)
    rows = {study: np.flatnonzero(images["study_id"] == study) for study in set(units["study_id"])}
    for unit in units.itertuples():
        sides = [k for k, side in enumerate(SIDES) if unit.laterality in (side, "bilateral")]
        band = next((BAND_WORDS[w] for w in str(unit.anatomy).split("_") if w in BAND_WORDS), None)
        bands = [k for k, name in enumerate(BANDS) if band in (None, name)]
        places[np.ix_(rows[unit.study_id], [classes.index(unit.finding)], sides, bands)] = True
    return places


def train(frames: Tensor, labels: np.ndarray, places: np.ndarray, steps: int) -> tuple[Classifier, Preprocess]:
    """Train a classifier whose patches know where a finding is, as far as reports say it."""
    torch.manual_seed(0)
    values = frames.float() / 255
    preprocess = Preprocess(size=IMAGE_SIZE, mean=float(values.mean()), std=float(values.std()))
    augment = Augment(**AugmentConfig().model_dump())
    tower: Any = build_image_tower(TOWER, False, IMAGE_SIZE, STRIDE)
    model = Classifier(tower.to(memory_format=torch.channels_last), labels.shape[1])
    target, stated = torch.from_numpy(labels).float(), torch.from_numpy(places)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=0.05, betas=(0.9, 0.98))
    warmup = steps // 20
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step, steps=steps, warmup=warmup, final=0.0)
    )
    for step, rows in enumerate(_batches(len(frames), BATCH, steps)):
        views, affine = augment.with_affine(frames[rows])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            patches, pooled = model(preprocess.normalise(views))
        patches, pooled = patches.float(), pooled.float()
        wrong = F.binary_cross_entropy_with_logits(pooled, target[rows])
        somewhere = F.binary_cross_entropy_with_logits(somewhere_in(patches), target[rows])
        place = place_loss(patches, stated[rows], patch_zones(affine, tower.grid))
        loss = wrong + somewhere + place
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            log.info("step %d: %.3f %.3f %.3f", step, wrong.item(), somewhere.item(), place.item())
    return model.eval(), preprocess


def somewhere_in(patches: Tensor, where: Tensor | None = None) -> Tensor:
    """Logit that some patch shows a class: log-sum-exp over patches (B, P, C), of those in ``where`` (B, P, C)."""
    return (patches if where is None else patches.masked_fill(~where, -20.0)).logsumexp(dim=1)


def patch_zones(affine: Tensor, grid: tuple[int, int]) -> Tensor:
    """Zones that each patch of an augmented view may lie in: (B, P, sides, bands) bool.

    Args:
        affine: Of :meth:`Augment.with_affine`, from places in the view to places in the picture.
        grid: Rows and columns of patches.
    """
    y, x = ((2 * torch.arange(n) + 1) / n - 1 for n in grid)
    places = torch.stack([*torch.meshgrid(x, y, indexing="xy"), torch.ones(grid)]).flatten(1)
    x, y = (affine @ places).unbind(dim=1)
    sides = torch.stack([x < MARGIN, x > -MARGIN], dim=-1)  # the patient's right is on the left of the picture
    edges = [-9.0, *BANDS.values()]
    bands = [(y > top - MARGIN) & (y < low + MARGIN) for top, low in pairwise(edges)]
    return sides[..., None] & torch.stack(bands, dim=-1)[:, :, None]


def place_loss(patches: Tensor, stated: Tensor, zones: Tensor) -> Tensor:
    """A stated class is on each side that is stated, in its zones, and nowhere else.

    Args:
        patches: Logits (B, P, C).
        stated: (B, C, sides, bands) bool, as of :func:`stated_places`.
        zones: (B, P, sides, bands) bool, as of :func:`patch_zones`.
    """
    per_side = torch.einsum("bpsz,bcsz->bpcs", zones.float(), stated.float()) > 0
    said = stated.any(dim=-1)  # (B, C, sides)
    outside = somewhere_in(patches, ~per_side.any(dim=-1))[said.any(dim=-1)]
    inside = torch.stack([somewhere_in(patches, per_side[..., s]) for s in range(len(SIDES))], dim=-1)[said]
    return F.softplus(outside).sum() / patches[:, 0].numel() + F.softplus(-inside).sum() / patches[:, 0].numel()


def _batches(count: int, size: int, steps: int) -> list[np.ndarray]:
    """Rows of each step: pass after pass through all items in another order."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.permutation(count) for _ in range(-(-steps * size // count))])
    return np.split(rows[: steps * size], steps)


def _score(model: Classifier, preprocess: Preprocess, frames: Tensor) -> np.ndarray:
    with torch.no_grad():
        parts = [model(preprocess.normalise(part))[1] for part in frames.split(256)]
    scores: np.ndarray = torch.cat(parts).numpy()
    return scores


def _half(value: Tensor) -> Tensor:
    return (value.half() if value.is_floating_point() else value).contiguous()


if __name__ == "__main__":
    main()
