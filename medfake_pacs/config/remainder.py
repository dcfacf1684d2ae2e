"""Check what is left of a configuration when its wrong values are set aside, so that no mistake hides another."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medfake_pacs.config.checks import cross_check
from medfake_pacs.config.paths import with_absolute_paths
from medfake_pacs.config.problem import Problem
from medfake_pacs.config.schema import Settings

_UNKNOWN = "?"
# What stands in for a required value that is absent or wrong.
_STAND_INS = {"name": _UNKNOWN, "ae_title": _UNKNOWN, "host": "localhost", "port": 1, "hosts": ["localhost"]}


def check_the_rest(document: Mapping[str, Any], locations: Sequence[tuple[Any, ...]], base: Path) -> list[Problem]:
    """Return the contradictions between the parts of ``document`` that are valid by themselves.

    ``locations`` are the places of the wrong values, as pydantic names them.
    """
    pruned = copy.deepcopy(dict(document))
    for location in locations:
        if not _set_aside(pruned, location):
            return []
    try:
        settings = Settings.model_validate(pruned)
    except ValidationError:
        return []
    return [problem for problem in cross_check(with_absolute_paths(settings, base)) if problem.value != repr(_UNKNOWN)]


def _set_aside(document: Any, location: tuple[Any, ...]) -> bool:
    """Drop the value at ``location``, or let another stand in where one is needed; False if neither can be done."""
    place = document
    for part in location[:-1]:
        try:
            place = place[part]
        except (KeyError, IndexError, TypeError):
            return True
    last = location[-1]
    if not isinstance(place, dict):
        return False
    in_list = len(location) > 2 and isinstance(location[-2], int)
    place.pop(last, None)
    if in_list and last in _STAND_INS:
        place[last] = _STAND_INS[last]
    return True
