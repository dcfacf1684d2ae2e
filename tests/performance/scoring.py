"""Scoring images a second, decoding included, beside the bare OpenVINO graph and torch eager."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from medfake_pacs.classifier.engines import open_engine
from medfake_pacs.classifier.tiling import places
from medfake_pacs.config import parse_settings
from medfake_pacs.entities import DecodedFrame
from medfake_pacs.workflows.context import Decoders, Models, pixel_limits
from tests.performance.figures import Figure

_GROUP = "scoring, CT slices of 512 x 512"
_CHUNK = 16
_EAGER_SHARE = 8  # torch eager is so slow that it gets this fraction of the images
_AIM_OF_GRAPH = 0.6
_AIM_OF_EAGER = 8.0


def measure(folder: Path, files: Sequence[Path], repetitions: int, say: Callable[[str], None]) -> list[Figure]:
    """Return images a second of the product's own stages, of the graph alone and of torch, and their ratios.

    All three see equally many tiles of the same size an image; the graph and torch get random ones, in memory.
    """
    settings = parse_settings({"node": {"state_dir": str(folder / "state")}}, base=folder, environment=os.environ)
    models, decoders = Models(settings), Decoders(pixel_limits(settings))
    say("loading the model")
    classifier, bundle = models.classifier("lung-ct"), models.bundle("lung-ct")
    card = bundle.card
    tiles_per_image = len(places((512, 512), card.tile, card.network.cell_px))
    shape = (_CHUNK * tiles_per_image, card.network.in_channels, card.tile.size, card.tile.size)
    tiles = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    graph = open_engine(bundle, device="cpu", threads=0, cache_dir=settings.cache_dir)
    eager = open_engine(bundle, device="torch-cpu", threads=0, cache_dir=settings.cache_dir)
    eager_tiles = tiles[: max(1, _CHUNK // _EAGER_SHARE) * tiles_per_image]
    samples: dict[str, list[float]] = {"node": [], "graph": [], "eager": [], "decode": []}
    say("warming up")
    refused = [score for score in classifier.score_frames(_decode(decoders, files[:2])) if score.outside_domain]
    # A frame outside the card's domain isn't run, which would be fast, and no measurement.
    score = (lambda frames: classifier.maps([frame.values for frame in frames])) if refused else classifier.score_frames
    _score(score, decoders, files[:2])
    graph.run(tiles[:tiles_per_image])
    eager.run(tiles[:1])
    for repetition in range(repetitions):
        say(f"scoring, repetition {repetition + 1}")
        samples["node"].append(_rate(lambda: _score(score, decoders, files), len(files)))
        samples["decode"].append(_rate(lambda: _decode(decoders, files), len(files)))
        rounds = -(-len(files) // _CHUNK)
        samples["graph"].append(_rate(lambda n=rounds: [graph.run(tiles) for _ in range(n)], rounds * _CHUNK))
        samples["eager"].append(_rate(lambda: eager.run(eager_tiles), len(eager_tiles) / tiles_per_image))
    decoders.close()
    note = f"{tiles_per_image} tiles of {card.tile.size} px an image"
    note += ", domain check and pooling left out" if refused else ""
    return _figures(samples, {"node": classifier.engine, "graph": graph.name, "eager": eager.name}, note)


def _rate(work: Callable[[], object], images: float) -> float:
    started = time.monotonic()
    work()
    return images / (time.monotonic() - started)


def _decode(decoders: Decoders, files: Sequence[Path]) -> list[DecodedFrame]:
    frames = []
    with decoders.borrow() as decoder:
        for path in files:
            frames += list(decoder.open(path)[1])
    return frames


def _score(
    score: Callable[[Sequence[DecodedFrame]], Sequence[object]], decoders: Decoders, files: Sequence[Path]
) -> None:
    for start in range(0, len(files), _CHUNK):
        chunk = files[start : start + _CHUNK]
        if len(score(_decode(decoders, chunk))) != len(chunk):
            raise RuntimeError("an image has no score")


def _figures(samples: dict[str, list[float]], engines: dict[str, str], note: str) -> list[Figure]:
    best = {name: float(np.median(values)) for name, values in samples.items()}
    names = {
        "node": f"node: decode, prepare, {engines['node']}",
        "graph": f"bare graph, {engines['graph']}",
        "eager": f"eager, {engines['eager']}",
        "decode": "decoding alone",
    }
    figures = [
        Figure(group=_GROUP, name=names[key], value=best[key], unit="images/s", samples=tuple(values), note=note)
        for key, values in samples.items()
    ]
    for other, aim in (("graph", _AIM_OF_GRAPH), ("eager", _AIM_OF_EAGER)):
        ratio = best["node"] / best[other]
        figures.append(
            Figure(
                group=_GROUP,
                name=f"node / {names[other]}",
                value=ratio,
                unit="ratio",
                aim=f"at least {aim:g}",
                reached=ratio >= aim,
            )
        )
    return figures
