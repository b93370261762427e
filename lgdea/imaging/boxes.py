"""Boxes of a heat map: the one rule behind ``model.evidence``, ``lgdea heatmap`` and detection-style scores."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

LEVEL = 0.5
"""A box holds what is at least half as warm as the warmest place, counted from the map's mean."""


class MapBox(NamedTuple):
    """A warm region of a heat map."""

    box: tuple[int, int, int, int]
    """(x_min, y_min, x_max, y_max), half-open, pixels of the map."""
    score: float
    """Mean of the map over the region (not over the whole box), on the map's own scale."""
    peak: float
    """Highest value in the region."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"box": list(self.box), "score": self.score, "peak": self.peak}


def boxes_of_map(heat: ArrayLike, *, level: float = LEVEL, min_area: float = 0.0) -> list[MapBox]:
    """Bounding boxes of the warm regions of a heat map.

    Warm is what reaches ``mean + level * (peak - mean)`` over the map's finite pixels; regions are 4-connected. As the
    rule is relative to the map, a map of any scale has at least one box, unless it is flat. (Thresholding at a share of
    the peak and boxing the connected regions is what class activation maps are boxed by: Zhou et al. 2016, Wang et al.
    2017; the mean takes the place of 0, because cosines have no zero that means "nothing".)

    Args:
        heat: (H, W) map, NaN outside the crop.
        level: 0 takes all above the mean, 1 only the peak.
        min_area: Regions that cover less than this share of the finite pixels are left out; the peak's never is.

    Returns:
        Highest peak first; none of a flat map or one without a finite pixel.

    Raises:
        ValueError: The map is not (H, W), or ``level`` is not in [0, 1].

    Example:
        >>> boxes_of_map([[0.0, 0.0, 0.0], [0.0, 1.0, 0.8]])[0].box
        (1, 1, 3, 2)
    """
    heat = np.asarray(heat, np.float64)
    if heat.ndim != 2:
        raise ValueError(f"a map must be (H, W), not {heat.shape}")
    if not 0 <= level <= 1:
        raise ValueError(f"level must lie in [0, 1], not {level}")
    seen = np.isfinite(heat)
    if not seen.any() or heat[seen].max() == heat[seen].min():
        return []
    peak, mean = heat[seen].max(), heat[seen].mean()
    # Rounding must not lift the threshold above the peak itself.
    regions, _ = ndimage.label(seen & (heat >= min(mean + level * (peak - mean), peak)))
    least, found = min_area * int(seen.sum()), []
    for number, (rows, columns) in enumerate(ndimage.find_objects(regions), 1):
        values = heat[rows, columns][regions[rows, columns] == number]
        if len(values) >= least or values.max() == peak:
            box = (columns.start, rows.start, columns.stop, rows.stop)
            found.append(MapBox(box, float(values.mean()), float(values.max())))
    return sorted(found, key=lambda item: (-item.peak, -item.score))
