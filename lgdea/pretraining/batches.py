"""Batches from draws: pixels, tokens, and the status of the batch's phrases in its reports.

Shapes: W processes, M linked images and V unlinked images per process, R unlinked reports per process, U phrases,
n units. With several processes pixels and report tokens are this process's own; everything about evidence is of the
whole batch, linked reports of all processes first, in the order in which ``gather`` concatenates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from lgdea.pretraining.corpus import Corpus
from lgdea.pretraining.sampler import Draw
from lgdea.statistics.overlap import jaccard
from lgdea.vocabulary.entailment import PRESENT, UNCERTAIN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from lgdea.imaging.frames import Frames
    from lgdea.training.feature_cache import FeatureCache

Batch = dict[str, Tensor]
UNIT_WEIGHTS = np.array([0.0, 0.0, 0.5, 1.0], dtype=np.float32)
"""Weight of a unit of each status in a report's histogram."""
LINKED_REPORT_SHARE = 0.5
"""Part of the unlinked reports of a batch that come from the propagated links of its images, so that these find
positives; the rest is drawn from all."""


class Tokens:
    """Texts tokenised once, kept ragged, padded per batch."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_tokens: int) -> None:
        ids = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"] if texts else []
        self._offsets = np.cumsum([0, *map(len, ids)])
        self._flat = np.array([t for row in ids for t in row], dtype=np.int32)
        self._pad = int(tokenizer.pad_token_id or 0)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def pad(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """``(input_ids, attention_mask)`` of ``rows``, both ``(B, T)`` int64."""
        starts, ends = self._offsets[rows], self._offsets[rows + 1]
        width = int((ends - starts).max(initial=1))
        ids = np.full((len(rows), width), self._pad, dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
            ids[i, : end - start] = self._flat[start:end]
            mask[i, : end - start] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)


class CachedTexts:
    """Pooled outputs of a frozen text tower in the place of tokens.

    Args:
        features: The cache.
        rows: Its rows of these texts.
    """

    def __init__(self, features: FeatureCache, rows: slice) -> None:
        self._features = features[rows]

    def __len__(self) -> int:
        return len(self._features)

    def pad(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Outputs (B, C), float32, and a mask (B, 1) of ones, as :class:`Tokens` has one."""
        return torch.from_numpy(self._features[rows].astype(np.float32)), torch.ones(len(rows), 1, dtype=torch.int64)


Texts = Tokens | CachedTexts


