"""Choose the route of an image: which model assesses it and who gets the report, and say why."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from medfake_pacs.config import RouteSettings
from medfake_pacs.entities import ImageAttributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The first route that matches, or None, and one line for each route that was looked at."""

    route: RouteSettings | None
    explanation: tuple[str, ...]

    @property
    def model(self) -> str:
        """The model's name; empty where nothing assesses the image."""
        return self.route.model if self.route else ""

    @property
    def name(self) -> str:
        """The route's name; empty where none matches."""
        return self.route.name if self.route else ""

    @property
    def reason(self) -> str:
        """Why no model assesses the image; empty where one does."""
        if self.route is None:
            return "no route matches this image"
        return "" if self.route.model else f"route {self.route.name!r} has no model"


def choose_route(
    routes: Sequence[RouteSettings], attributes: ImageAttributes, calling_ae_title: str, called_ae_title: str
) -> Routing:
    """Return the first route whose every condition holds.

    ``from`` and ``called`` are AE titles; ``modality`` is compared with Modality (0008,0060);
    ``body_part`` with Body Part Examined (0018,0015) or, where that is empty, with the words of Study and
    Series Description; ``description`` with those descriptions in any case. Upper and lower case are the same.
    """
    explanation = []
    for route in routes:
        failed = _first_failure(route, attributes, calling_ae_title, called_ae_title)
        if not failed:
            return Routing(route=route, explanation=(*explanation, f"{route.name}: every condition holds"))
        explanation.append(f"{route.name}: {failed}")
    return Routing(route=None, explanation=tuple(explanation) or ("there are no routes",))


def _first_failure(route: RouteSettings, attributes: ImageAttributes, calling: str, called: str) -> str:
    descriptions = f"{attributes.study_description} {attributes.series_description}".upper()
    part = attributes.body_part.strip().upper()
    parts = {part} if part else set(re.findall(r"[A-Z0-9]+", descriptions))
    shown_part = (
        f"Body Part Examined is {part!r}" if part else f"no such word in the descriptions {descriptions.strip()!r}"
    )
    checks = (
        (route.from_, calling in route.from_, f"the calling AE title is {calling!r}"),
        (route.called, called in route.called, f"the called AE title is {called!r}"),
        (route.modality, _holds(attributes.modality, route.modality), f"Modality is {attributes.modality!r}"),
        (route.body_part, any(wanted.upper() in parts for wanted in route.body_part), shown_part),
        (
            route.description,
            any(wanted.upper() in descriptions for wanted in route.description),
            f"the descriptions are {descriptions.strip()!r}",
        ),
    )
    for wanted, holds, found in checks:
        if wanted and not holds:
            return f"{found}, wanted {' or '.join(wanted)}"
    return ""


def _holds(value: str, wanted: Sequence[str]) -> bool:
    return value.strip().upper() in {item.strip().upper() for item in wanted}
