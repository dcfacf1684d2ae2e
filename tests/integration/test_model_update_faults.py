"""What mustn't happen while new bundles are taken: nothing foreign is deleted, and no single one stops the others."""

import os
import pwd
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs.classifier import load_bundle
from medfake_pacs.config.bundles import bundle_directories
from medfake_pacs.database import open_engine, reading
from medfake_pacs.errors import BundleError
from medfake_pacs.serve import prepare
from medfake_pacs.workflows import model_files, model_offers, model_reference, model_switching, model_updates
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.model_offers import OfferGoneError
from medfake_pacs.workflows.model_switching import Why
from medfake_pacs.workflows.model_updates import ModelUpdates
from tests import model_bundles
from tests.console_support import console_settings

ROUTES = [{"name": "CT", "modality": ["CT"], "model": "lung-ct"}]
SLIGHTLY = {"slope": 1.0, "intercept": 0.1}


class Site:
    """A node without images whose worker is this process."""

    def __init__(self, folder: Path, **models: object) -> None:
        self.folder = folder
        self.base = model_bundles.small_models(folder / "base")
        self.settings = console_settings(
            folder,
            "",
            {
                "scoring": {"models_dir": str(self.base), "threads": 1},
                "routes": ROUTES,
                "models": {"canary_minimum": 0, **models},
            },
        )
        prepare(self.settings)
        self.settings.spool_dir.mkdir(parents=True, exist_ok=True)
        self.settings.incoming_models_dir.mkdir(parents=True, exist_ok=True)
        self.engine = open_engine(self.settings.database_url)
        self.restart()

    def restart(self) -> None:
        """Forget what the worker remembers, as a new process does."""
        self.context = Context.open(self.settings, self.engine)
        self.updates = ModelUpdates(self.context, threading.Event())

    @property
    def version(self) -> str:
        """Return the version in force."""
        return load_bundle(bundle_directories(self.settings)["lung-ct"]).card.version

    def edition(self, version: str, **card: object) -> Path:
        """Return the folder of another version."""
        return model_bundles.edition(
            self.base / "lung-ct", self.folder / f"new-{version}", version=version, **card
        ).directory

    def offer(self, version: str, **card: object) -> Path:
        """Offer another version as the command does."""
        return model_offers.stage(self.settings, self.edition(version, **card), by="somebody", allow=())

    def logged(self, kind: str) -> int:
        """Return how many rows of a kind the log has."""
        with reading(self.engine) as connection:
            query = sa.text("select count(*) from audit_events where kind = :kind")
            return int(connection.execute(query, {"kind": kind}).scalar_one())


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    """Yield what makes a site; what is put in by hand is taken at once there."""
    monkeypatch.setattr(model_updates, "_SETTLED_S", 0.0)
    monkeypatch.setattr(model_updates, "_INCOMPLETE_S", 0.0)
    sites: list[Site] = []

    def made(**models: object) -> Site:
        sites.append(Site(tmp_path, **models))
        return sites[-1]

    yield made
    for site in sites:
        site.engine.dispose()


def test_what_is_no_bundle_is_never_deleted(make: Callable[..., Site]) -> None:
    site = make()
    incoming = site.settings.incoming_models_dir
    (incoming / "study" / "deep").mkdir(parents=True)
    (incoming / "study" / "deep" / "1.dcm").write_bytes(b"x")
    (incoming / "notes.txt").write_text("x")
    more = incoming / "lung-ct-with-more"
    shutil.copytree(site.edition("1.1.0", calibration=SLIGHTLY), more)
    (more / "figures").mkdir()
    (more / "figures" / "roc.png").write_bytes(b"x")
    bad = incoming / "bad"
    shutil.copytree(more, bad)
    (bad / "weights.safetensors").unlink()
    (bad / "weights.safetensors").symlink_to(site.base / "lung-ct" / "weights.safetensors")
    for _ in range(3):
        site.updates.run()
    assert site.version == "1.1.0"
    assert (incoming / "study" / "deep" / "1.dcm").is_file()
    assert (incoming / "notes.txt").is_file()
    assert [path.read_bytes() for path in incoming.glob(".*/figures/roc.png")] == [b"x"]
    [(offer, folder)] = model_offers.refused(site.settings)
    assert offer.reason == "weights.safetensors is a symbolic link"
    assert (folder / "bundle" / "figures" / "roc.png").is_file()
    assert (folder / "bundle" / "card.json").is_file()
    assert (site.base / "lung-ct" / "weights.safetensors").is_file()


