"""The model bundles as page and REST API show them; files that are the same aren't read again."""

import threading
from typing import Annotated, Any

from fastapi import Request
from pydantic import Field

from medfake_pacs.classifier.installed import InstalledBundle, installed_bundles
from medfake_pacs.config import Settings
from medfake_pacs.config.bundles import bundle_directories
from medfake_pacs.console.queries.facts import Fact
from medfake_pacs.console.queries.model_updates import in_force_since
from medfake_pacs.console.services import services_of
from medfake_pacs.wording import threshold_lines


class Figure(Fact):
    """One measured figure of a model's card."""

    what: str
    condition: str
    value: float | None
    interval_95: Annotated[tuple[float, float] | None, Field(description="95 % confidence interval")]
    count: int | None
    of: Annotated[int | None, Field(description="how many images or series it was measured on")]


class ModelState(Fact):
    """One bundle that is installed; of a damaged one only ``folder`` and ``error`` are known."""

    folder: str
    error: Annotated[str, Field(description="why it can't be used; empty for a good one")] = ""
    name: str = ""
    version: str = ""
    modality: str = ""
    description: str = ""
    model_sha256: Annotated[
        str, Field(description="digest of weights, network, preprocessing and calibration: what the log names")
    ] = ""
    weights_sha256: str = ""
    calibration_sha256: Annotated[
        str, Field(description="digest of the model and its thresholds: of all that a verdict depends on")
    ] = ""
    real_below: Annotated[float | None, Field(description="a probability up to this is real")] = None
    fake_above: Annotated[float | None, Field(description="a probability from this on is fake")] = None
    thresholds: Annotated[
        tuple[str, ...], Field(description="the thresholds in words, for each kind of image that has its own")
    ] = ()
    in_force: Annotated[
        str, Field(description="since when and why, and what was before; empty for one that came with the node")
    ] = ""
    routes: Annotated[tuple[str, ...], Field(description="the routes that use it")] = ()
    figures: tuple[Figure, ...] = ()
    readme: Annotated[str, Field(description="Markdown")] = ""


class Shelf:
    """Remembers the bundles between requests, since hashing their weights takes a second. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, InstalledBundle] = {}

    def models(self, settings: Settings) -> list[ModelState]:
        """Return every bundle as it is on the disk now."""
        with self._lock:
            found = installed_bundles(bundle_directories(settings), self._known)
            self._known = {item.folder: item for item in found}
        since = in_force_since(settings)
        return [_model(item, settings, since.get(item.folder, "")) for item in found]


def shelf_of(request: Request) -> Shelf:
    """Return the application's shelf; use as a dependency, after which it has one."""
    state = request.app.state
    if not hasattr(state, "shelf"):
        state.shelf = Shelf()
    assert isinstance(state.shelf, Shelf)
    return state.shelf


def models_of(request: Request) -> list[ModelState]:
    """Return the bundles that are installed; use as a dependency."""
    return shelf_of(request).models(services_of(request).settings)


def _model(item: InstalledBundle, settings: Settings, in_force: str) -> ModelState:
    if item.bundle is None:
        return ModelState(folder=item.folder, error=item.error, readme=item.readme, in_force=in_force)
    card = item.bundle.card
    real_below, fake_above = card.shown_thresholds()[False, False]
    return ModelState(
        folder=item.folder,
        name=card.name,
        version=card.version,
        modality=card.modality,
        description=card.description,
        model_sha256=item.bundle.model_sha256,
        weights_sha256=card.weights_sha256,
        calibration_sha256=item.bundle.calibration_sha256,
        real_below=real_below,
        fake_above=fake_above,
        thresholds=tuple(threshold_lines(card.shown_thresholds())),
        in_force=in_force,
        routes=tuple(route.name for route in settings.routes if route.model == card.name),
        figures=tuple(_figure(figure) for figure in card.figures),
        readme=item.readme,
    )


def _figure(figure: Any) -> Figure:
    interval = figure.get("interval_95")
    return Figure(
        what=str(figure.get("what", "")),
        condition=str(figure.get("condition", "")),
        value=_number(figure.get("value")),
        interval_95=(float(interval[0]), float(interval[1])) if _is_interval(interval) else None,
        count=_whole(figure.get("count")),
        of=_whole(figure.get("of")),
    )


def _is_interval(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(_number(item) is not None for item in value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
