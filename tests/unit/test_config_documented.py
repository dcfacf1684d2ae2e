"""The commented example configuration names every key, with the default that the code has."""

import re
import tomllib
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from medfake_pacs.config import Settings, load_settings
from tests.support import REPOSITORY

EXAMPLE = REPOSITORY / "config" / "medfake.toml"
# What differs from a default on purpose: it shows what a value looks like.
_EXAMPLES = {
    "scoring.models_dir", "tls", "peers", "destinations", "routes", "smtp", "notifications",
    "console.public_url", "console.certificate", "console.key", "console.oidc",
}  # fmt: skip


def _everything() -> dict[str, Any]:
    """Return the example with the keys that are off switched on."""
    return tomllib.loads(re.sub(r"(?m)^#(?=[a-z\[])", "", EXAMPLE.read_text(encoding="utf-8")))


def _model_of(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *get_args(annotation)]
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), None)


def _keys_of_model(model: type[BaseModel], prefix: str = "") -> set[str]:
    keys = set()
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        section = _model_of(field.annotation)
        keys |= _keys_of_model(section, f"{key}.") if section else {key}
    return keys


def _keys_of_document(document: dict[str, Any], prefix: str = "") -> set[str]:
    keys = set()
    for name, value in document.items():
        tables = value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]
        for table in tables:
            keys |= _keys_of_document(table, f"{prefix}{name}.") if isinstance(table, dict) else {prefix + name}
    return keys


def test_every_key_is_in_the_example_and_no_other() -> None:
    assert _keys_of_document(_everything()) == _keys_of_model(Settings)


@pytest.mark.parametrize("section", sorted(set(Settings.model_fields) - _EXAMPLES))
def test_the_example_shows_the_defaults(section: str) -> None:
    shown = Settings.model_validate({section: _everything()[section]})
    excluded = {key.partition(".")[2] for key in _EXAMPLES if key.startswith(f"{section}.")}
    actual = getattr(shown, section).model_dump(exclude=excluded)
    assert actual == getattr(Settings(), section).model_dump(exclude=excluded)


def test_the_example_is_valid_as_it_stands() -> None:
    settings = load_settings(EXAMPLE, environment={})
    assert [route.model for route in settings.routes] == ["lung-ct", "knee-xr"]


def test_the_example_is_valid_with_everything_switched_on() -> None:
    assert Settings.model_validate(_everything()).tls is not None