def test_a_worker_takes_nothing_from_a_folder_of_the_node(make: Callable[..., Site]) -> None:
    site = make()
    elsewhere = site.folder / "elsewhere"
    elsewhere.symlink_to(site.settings.node.state_dir, target_is_directory=True)
    models = site.settings.models.model_copy(update={"incoming_dir": str(elsewhere)})
    site.settings = site.settings.model_copy(update={"models": models})
    site.restart()
    before = sorted(path.name for path in elsewhere.iterdir())
    shutil.copytree(site.edition("1.1.0", calibration=SLIGHTLY), elsewhere / "new")
    for _ in range(3):
        site.updates.run()
    assert sorted(path.name for path in elsewhere.iterdir()) == sorted([*before, "new"])
    assert site.version == "1.0.0"


def test_one_that_cannot_be_read_or_named_does_not_stop_the_others(
    make: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make()
    incoming = site.settings.incoming_models_dir
    source = site.edition("1.1.0", calibration=SLIGHTLY)
    strange = Path(os.fsdecode(os.fsencode(incoming) + b"/a-mod\xe8le"))
    shutil.copytree(source, strange)
    damaged = Path(os.fsdecode(os.fsencode(incoming) + b"/b-mod\xe8le"))
    shutil.copytree(source, damaged)
    model_bundles.damage(damaged)
    closed = incoming / "closed"
    shutil.copytree(source, closed)
    look = model_offers.state_of_folder

    def denied(folder: Path) -> object:
        if folder == closed:
            raise PermissionError(folder)
        return look(folder)

    monkeypatch.setattr(model_offers, "state_of_folder", denied)
    site.updates.run()
    site.offer("1.2.0", calibration=SLIGHTLY)
    site.updates.run()
    assert site.version == "1.2.0"
    assert [offer.folder for offer, _ in model_offers.refused(site.settings) if "SHA" in offer.reason] == [
        "b-mod\\xe8le"
    ]


def test_a_damaged_bundle_in_force_is_repaired_by_its_like_and_by_nothing_else(make: Callable[..., Site]) -> None:
    site = make()
    site.offer("1.1.0", calibration=SLIGHTLY)
    site.updates.run()
    model_bundles.damage(bundle_directories(site.settings)["lung-ct"])
    site.restart()
    everything_fake = {
        "calibration": {"slope": 1.0, "intercept": 60.0},
        "thresholds": {"real_below": 0.4, "fake_above": 0.6},
    }
    site.offer("2.0", modality="MR", **everything_fake)
    site.offer("0.9", **everything_fake)
    site.offer("3.0", **everything_fake)
    for _ in range(3):
        site.updates.run()
    reasons = [offer.reason for offer, _ in model_offers.refused(site.settings)]
    assert ["it is for MR" in reason or "isn't newer" in reason for reason in reasons] == [True, True]
    [waiting] = model_offers.offers(site.settings)
    assert (waiting.version, waiting.state) == ("3.0", "waiting")
    assert "switch to it by hand" in waiting.reason
    again = site.folder / "new-1.1.0"
    model_offers.stage(site.settings, again, by="somebody", allow=())
    before = site.logged("model-canaried")
    for _ in range(4):
        site.updates.run()
    assert site.version == "1.1.0"
    assert site.logged("model-canaried") == before + 1
    assert site.context.models.bundle("lung-ct").card.version == "1.1.0"


def test_a_bundle_that_cannot_be_put_in_force_is_refused_after_some_attempts(
    make: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make()

    def fails(*_: object, **__: object) -> None:
        raise BundleError("it can't be put in force")

    monkeypatch.setattr(model_switching, "switch_to_offer", fails)
    site.offer("1.1.0", calibration=SLIGHTLY)
    for _ in range(8):
        site.updates.run()
    [(offer, _)] = model_offers.refused(site.settings)
    assert offer.reason == "it can't be put in force"
    assert site.logged("model-canaried") == 3
    assert site.version == "1.0.0"


def test_a_bundle_withdrawn_meanwhile_is_not_put_in_force(make: Callable[..., Site]) -> None:
    site = make(switch="manual")
    site.offer("1.1.0", calibration=SLIGHTLY)
    site.updates.run()
    [ready] = model_offers.offers(site.settings)
    assert ready.state == "ready"
    model_offers.change(site.settings, ready.offer_id, state="refused", reason="withdrawn by somebody")
    with pytest.raises(OfferGoneError, match="withdrawn"):
        model_switching.switch_to_offer(site.settings, site.engine, ready, Why(reason="by hand", by="somebody"))
    with pytest.raises(OfferGoneError):
        model_offers.change(site.settings, ready.offer_id, expected="ready", state="offered")
    site.updates.run()
    assert site.version == "1.0.0"
    assert [offer.reason for offer, _ in model_offers.refused(site.settings)] == ["withdrawn by somebody"]


def test_what_the_command_wrote_does_not_count_in_a_copy(make: Callable[..., Site]) -> None:
    site = make(switch="manual")
    source = site.edition("0.5", calibration=SLIGHTLY)
    staged = model_offers.stage(site.settings, source, by="the chief", allow=("older",))
    copy = staged.with_name("copied")
    shutil.copytree(staged, copy)
    assert (model_offers.is_by_command(staged), model_offers.is_by_command(copy)) == (True, False)
    for _ in range(2):
        site.updates.run()
    [offer] = model_offers.offers(site.settings)
    assert (offer.folder, offer.by, offer.allow) == (staged.name, "the chief", ("older",))
    [(refused, _)] = model_offers.refused(site.settings)
    assert (refused.folder, refused.by, refused.allow) == ("copied", copy_owner(source), ())
    assert "isn't newer" in refused.reason


def copy_owner(path: Path) -> str:
    """Return the account that a file belongs to."""
    return pwd.getpwuid(path.stat().st_uid).pw_name


def test_a_machine_that_cannot_try_a_bundle_is_no_reason_to_refuse_it(
    make: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make()
    monkeypatch.setattr(model_updates, "_AGAIN_S", 0.0)
    site.offer("1.1.0", weights=1e-4)
    faults = [subprocess.TimeoutExpired("torch", 1), None]
    really = subprocess.run

    def run(command: list[str], **options: object) -> object:
        if "medfake_pacs.workflows.model_reference" in command and (fault := faults.pop(0)):
            raise fault
        return really(command, **options)

    monkeypatch.setattr(model_reference.subprocess, "run", run)
    with pytest.raises(OSError, match="within"):
        site.updates.run()
    [offer] = model_offers.offers(site.settings)
    assert (offer.state, offer.attempts) == ("trying", 1)
    site.updates.run()
    assert site.version == "1.1.0"


def test_a_full_disk_keeps_a_new_bundle_where_it_is(make: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> None:
    site = make()
    site.offer("1.1.0", calibration=SLIGHTLY)
    with monkeypatch.context() as full:
        full.setattr(model_files, "_KEPT_FREE_BYTES", 1 << 60)
        site.updates.run()
        site.updates.run()
        assert len(model_offers.claimed(site.settings)) == 1
    site.updates.run()
    assert site.version == "1.1.0"
    assert not [path.name for path in site.settings.incoming_models_dir.iterdir()]
