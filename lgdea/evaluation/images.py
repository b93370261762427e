"""Image batches for a model: from the cache where it has them, else from their files, read ahead by threads.

An image that cannot be read is named and left out; it never stops an evaluation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from lgdea.errors import DataError
from lgdea.evaluation.encoders.protocol import Pixels

if TYPE_CHECKING:
    from lgdea.imaging.frames import ImageCache
    from lgdea.records.archive import Archive


class ImageSource:
    """Reads the images of an archive by id.

    Args:
        archive: Where the images are.
        cache: Model frames by image id; its framing must be that of the model.
        workers: Threads that read ahead.
        frame: What the threads do to an image that they have read: bring it into the model's frame, so that the
            model's own thread does not have to (:func:`lgdea.evaluation.encoders.protocol.frame_of`).
    """

    def __init__(
        self,
        archive: Archive,
        *,
        cache: ImageCache | None = None,
        workers: int = 4,
        frame: Callable[[Pixels], Pixels] | None = None,
    ) -> None:
        self._archive = archive
        self._cache = cache
        self._workers = workers
        self._frame = frame
        self.skipped: list[dict[str, str]] = []

    def read(self, image_id: str) -> Pixels:
        """Pixels (H, W) in [0, 1].

        Raises:
            DataError: The image cannot be read.
        """
        if self._cache is not None and image_id in self._cache:
            return np.asarray(self._cache[int(self._cache.index([image_id])[0])] / np.float32(255))
        pixels = np.asarray(self._archive.read_image(image_id).pixels)
        return pixels if self._frame is None else self._frame(pixels)

    def batches(self, image_ids: Sequence[str], batch_size: int) -> Iterator[tuple[list[str], list[Pixels]]]:
        """Yield (ids, pixels) of at most ``batch_size`` readable images; the others are added to ``skipped``."""
        ids: list[str] = []
        pixels: list[Pixels] = []
        for image_id, outcome in zip(image_ids, self.read_ahead(image_ids, 2 * batch_size), strict=True):
            if isinstance(outcome, str):
                self.skipped.append({"id": image_id, "reason": outcome})
            else:
                ids.append(image_id)
                pixels.append(outcome)
            if len(ids) == batch_size:
                yield ids, pixels
                ids, pixels = [], []
        if ids:
            yield ids, pixels

    def read_ahead(self, image_ids: Sequence[str], ahead: int) -> Iterator[Pixels | str]:
        """Yield the pixels of each image, or why it cannot be read, in order; at most ``ahead`` wait to be taken."""
        waiting: deque[Future[Pixels | str]] = deque()
        with ThreadPoolExecutor(self._workers) as pool:
            for image_id in image_ids:
                waiting.append(pool.submit(self._try, image_id))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _try(self, image_id: str) -> Pixels | str:
        try:
            return self.read(image_id)
        except (DataError, OSError) as error:
            return str(error)
