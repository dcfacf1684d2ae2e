"""A new bundle in a folder is tried on recent images and switched to while images come; a bad one isn't."""

import getpass
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid

from medfake_pacs.classifier import Bundle, load_bundle
from medfake_pacs.config import Settings, load_settings
from medfake_pacs.config.bundles import bundle_directories
from medfake_pacs.workflows import model_offers
from tests import material, model_bundles
from tests.node import NodeProcess
from tests.support import wait_for

ROUTES = '[[routes]]\nname = "CT"\nmodality = ["CT"]\nmodel = "lung-ct"\n'
IMAGES = 6
_TIMEOUT_S = 400.0


class Updates:
    """A running node whose bundles are small, and what its administrator does with new ones."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        self.settings: Settings = load_settings(node.config)
        self._minor = 0

    @property
    def in_force(self) -> Bundle:
        """Return the bundle in force."""
        return load_bundle(bundle_directories(self.settings)["lung-ct"])

    def edition(self, **changes: Any) -> Bundle:
        """Return a newer edition of the bundle in force."""
        self._minor += 1
        version = f"2.{self._minor}.{time.time_ns()}"
        return model_bundles.edition(
            self.in_force.directory, self.node.folder / f"edition-{self._minor}", version=version, **changes
        )

    def install(self, bundle: Bundle) -> None:
        """Offer a bundle by the command."""
        done = self.node.command("models", "install", str(bundle.directory))
        assert done.returncode == 0, done.stderr

    def put(self, bundle: Bundle) -> Path:
        """Copy a bundle's folder by hand to where new ones are taken from."""
        target = self.settings.incoming_models_dir / bundle.directory.name
        shutil.copytree(bundle.directory, target)
        return target

    def facts(self, kind: str, **wanted: str) -> list[dict[str, Any]]:
        """Return what the log has of a kind, oldest first."""
        found = [json.loads(row.payload)["payload"] for row in self.node.rows("audit_events", kind=kind)]
        return [item for item in found if all(item.get(key) == value for key, value in wanted.items())]

    def wait(self, kind: str, **wanted: str) -> dict[str, Any]:
        """Return the first such fact of the log, once it is there."""
        found = wait_for(lambda: self.facts(kind, **wanted), _TIMEOUT_S, f"{kind} {wanted} ({self.node.log_path})")
        return found[0]

    def wait_until_it_waits(self, bundle: Bundle, state: str) -> None:
        """Wait until an offered bundle is in a state in which it waits."""

        def waits() -> bool:
            return (bundle.card.version, state) in {(it.version, it.state) for it in model_offers.offers(self.settings)}

        wait_for(waits, _TIMEOUT_S, f"the bundle to be {state} ({self.node.log_path})")

    def listed(self) -> str:
        """Return what `models list` prints."""
        done = self.node.command("models", "list")
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def small_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache for converted models that the nodes of this module share."""
    return tmp_path_factory.mktemp("cache")


MakeUpdates = Callable[..., Updates]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, small_cache: Path) -> Iterator[MakeUpdates]:
    """Yield a function that starts a node with a small model."""
    nodes: list[NodeProcess] = []

    def start(models: str, *, images: int = IMAGES) -> Updates:
        folder = tmp_path_factory.mktemp("updates")
        base = model_bundles.small_models(folder / "base")
        completion = "[completion]\nquiet_s = 1.0\nidle_association_s = 600\n"
        bounds = "max_weights_bytes = 3000000\ncanary_images = 8\n"
        extra = f'{completion}[scoring]\nmodels_dir = "{base}"\n[models]\n{bounds}{models}'
        node = NodeProcess(folder / "node", routes=ROUTES, extra=extra, cache=small_cache)
        nodes.append(node)
        node.start()
        if images:
            assert material.send(node.port, material.ct_series(images)) == [0] * images
            node.wait_idle(images, timeout_s=_TIMEOUT_S)
        return Updates(node)

    yield start
    for node in nodes:
        node.kill()


@pytest.fixture(scope="module")
def updates(make: MakeUpdates) -> Updates:
    """Return a node that has scored a few images and switches by itself."""
    return make("canary_minimum = 3\n")


def _digests(updates: Updates, study_uid: str) -> set[str]:
    return {row.model_sha256 for row in updates.node.rows("instances", study_instance_uid=study_uid)}


def _assert_one_digest_each(updates: Updates, study_uid: str, images: int) -> None:
    """Every image is there, done and scored by the model that its series' verdict names."""
    node = updates.node
    rows = node.rows("instances", study_instance_uid=study_uid)
    assert len(rows) == images
    assert {(row.state, row.not_assessed_reason) for row in rows} == {("done", None)}
    verdicts = node.rows("verdicts", scope="series", study_instance_uid=study_uid)
    newest = max(verdicts, key=lambda row: row.revision)
    assert newest.images_scored == newest.images_total == images
    assert {row.model_sha256 for row in rows} == {newest.model_sha256}
    [event] = [
        json.loads(row.payload)
        for row in node.rows("audit_events", kind="series-verdict", study_instance_uid=study_uid)
        if json.loads(row.payload)["payload"]["revision"] == newest.revision
    ]
    assert event["model_sha256"] == newest.model_sha256
    kept = {(row.pixel_sha256, row.model_sha256) for row in node.rows("scores")}
    assert {(row.pixel_sha256, row.model_sha256) for row in rows} <= kept


