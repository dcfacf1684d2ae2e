"""Put another bundle in force, or the one before it again, and have the log say so exactly once."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from medfake_pacs import audit, crashpoints
from medfake_pacs.config import Settings
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.tables import audit_events
from medfake_pacs.entities import AuditEvent
from medfake_pacs.errors import BundleError
from medfake_pacs.workflows import model_library as library
from medfake_pacs.workflows import model_offers
from medfake_pacs.workflows.model_library import Pointer
from medfake_pacs.workflows.model_offers import Offer, OfferGoneError

# Among so many of the newest rows of a kind a fact is looked for before it is recorded.
_LOOKED_AT = 500
UPDATE, BY_HAND, ROLLBACK = "update", "by hand", "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why another bundle is put in force: an update, by hand or a rollback; ``by`` is empty where the node does it."""

    reason: str
    by: str = ""
    note: str = ""


def switch_to_offer(settings: Settings, engine: sa.Engine, offer: Offer, why: Why) -> Pointer:
    """Put an offer's bundle in force, record it and forget the offer; a crash at any point leaves one in force.

    Raises
    ------
    BundleError
        If the bundle is damaged, or another one than that which it was compared with is in force.
    OfferGoneError
        If somebody was quicker: it is in force, withdrawn, or in another state than this one.
    """
    with library.changing(settings):
        if not model_offers.path_of(settings, offer).is_dir():
            raise OfferGoneError(f"{offer.name} {offer.version} doesn't wait any more")
        if model_offers.current(settings, offer).state != offer.state or offer.state == "refused":
            raise OfferGoneError(f"{offer.name} {offer.version} was withdrawn or is being tried again")
        active = library.active_bundle(settings, offer.name)
        against = str(offer.canary.get("against", ""))
        if why.reason == UPDATE and active and against and against != active.calibration_sha256:
            raise BundleError("another bundle than the one that it was compared with is in force")
        previous = library.keep_base(settings, offer.name)
        folder = library.install(settings, offer.name, model_offers.path_of(settings, offer))
        crashpoints.reach("models.installed")
        pointer = _point_at(settings, engine, offer.name, folder, previous, why, offer_id=offer.offer_id)
        crashpoints.reach("models.switch-recorded")
        model_offers.settle(settings, offer)
    return pointer


def switch_to_version(settings: Settings, engine: sa.Engine, name: str, version: str, why: Why) -> Pointer:
    """Put a kept version of a model in force again.

    Raises
    ------
    BundleError
        If there is none, or it is damaged.
    """
    with library.changing(settings):
        previous = library.keep_base(settings, name)
        folders = [folder.name for folder in library.installed_folders(settings, name) if folder.name != previous]
        found = [folder for folder in folders if folder.rpartition("-")[0] == version]
        if not found:
            raise BundleError(f"no other bundle {name} {version} is offered or installed")
        return _point_at(settings, engine, name, found[-1], previous, why)


def roll_back(settings: Settings, engine: sa.Engine, name: str, *, by: str) -> Pointer:
    """Put the bundle in force that was before this one.

    Raises
    ------
    BundleError
        If there is none before, or it is damaged.
    """
    with library.changing(settings):
        now = library.load_pointer(settings, name)
        if now is None or not now.previous:
            raise BundleError(f"no bundle was in force before this one of {name!r}")
        pointer = _point_at(settings, engine, name, now.previous, now.active, Why(reason=ROLLBACK, by=by))
        for offer in model_offers.offers(settings):
            if offer.offer_id == now.offer_id:
                # Left by a process that died right after the switch: it would be switched to again.
                model_offers.settle(settings, offer)
    return pointer


