"""The configuration as whoever reads it sees it: where things are, and nothing that lets one in."""

from pathlib import Path

import pytest

from medfake_pacs.config import parse_settings
from medfake_pacs.config.masking import MASK, masked, without_secrets
from medfake_pacs.console.queries.configuration import configuration_tables


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://hooks.example?key=SECRET", f"https://hooks.example/{MASK}"),
        ("https://hooks.example?key=SECRET/x", f"https://hooks.example/{MASK}"),
        ("https://hooks.example/?key=SECRET", f"https://hooks.example/{MASK}"),
        ("https://hooks.example#SECRET", f"https://hooks.example/{MASK}"),
        ("https://u:SECRET@hooks.example:8443/a", f"https://hooks.example:8443/{MASK}"),
        ("HTTPS://hooks.example/T/SECRET", f"https://hooks.example/{MASK}"),
        ("https://hooks.example", "https://hooks.example"),
        ("postgresql+psycopg://db.example/m?user=m&password=SECRET", f"postgresql+psycopg://db.example/m?{MASK}"),
        ("postgresql+psycopg://m:SECRET@db/x", "postgresql+psycopg://m:***@db/x"),
        ("postgresql+psycopg:///x?host=/run&sslpassword=SECRET", f"postgresql+psycopg:///x?{MASK}"),
        ("sqlite:////var/lib/medfake.db", "sqlite:////var/lib/medfake.db"),
        ("https://[::1/SECRET", MASK),
    ],
)
def test_addresses_are_shown_without_what_lets_one_in(address: str, shown: str) -> None:
    assert masked("url", address) == shown


def test_other_addresses_keep_their_path() -> None:
    assert masked("issuer", "https://id.example/realms/x?key=SECRET") == "https://id.example/realms/x"


def test_neither_page_nor_log_has_the_secrets() -> None:
    hook = {"name": "hook", "kind": "webhook", "url": "https://hooks.example?key=SECRET"}
    settings = parse_settings({"notifications": [hook]}, base=Path("/srv"))
    assert "SECRET" in str(settings.model_dump(mode="json"))
    assert "SECRET" not in str(without_secrets(settings.model_dump(mode="json")))
    assert "SECRET" not in str(configuration_tables(settings))
    assert "hooks.example" in str(configuration_tables(settings))