def test_a_new_bundle_is_switched_to_while_a_series_comes_and_nothing_is_lost_or_mixed(updates: Updates) -> None:
    node, old = updates.node, updates.in_force
    new = updates.edition(weights=1e-4)
    study, series = generate_uid(), generate_uid()
    slices = material.ct_series(300, study_uid=study, series_uid=series, seed=3)
    association = material.associate(node.port, slices, timeout_s=60)
    updates.put(new)
    sent = 0

    def is_switched() -> bool:
        return bool(updates.facts("model-switched", to_version=new.card.version))

    while not is_switched() and sent < len(slices) - 2:
        assert association.send_c_store(slices[sent]).Status == 0
        sent += 1
        # One after the other for as long as the trial takes, so that the switch comes between two of them.
        next_at = time.monotonic() + 1.0
        wait_for(lambda at=next_at: is_switched() or time.monotonic() > at, 10, "the next image's turn")
    del slices[sent + 2 :]
    switched = updates.wait("model-switched", to_version=new.card.version)
    assert old.model_sha256 in _digests(updates, study)
    for item in slices[sent:]:
        assert association.send_c_store(item).Status == 0
    association.release()
    wait_for(node.is_idle, _TIMEOUT_S, "the study to be assessed")

    _assert_one_digest_each(updates, study, len(slices))
    assert _digests(updates, study) == {new.model_sha256}
    [verdict] = node.rows("verdicts", scope="series", study_instance_uid=study)
    assert verdict.model_sha256 == new.model_sha256
    assert (switched["from_sha256"], switched["to_sha256"]) == (old.model_sha256, new.model_sha256)
    assert (switched["reason"], switched["who"]) == ("update", getpass.getuser())
    scored = node.rows("audit_events", kind="image-scored", study_instance_uid=study)
    by_image: dict[tuple[str, str], int] = {}
    for row in scored:
        key = (row.sop_instance_uid, row.model_sha256)
        by_image[key] = by_image.get(key, 0) + 1
    assert set(by_image.values()) == {1}, "no image is scored twice by one model"
    assert {uid for uid, digest in by_image if digest == new.model_sha256} == {item.SOPInstanceUID for item in slices}
    canary = updates.wait("model-canaried", version=new.card.version)
    assert canary["passed"]
    assert canary["images"] >= 3
    assert canary["whole_series"] >= 1
    assert "TEST-1" not in json.dumps(canary)
    assert node.command("audit", "verify").returncode == 0


def test_a_damaged_bundle_is_refused_with_the_reason_and_the_old_one_stays(updates: Updates) -> None:
    old, bad = updates.in_force, updates.edition()
    folder = updates.put(bad)
    model_bundles.damage(folder)
    refused = updates.wait("model-refused", folder=folder.name)
    assert "SHA-256" in refused["reason"]
    assert updates.in_force.model_sha256 == old.model_sha256
    wait_for(lambda: not folder.exists(), 10, "the folder to be taken away")
    [moved] = wait_for(
        lambda: list((updates.settings.model_library_dir / "refused").glob(f"*{refused['offer'][:8]}")), 10, "refused/"
    )
    assert (moved / "reason.txt").read_text().strip() == refused["reason"]
    assert updates.node.command("models", "verify").returncode == 0


