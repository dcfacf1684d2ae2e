"""What the viewer is told of each frame that it can show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medfake_pacs.entities import ImageFinding


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerFrame:
    """One frame: ``base`` is its image's address, ``regions`` are (x, y, width, height) in pixels of the frame.

    Below ``base`` there must be ``frames/N.raw``, ``frames/N.png`` and, with ``heat``, ``heatmap.png?frame=N`` and
    ``overlay.png?frame=N``; nothing where the image isn't ``kept`` any more.
    """

    base: str
    frame: int
    label: str
    heat: bool = False
    regions: Sequence[tuple[int, int, int, int]] = ()
    note: str = ""
    kept: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return it as the template ``partials/viewer.html`` takes it."""
        return {
            "base": self.base,
            "frame": self.frame,
            "label": self.label,
            "heat": self.heat,
            "regions": [list(region) for region in self.regions],
            "note": self.note,
            "kept": self.kept,
        }


def regions_by_frame(finding: ImageFinding) -> dict[int, list[tuple[int, int, int, int]]]:
    """Return the regions of each frame that has any, as ``ViewerFrame`` takes them."""
    found: dict[int, list[tuple[int, int, int, int]]] = {}
    for frame, region in finding.regions:
        found.setdefault(frame, []).append((region.x, region.y, region.width, region.height))
    return found
