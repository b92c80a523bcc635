"""A grid's results as maps: one list of ``Map`` for the files, the page and the figures.

What the numbers mean:

* Quantities are float32; NaN means that there is no answer. Zero is never written for failure.
* ``desc-lower`` and ``desc-upper`` hold the ends of the ratio's interval. Where the set of
  compatible ratios is unbounded, or is everything outside two numbers, they hold -inf and +inf:
  "the data bound the ratio on no side", which is another thing than NaN, "there is no fit". The
  one-sided statement for an absent peak is in ``desc-bound``.
* Codes (``desc-status``, ``desc-label``, ``desc-gates``) are unsigned integers; their key stands
  in the sidecar, and every voxel has one.
"""

from mrs_necrosis.maps.files import write_maps
from mrs_necrosis.maps.map import Map, area_maps, label_maps, quality_maps, ratio_maps

__all__ = [
    "Map",
    "area_maps",
    "label_maps",
    "quality_maps",
    "ratio_maps",
    "write_maps",
]