def _point_at(
    settings: Settings, engine: sa.Engine, name: str, active: str, previous: str, why: Why, *, offer_id: str = ""
) -> Pointer:
    """Put a kept bundle in force and record it; what was in force is recorded first, should that be missing."""
    from medfake_pacs.classifier import load_bundle

    now = library.load_pointer(settings, name)
    if now is not None:
        record_switch(engine, name, now)
    folder = settings.model_library_dir / name
    bundle = load_bundle(folder / active)
    version, digest, calibration = _identity(folder / previous) if previous else ("", "", "")
    pointer = Pointer(
        active=active,
        previous=previous,
        switch_id=library.new_id(),
        switched_at=time.time(),
        version=bundle.card.version,
        model_sha256=bundle.model_sha256,
        previous_version=version,
        previous_sha256=digest,
        calibration_sha256=bundle.calibration_sha256,
        previous_calibration_sha256=calibration,
        reason=why.reason,
        by=why.by,
        offer_id=offer_id,
        note=why.note,
    )
    library.point_at(settings, name, pointer)
    record_switch(engine, name, pointer)
    return pointer


def _identity(folder: Path) -> tuple[str, str, str]:
    """Return version and digests as a bundle's card has them; empty where it is damaged, maybe why it is left."""
    from medfake_pacs.classifier.bundle import calibration_digest, model_digest

    card = library.readable_card(folder)
    if card is None:
        return "", "", ""
    return card.version, model_digest(card), calibration_digest(card)


def record_switch(engine: sa.Engine, name: str, pointer: Pointer) -> bool:
    """Have the log say that a bundle was put in force, unless it does already; tell whether it didn't."""
    event = AuditEvent(
        kind="model-switched",
        model_sha256=pointer.model_sha256,
        payload={
            "switch": pointer.switch_id,
            "offer": pointer.offer_id,
            "model": name,
            "from_version": pointer.previous_version,
            "from_sha256": pointer.previous_sha256,
            "to_version": pointer.version,
            "to_sha256": pointer.model_sha256,
            "from_calibration_sha256": pointer.previous_calibration_sha256,
            "to_calibration_sha256": pointer.calibration_sha256,
            "reason": pointer.reason,
            "note": pointer.note,
            "who": pointer.by,
        },
    )
    return record_once(engine, event, pointer.switch_id)


def record_offer(engine: sa.Engine, offer: Offer) -> bool:
    """Have the log say that a bundle was offered, unless it does already."""
    facts = {"folder": offer.folder, "allow": list(offer.allow), "who": offer.by}
    event = AuditEvent(kind="model-offered", model_sha256=offer.model_sha256, payload=_named(offer, facts))
    return record_once(engine, event, offer.offer_id)


def record_canary(engine: sa.Engine, offer: Offer) -> bool:
    """Have the log say what the trial of a bundle came to, unless it does already."""
    event = AuditEvent(
        kind="model-canaried", model_sha256=offer.model_sha256, payload=_named(offer, dict(offer.canary))
    )
    return record_once(engine, event, str(offer.canary["trial"]))


def record_refusal(engine: sa.Engine, offer: Offer) -> bool:
    """Have the log say that a bundle was refused and why, unless it does already."""
    facts = {"folder": offer.folder, "reason": offer.reason, "who": offer.by}
    event = AuditEvent(kind="model-refused", model_sha256=offer.model_sha256, payload=_named(offer, facts))
    return record_once(engine, event, offer.offer_id)


def _named(offer: Offer, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {"offer": offer.offer_id, "model": offer.name, "version": offer.version, **facts}


def record_once(engine: sa.Engine, event: AuditEvent, key: str) -> bool:
    """Append an event to the log unless one of its kind has ``key`` in it; tell whether it was appended."""
    columns = audit_events.c
    newest = sa.select(columns.payload).where(columns.kind == event.kind).order_by(columns.seq.desc())
    with reading(engine) as connection:
        if any(f'"{key}"' in payload for payload in connection.execute(newest.limit(_LOOKED_AT)).scalars()):
            return False
    with transaction(engine) as connection:
        if any(f'"{key}"' in payload for payload in connection.execute(newest.limit(_LOOKED_AT)).scalars()):
            return False
        audit.append(connection, event)
    return True
