"""The console shows which bundle is in force since when, and what became of new ones, to those who see the node."""

from pathlib import Path

from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import open_engine
from medfake_pacs.serve import prepare
from medfake_pacs.workflows import model_offers, model_switching
from medfake_pacs.workflows.model_switching import Why
from tests import model_bundles
from tests.console_support import console_settings, running_console


def test_the_page_and_the_api_show_updates_without_a_restart(tmp_path: Path) -> None:
    base = model_bundles.small_models(tmp_path / "base")
    route = {"name": "CT", "modality": ["CT"], "model": "lung-ct"}
    settings = console_settings(tmp_path, "", {"scoring": {"models_dir": str(base)}, "routes": [route]})
    prepare(settings)
    engine = open_engine(settings.database_url)
    for version in ("1.1.0", "1.2.0", "1.3.0"):
        new = model_bundles.edition(base / "lung-ct", tmp_path / version, version=version)
        model_offers.claim(model_offers.stage(settings, new.directory, by="<i>anna", allow=()))
    for taken in model_offers.claimed(settings):
        model_offers.take(settings, taken)
    named = {}
    for offer in model_offers.offers(settings):
        version = (model_offers.path_of(settings, offer) / "card.json").read_text().partition('"version": "')[2][:5]
        state = "waiting" if version == "1.2.0" else "refused" if version == "1.3.0" else "ready"
        values = {"name": "lung-ct", "version": version, "state": state, "reason": "3 recent <b>images</b>"}
        named[version] = model_offers.change(settings, offer.offer_id, **values)
    model_offers.refuse(settings, named["1.3.0"])
    with running_console(settings) as console:
        client = console.with_token(Role.ADMINISTRATOR)
        assert client.get("/api/models/lung-ct").json()["version"] == "1.0.0"
        why = Why(reason="by hand", by="anna")
        model_switching.switch_to_offer(settings, engine, named["1.1.0"], why)
        found = client.get("/api/models/lung-ct").json()
        assert found["version"] == "1.1.0"
        assert "by hand by anna" in found["in_force"]
        assert "before: 1.0.0" in found["in_force"]
        updates = {item["version"]: item for item in client.get("/api/node").json()["model_updates"]}
        assert {version: item["state"] for version, item in updates.items()} == {"1.2.0": "waiting", "1.3.0": "refused"}
        page = console.signed_in(Role.ADMINISTRATOR).get("/node").text
        assert "lung-ct 1.2.0" in page
        assert "waits for recent images to be tried on: 3 recent &lt;b&gt;images" in page
        assert "by &lt;i&gt;anna" in page
        assert console.signed_in(Role.VIEWER).get("/node").status_code == 403
        model_switching.roll_back(settings, engine, "lung-ct", by="anna")
        assert client.get("/api/models/lung-ct").json()["version"] == "1.0.0"
    engine.dispose()
