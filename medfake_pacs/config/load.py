"""Read a configuration file and the environment into ``Settings``, naming every mistake at once."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from medfake_pacs.config.checks import cross_check
from medfake_pacs.config.paths import with_absolute_paths
from medfake_pacs.config.problem import Problem
from medfake_pacs.config.remainder import check_the_rest
from medfake_pacs.config.schema import Settings
from medfake_pacs.errors import ConfigurationError

ENVIRONMENT_PREFIX = "MEDFAKE_"
PATH_VARIABLE = "MEDFAKE_CONFIG"
_SECRET_WORDS = ("password", "secret", "token", "url")
_REMEDIES = {
    "missing": "add this key",
    "greater_than": "write a larger number",
    "greater_than_equal": "write a larger number",
    "less_than": "write a smaller number",
    "less_than_equal": "write a smaller number",
    "int_parsing": "write a whole number without quotes",
    "int_type": "write a whole number without quotes",
    "int_from_float": "write a whole number",
    "float_parsing": "write a number without quotes",
    "float_type": "write a number without quotes",
    "bool_parsing": "write true or false without quotes",
    "bool_type": "write true or false without quotes",
    "string_type": "write text in double quotes",
    "tuple_type": 'write a list in square brackets, such as ["A", "B"]',
    "model_type": "write a table",
    "model_attributes_type": "write a table",
    "too_short": "write at least one entry",
    "string_too_short": "write at least one character",
    "string_too_long": "shorten it",
    "path_type": "write a path in double quotes",
}

__all__ = ["Problem", "find_configuration", "load_settings", "parse_settings"]


def find_configuration(explicit: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the configuration file to use: the named one, ``MEDFAKE_CONFIG``'s, or the first that exists.

    Raises
    ------
    ConfigurationError
        If none is named and none of the usual places holds one.
    """
    if explicit is not None:
        return explicit
    if environment.get(PATH_VARIABLE):
        return Path(environment[PATH_VARIABLE])
    places = (Path("config/medfake.toml"), Path("medfake.toml"), Path("/etc/medfake-pacs/medfake.toml"))
    for place in places:
        if place.is_file():
            return place
    looked = ", ".join(str(place) for place in places)
    raise ConfigurationError(
        (Problem("--config", "", f"no configuration file in {looked}", f"name one, or set {PATH_VARIABLE}"),)
    )


def load_settings(path: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read, merge and validate ``path`` and the environment.

    Relative paths in the file start at the folder that holds it. ``MEDFAKE_SECTION__KEY`` in the
    environment overrides ``key`` of ``[section]``.

    Raises
    ------
    ConfigurationError
        With one ``Problem`` for every mistake.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(
            (Problem(str(path), "", error.strerror or str(error), "name a readable file"),)
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            (Problem(str(path), "", f"this is not TOML: {error}", "correct that line"),)
        ) from error
    return parse_settings(document, base=path.resolve().parent, environment=environment)


def parse_settings(
    document: Mapping[str, Any], *, base: Path, environment: Mapping[str, str] | None = None
) -> Settings:
    """Validate a configuration that is already a mapping; see ``load_settings``."""
    merged, problems = _with_environment(document, environment or {})
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        items = [dict(item) for item in error.errors(include_url=False)]
        problems += [_problem(item) for item in items]
        problems += check_the_rest(merged, [tuple(item["loc"]) for item in items], base)
        raise ConfigurationError(tuple(problems)) from None
    problems += cross_check(with_absolute_paths(settings, base))
    if problems:
        raise ConfigurationError(tuple(problems))
    return with_absolute_paths(settings, base)


def _with_environment(
    document: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[dict[str, Any], list[Problem]]:
    merged = dict(document)
    problems = []
    for variable, value in sorted(environment.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or "__" not in variable:
            continue
        section, _, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        field = Settings.model_fields.get(section)
        if field is None or section in {"peers", "destinations", "routes", "notifications"}:
            problems.append(Problem(variable, value, "no such section can be set here", _nearest(section, Settings)))
            continue
        table = merged.get(section)
        merged[section] = {**(table if isinstance(table, dict) else {}), key: value}
    return merged, problems


def _problem(item: dict[str, Any]) -> Problem:
    location = tuple(item["loc"])
    key = _dotted(location)
    if item["type"] == "extra_forbidden":
        return Problem(
            key, _shown(key, item["input"]), "this key is unknown", _nearest(str(location[-1]), _model_at(location))
        )
    if item["type"] == "missing":
        return Problem(key, "", "this key is required", _REMEDIES["missing"])
    if item["type"] == "value_error":
        reason, _, remedy = str(item["ctx"]["error"]).partition("; ")
        return Problem(key, _shown(key, item["input"]), reason, remedy or "correct it")
    if item["type"] == "literal_error":
        return Problem(key, _shown(key, item["input"]), "this value is unknown", f"write {item['ctx']['expected']}")
    reason = item["msg"][0].lower() + item["msg"][1:]
    return Problem(key, _shown(key, item["input"]), reason, _REMEDIES.get(item["type"], "correct it"))


def _dotted(location: tuple[Any, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _shown(key: str, value: Any) -> str:
    if isinstance(value, (dict, list, BaseModel)):
        return ""
    if any(word in key.lower() for word in _SECRET_WORDS):
        return "(not shown)"
    return repr(value)


def _model_at(location: tuple[Any, ...]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Settings
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        model = _section_of(model, str(part)) if model else None
    return model


def _section_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    field = model.model_fields.get(name)
    candidates = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _nearest(name: str, model: type[BaseModel] | None) -> str:
    known = [field.alias or key for key, field in model.model_fields.items()] if model else []
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"remove it; known here: {', '.join(known)}"