class BatchBuilder:
    """Assembles batches in the main process; pixels are memory-mapped, so this costs a millisecond or two.

    Args:
        corpus: The training items.
        pixels: N_I frames, row by row the corpus's images.
        tokenizer: Of the text tower.
        max_tokens: Longer reports are cut.
        phrases_per_step: U at most; the phrases of the batch's units come first, others of the corpus fill up. 0
            leaves evidence out altogether.
        images_from: First step whose batches hold images.
        seed: Of the choice of phrases and their wordings.
        rank: This process.
        processes: W.
    """

    def __init__(
        self,
        corpus: Corpus,
        pixels: Frames,
        tokenizer: PreTrainedTokenizerFast,
        *,
        max_tokens: int,
        phrases_per_step: int,
        seed: int,
        images_from: int = 0,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.corpus = corpus
        self.pixels = pixels
        self.reports: Texts = Tokens(tokenizer, corpus.report_texts, max_tokens)
        wordings = [corpus.phrases.wordings(phrase) for phrase in range(len(corpus.phrases))]
        self._wording_offsets = np.cumsum([0, *map(len, wordings)])
        self.phrases: Texts = Tokens(tokenizer, corpus.phrases.texts, max_tokens)
        self.wordings: Texts = Tokens(tokenizer, [text for texts in wordings for text in texts], max_tokens)
        self._phrases_per_step = phrases_per_step
        self._images_from = images_from
        self._seed = seed
        self._rank = rank
        self._processes = processes
        self.features: FeatureCache | None = None
        """Outputs of a frozen image tower: of each image as it is, then of its augmented views."""
        self.views = 0
        """Number of these views."""
        self.links: sparse.csr_array | None = None
        """Propagated links (N_I, N_R) of the last graph; they steer which unlinked reports a batch holds."""

    def __getitem__(self, draw: Draw) -> Batch:
        """The batch of a draw."""
        rng = np.random.default_rng([self._seed, draw.step, 7])
        pairs = self.corpus.pairs[draw.pairs]
        image_rows = self.corpus.unpaired_images[draw.images]
        report_rows = self._with_links(image_rows, self.corpus.unpaired_reports[draw.reports], rng)
        ids, mask = self.reports.pad(np.concatenate([self._own(pairs[:, 1]), self._own(report_rows)]))
        batch = {
            "step": torch.tensor(draw.step),
            "report_ids": ids,
            "report_mask": mask,
            "image_rows": torch.from_numpy(image_rows),
            "report_rows": torch.from_numpy(report_rows),
        }
        if draw.step >= self._images_from:
            rows = np.concatenate([self._own(pairs[:, 0]), self._own(image_rows)])
            if self.features is None:
                batch["images"] = torch.from_numpy(self.pixels[rows][:, None])
            else:
                views = np.random.default_rng([self._seed, draw.step, self._rank, 11]).integers(
                    self.views, size=len(rows)
                )
                batch["views"] = self.cached(rows, 1 + views)
                batch["clean"] = self.cached(self._own(image_rows))
        if self._phrases_per_step:
            batch |= self._evidence(np.concatenate([pairs[:, 1], report_rows]), rng)
        return batch

    def cached(self, rows: NDArray[np.int64], views: NDArray[np.int64] | int = 0) -> Tensor:
        """Rows (B, F) of the cached features of images; view 0 is the image as it is."""
        assert self.features is not None
        return torch.from_numpy(self.features[rows * (1 + self.views) + views])

    def _own(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's part of rows of the whole batch."""
        share = len(rows) // self._processes
        return rows[self._rank * share : (self._rank + 1) * share]

    def _with_links(
        self, images: NDArray[np.int64], reports: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """``reports`` with some replaced by one propagated link of one image each."""
        if self.links is None or not len(images) or not len(reports):
            return reports
        wanted = rng.permutation(images)[: int(len(reports) * LINKED_REPORT_SHARE)]
        chosen = []
        for image in wanted:
            start, end = self.links.indptr[image : image + 2]
            if end > start:
                weight = self.links.data[start:end]
                chosen.append(rng.choice(self.links.indices[start:end], p=weight / weight.sum()))
        found = np.unique(np.array(chosen, dtype=np.int64))
        others = reports[~np.isin(reports, found)]
        return np.concatenate([found, others])[: len(reports)]

    def _evidence(self, reports: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Units, phrases and statuses of ``reports`` (all processes)."""
        table = self.corpus.phrases
        units = [self.corpus.report_units[report] for report in reports]
        status = table.status(units)
        flat = np.concatenate([np.zeros(0, dtype=np.int64), *units])
        owner = np.repeat(np.arange(len(units)), [len(u) for u in units])
        weight = UNIT_WEIGHTS[table.unit_status[flat]]
        flat, owner, weight = flat[weight > 0], owner[weight > 0], weight[weight > 0]
        phrases = self._choose(table.unit_phrase[flat], status, rng)
        column = np.full(len(table), -1)
        column[phrases] = np.arange(len(phrases))
        wording = self._wording_offsets[phrases] + rng.integers(np.diff(self._wording_offsets)[phrases])
        ids, mask = self.wordings.pad(wording)
        places = column[table.unit_phrase[flat]]
        seen = places >= 0
        return {
            "phrase_ids": ids,
            "phrase_mask": mask,
            "phrases": torch.from_numpy(phrases),
            "status": torch.from_numpy(status[:, phrases]),
            "overlap": torch.from_numpy(evidence_overlap(status)),
            "unit_phrase": torch.from_numpy(places[seen]),
            "unit_owner": torch.from_numpy(owner[seen]),
            "unit_weight": torch.from_numpy(weight[seen]),
        }

    def _choose(
        self, stated: NDArray[np.int64], status: NDArray[np.int8], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """At most ``phrases_per_step`` phrases: the units' own, then others present in the batch, then any."""
        everything = np.arange(len(self.corpus.phrases))
        if len(everything) <= self._phrases_per_step:
            return everything
        rank = np.full(len(everything), 2.0)
        rank[(status >= UNCERTAIN).any(axis=0)] = 1.0
        rank[stated] = 0.0
        order = np.argsort(rank + 0.5 * rng.random(len(everything)))
        return np.sort(order[: self._phrases_per_step])


def evidence_overlap(status: NDArray[np.int8]) -> NDArray[np.float32]:
    """Similarity of reports by evidence: Jaccard index of their present phrases, general ones included, ``(B, B)``.

    Two reports without any present evidence have similarity 0, also with themselves.
    """
    present = status == PRESENT
    return jaccard(present, present)
