"""Write a frame as PNG with its suspicious regions drawn in."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from medfake_pacs.entities import DecodedFrame, FrameScore

_LOW, _HIGH = 1.0, 99.0
_COLOUR = (255, 64, 0)


def write_heatmap(folder: Path, source: Path, frame: DecodedFrame, score: FrameScore) -> Path:
    """Write `NAME-FRAME.png` into ``folder``: the frame from its 1st to its 99th percentile, regions as boxes."""
    low, high = np.percentile(frame.values, (_LOW, _HIGH))
    span = max(float(high - low), 1e-6)
    grey = (np.clip((frame.values - low) / span, 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(grey).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for region in score.regions:
        corner = (region.x + region.width - 1, region.y + region.height - 1)
        draw.rectangle(((region.x, region.y), corner), outline=_COLOUR, width=2)
    path = folder / f"{source.stem}-{frame.frame_number}.png"
    picture.save(path)
    return path
