"""Scores of queries whose display is standardised by their references, and by themselves (no references)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgdea.comparison.references.display import grey_quantiles, mean_quantiles, standardise
from lgdea.evaluation.encoders.protocol import EvaluableModel, Pixels
from lgdea.evaluation.images import ImageSource
from lgdea.evaluation.tasks.change_difference import finding_scores
from lgdea.progress import track

Floats = NDArray[np.float64]


class Display:
    """Grey values of an archive's images, and scores of images that are shown in another display.

    Args:
        model: The model.
        source: Reads the archive's images as they are, not in the model's frame.
        images: Ids of all images whose grey values are needed.
        known: Ids of the healthy images whose display is the one to map to.
        findings: What is scored.
        batch_size: Images scored at once.
    """

    def __init__(
        self,
        model: EvaluableModel,
        source: ImageSource,
        images: list[str],
        known: list[str],
        findings: list[str],
        batch_size: int,
    ) -> None:
        self._model, self._source, self._findings, self._batch_size = model, source, findings, batch_size
        self._quantiles: dict[str, Floats] = {}
        for ids, pixels in self._batches(images, "reading grey values"):
            self._quantiles |= {name: grey_quantiles(picture) for name, picture in zip(ids, pixels, strict=True)}
        self._known = mean_quantiles([self._quantiles[name] for name in known if name in self._quantiles])

    def alone(self, images: list[str]) -> pd.DataFrame:
        """Scores (index image id) of images standardised by their own grey values."""
        return self._score(images, lambda name: self._quantiles[name]).reindex(images)

    def beside(self, images: list[str], references: Mapping[str, list[str]]) -> pd.DataFrame:
        """Scores of images standardised by the mean grey values of their references; NaN for one without any.

        Args:
            images: Ids.
            references: Id to the ids of its references.
        """
        known = {name: [r for r in references.get(name, ()) if r in self._quantiles] for name in images}
        shown = [name for name in images if known[name]]
        scores = self._score(shown, lambda name: mean_quantiles([self._quantiles[r] for r in known[name]]))
        return scores.reindex(images)

    def _score(self, images: list[str], seen: Callable[[str], Floats]) -> pd.DataFrame:
        done, blocks = [], [np.zeros((0, len(self._findings)))]
        for ids, pixels in self._batches(images, "scoring standardised images"):
            shown = [standardise(p, seen(name), self._known) for name, p in zip(ids, pixels, strict=True)]
            blocks.append(finding_scores(self._model, shown, self._findings))
            done += ids
        return pd.DataFrame(np.concatenate(blocks), index=done, columns=self._findings)

    def _batches(self, images: list[str], what: str) -> Iterator[tuple[list[str], list[Pixels]]]:
        return track(self._source.batches(images, self._batch_size), what, len(images), lambda b: len(b[0]))
