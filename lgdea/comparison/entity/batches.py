"""Batches of an entity head's training: parts about one entity each, with hard negatives, and their graded agreement.

Shapes: E parts of a batch, n images of a part, N training images, T phrases.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from lgdea.comparison.entity.config import EntityData
from lgdea.comparison.entity.entities import Entity, entities_of
from lgdea.comparison.entity.grades import EntityFacts, StudyFacts, agreement
from lgdea.errors import DataError
from lgdea.imaging.frames import Frames
from lgdea.statistics.overlap import jaccard
from lgdea.vocabulary import load_vocabulary
from lgdea.vocabulary.confusable import confusable_with
from lgdea.vocabulary.entailment import PRESENT, UNCERTAIN

Rows = NDArray[np.int64]
Batch = dict[str, Tensor]


class EntityBatches(torch.utils.data.Dataset[Batch]):
    """The batch of each step, drawn from the seed and the step alone, so that a resumed run goes on bit for bit.

    Args:
        images: N rows with ``study_id``, ``patient_id`` and ``modality``.
        units: Evidence with ``study_id``.
        pixels: ``(N, S, S)`` uint8 frames of the images.
        data: Composition of a batch.
        seed: Of the draws.
        rank: This process among several; each draws parts of its own.
    """

    def __init__(
        self, images: pd.DataFrame, units: pd.DataFrame, pixels: Frames, data: EntityData, *, seed: int, rank: int = 0
    ) -> None:
        self.pixels, self.data, self.seed, self.rank = pixels, data, seed, rank
        studies = pd.Index(images["study_id"].unique())
        self.study = studies.get_indexer(pd.Index(images["study_id"])).astype(np.int64)
        self.patient = pd.factorize(images["patient_id"])[0]
        self.modality = pd.factorize(images["modality"])[0]
        held_out = frozenset[str]().union(*(load_vocabulary().descendants(f) for f in data.held_out))
        study_facts = StudyFacts(units, studies)
        asked = entities_of(study_facts.present(), least=data.least_images)
        self.entities = [entity for entity in asked if entity.finding is None or entity.finding not in held_out]
        if not self.entities:
            raise DataError(
                f"no entity is shown by {data.least_images} training images", remedy="lower data.least_images"
            )
        self.overlap = study_facts.overlap_facts()
        self.facts = [study_facts.of(entity) for entity in self.entities]
        self.pools = [
            self._pools(entity, facts, study_facts, held_out)
            for entity, facts in zip(self.entities, self.facts, strict=True)
        ]
        share = np.sqrt([len(shown) for shown, _, _ in self.pools])
        self.share = share / share.sum()
        texts = [entity.text for entity in self.entities] + [text for facts in self.facts for text in facts.phrases]
        self.phrases = list(dict.fromkeys(texts))
        """T texts: the entities, and what reports say of them."""
        self._phrase = {text: i for i, text in enumerate(self.phrases)}

    def _pools(
        self, entity: Entity, facts: EntityFacts, study_facts: StudyFacts, held_out: frozenset[str]
    ) -> tuple[Rows, Rows, Rows]:
        """Images that show the entity, those that show what it is mistaken for, and the others."""
        status = facts.status
        hard = np.zeros(len(status), bool)
        if entity.finding is not None:
            mistaken = confusable_with(entity.finding) - held_out
            other_side = frozenset([entity.finding]) if entity.laterality in ("left", "right") else frozenset[str]()
            hard = study_facts.shows(mistaken | other_side) & (status < UNCERTAIN)
        pools = (status == PRESENT, hard, (status < UNCERTAIN) & ~hard)
        shown, mistaken_for, others = (np.flatnonzero(pool[self.study]) for pool in pools)
        return shown, mistaken_for, others

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step, self.rank])
        asked = rng.choice(len(self.entities), self.data.parts_per_device, p=self.share)
        rows = np.stack([self._draw(entity, rng) for entity in asked])
        return self._assemble(asked, rows) | {"step": torch.tensor(step)}

    def _draw(self, entity: int, rng: np.random.Generator) -> Rows:
        """The images of a part: of one modality, as far as it has enough."""
        count = self.data.images_per_part
        shown, hard, others = self.pools[entity]
        modality = self.modality[rng.choice(shown)]
        pools = [pool[self.modality[pool] == modality] for pool in (shown, hard, others)]
        wanted = [round(self.data.positive_share * count), round(self.data.hard_share * count), count]
        chosen = [rng.choice(pool, min(n, len(pool)), replace=False) for pool, n in zip(pools, wanted, strict=True)]
        rows = np.concatenate(chosen)[:count]
        return rows if len(rows) == count else np.concatenate([rows, rng.choice(rows, count - len(rows))])

    def _assemble(self, asked: Rows, rows: Rows) -> Batch:
        facts = [self.facts[e].take(self.study[part]) for e, part in zip(asked, rows, strict=True)]
        kinds = [self.entities[e].kind for e in asked]
        graded = [agreement(f, f, anatomy=kind == "anatomy") for f, kind in zip(facts, kinds, strict=True)]
        overlap = [jaccard(self.overlap[self.study[part]], self.overlap[self.study[part]]) for part in rows]
        patient = self.patient[rows]
        arrays: dict[str, Any] = {
            "images": np.asarray(self.pixels[rows.ravel()])[:, None],
            "entity": [self._phrase[self.entities[e].text] for e in asked],
            "phrase": [[self._phrase[text] for text in f.phrases] for f in facts],
            "status": np.stack([self.facts[e].status[self.study[rows.ravel()]] for e in asked], axis=1),
            "grades": np.stack(graded),
            "overlap": np.stack(overlap),
            "comparable": patient[:, :, None] != patient[:, None, :],
        }
        return {name: torch.as_tensor(np.asarray(array)) for name, array in arrays.items()}