def test_what_is_no_bundle_is_refused_and_never_followed(updates: Updates, tmp_path: Path) -> None:
    incoming = updates.settings.incoming_models_dir
    secret = tmp_path / "secret"
    secret.mkdir()
    shutil.copytree(updates.edition().directory, secret / "bundle")
    (incoming / "linked").symlink_to(secret / "bundle")
    linked_file = incoming / "linked-file"
    linked_file.mkdir()
    shutil.copyfile(secret / "bundle" / "card.json", linked_file / "card.json")
    (linked_file / "weights.safetensors").symlink_to(secret / "bundle" / "weights.safetensors")
    large = updates.put(updates.edition())
    with (large / "weights.safetensors").open("ab") as file:
        file.truncate(3_000_001)
    other = updates.put(updates.edition(modality="MR"))
    older = model_bundles.edition(updates.in_force.directory, updates.node.folder / "older", version="0.9")
    assert updates.node.command("models", "install", str(older.directory)).returncode == 0
    reasons = {name: updates.wait("model-refused", folder=name)["reason"] for name in ("linked", "linked-file")}
    assert reasons == {"linked": "it is no folder", "linked-file": "weights.safetensors is a symbolic link"}
    assert "larger than 3000000 bytes" in updates.wait("model-refused", folder=large.name)["reason"]
    assert "it is for MR" in updates.wait("model-refused", folder=other.name)["reason"]
    assert "isn't newer" in updates.wait("model-refused", version="0.9")["reason"]
    assert (secret / "bundle" / "weights.safetensors").is_file()
    assert "is refused: it is for MR" in updates.listed()


def test_a_bundle_that_calls_everything_fake_is_stopped_by_the_trial(updates: Updates) -> None:
    old = updates.in_force
    bad = updates.edition(
        calibration={"slope": 1.0, "intercept": 60.0}, thresholds={"real_below": 0.4, "fake_above": 0.6}
    )
    updates.install(bad)
    refused = updates.wait("model-refused", version=bad.card.version)
    assert "recent images that weren't fake would be" in refused["reason"]
    assert refused["reason"].endswith("recent series that weren't fake would be")
    canary = updates.wait("model-canaried", version=bad.card.version)
    assert not canary["passed"]
    assert canary["newly_fake"] == canary["not_fake_before"] == canary["images"]
    assert updates.in_force.model_sha256 == old.model_sha256
    assert not updates.facts("model-switched", to_version=bad.card.version)


def test_by_hand_with_rollback_and_withdrawal(make: MakeUpdates) -> None:
    updates = make('switch = "manual"\ncanary_minimum = 3\n')
    node, old = updates.node, updates.in_force
    new = updates.edition(calibration={"slope": 1.0, "intercept": 0.25})
    updates.install(new)
    updates.wait("model-canaried", version=new.card.version)
    updates.wait_until_it_waits(new, "ready")
    assert "waits to be switched to" in updates.listed()
    assert updates.in_force.model_sha256 == old.model_sha256
    done = node.command("models", "switch", "lung-ct", new.card.version)
    assert done.returncode == 0, done.stderr
    switched = updates.wait("model-switched", to_version=new.card.version)
    assert switched["reason"] == "by hand"
    assert switched["who"]
    assert f"before: {old.card.version}" in updates.listed()

    first = material.ct_series(2, seed=11)
    assert material.send(node.port, first) == [0, 0]
    node.wait_idle(IMAGES + 2, timeout_s=_TIMEOUT_S)
    assert _digests(updates, first[0].StudyInstanceUID) == {new.model_sha256}

    done = node.command("models", "rollback", "lung-ct")
    assert done.returncode == 0, done.stderr
    rollback = updates.wait("model-switched", reason="rollback")
    assert (rollback["to_version"], rollback["from_version"]) == (old.card.version, new.card.version)
    late = material.ct_series(
        1, study_uid=first[0].StudyInstanceUID, series_uid=first[0].SeriesInstanceUID, start=3, seed=12
    )
    assert material.send(node.port, late) == [0]
    node.wait_idle(IMAGES + 3, timeout_s=_TIMEOUT_S)
    _assert_one_digest_each(updates, first[0].StudyInstanceUID, 3)
    assert _digests(updates, first[0].StudyInstanceUID) == {old.model_sha256}

    again = updates.edition()
    updates.install(again)
    updates.wait("model-canaried", version=again.card.version)
    updates.wait_until_it_waits(again, "ready")
    assert node.command("models", "withdraw", "lung-ct", again.card.version).returncode == 0
    assert updates.wait("model-refused", version=again.card.version)["reason"].startswith("withdrawn by")
    assert node.command("models", "switch", "lung-ct", again.card.version).returncode == 1
    assert node.stop() == 0


def test_without_recent_images_it_waits_for_them(make: MakeUpdates) -> None:
    updates = make("canary_minimum = 3\n", images=0)
    new = updates.edition(calibration={"slope": 1.0, "intercept": 0.25})
    updates.install(new)
    updates.wait("model-offered", version=new.card.version)
    updates.wait_until_it_waits(new, "waiting")
    assert "0 recent images to try it on; it takes 3" in updates.listed()
    assert not updates.facts("model-switched")
    assert material.send(updates.node.port, material.ct_series(3, seed=21)) == [0, 0, 0]
    assert updates.wait("model-switched")["to_version"] == new.card.version
    assert updates.node.stop() == 0
