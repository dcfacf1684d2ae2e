"""`models`: list and verify the bundles, offer a new one, switch to one that waits, go back to the one before."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs.classifier.installed import InstalledBundle, installed_bundles
from medfake_pacs.cli import settings_of
from medfake_pacs.config import Settings
from medfake_pacs.config.bundles import base_directories, bundle_directories
from medfake_pacs.database.existing import account_name, existing_engine
from medfake_pacs.database.tables import audit_events
from medfake_pacs.errors import BundleError
from medfake_pacs.workflows import model_library as library
from medfake_pacs.workflows import model_offers, model_switching
from medfake_pacs.workflows.model_files import shown
from medfake_pacs.workflows.model_library import Pointer
from medfake_pacs.workflows.model_offers import Offer
from medfake_pacs.workflows.model_switching import BY_HAND, Why
from medfake_pacs.workflows.model_wording import offer_lines, pointer_lines, refused_line

_UNUSABLE = 2


def show(options: argparse.Namespace) -> int:
    """Print the bundles in force, those before them, those that wait and those that were refused."""
    settings = settings_of(options)
    found = installed_bundles(bundle_directories(settings))
    pointers = library.pointers(settings)
    for item in found:
        print("\n".join(item.lines()))
        if item.folder in pointers:
            print("\n".join(f"  {line}" for line in pointer_lines(pointers[item.folder])))
        for folder in _kept(settings, item.folder, pointers.get(item.folder)):
            print(f"  installed: {folder.name.rpartition('-')[0]}")
    if not found:
        print(f"no bundle in {settings.models_dir}")
    for path in model_offers.arrivals(settings):
        where = f"in {settings.incoming_models_dir}"
        print(f"{shown(path.name)}: {where}, a worker takes it when nobody copies into it any more")
    for offer in model_offers.offers(settings):
        print("\n".join(offer_lines(offer)))
    for offer, folder in model_offers.refused(settings):
        print(f"{refused_line(offer)} ({folder})")
    return 0


def _kept(settings: Settings, name: str, pointer: Pointer | None) -> list[Path]:
    named = {pointer.active, pointer.previous} if pointer else set()
    return [folder for folder in library.installed_folders(settings, name) if folder.name not in named]


def verify(options: argparse.Namespace) -> int:
    """Check every bundle's digests, those that are kept or wait included; 1 when one is damaged or there is none."""
    settings = settings_of(options)
    active = installed_bundles(bundle_directories(settings))
    others = installed_bundles(dict(_others(settings)))
    for item in active:
        print("\n".join(item.lines(verbose=False)))
    for item in others:
        print(f"{item.folder}: {_said(item)}")
    every = (*active, *others)
    damaged = sum(item.bundle is None for item in every)
    if not active:
        print(f"no bundle in {settings.models_dir}")
    print(f"{len(every) - damaged} of {len(every)} bundles are what their cards say")
    return 1 if damaged or not active else 0


def _others(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield every bundle that isn't in force, by what it is called here."""
    active = bundle_directories(settings)
    for name, folder in base_directories(settings).items():
        if active[name] != folder:
            yield f"{name} (came with the node)", folder
    for name in library.pointers(settings):
        for folder in library.installed_folders(settings, name):
            if active[name] != folder:
                yield f"{name}/{folder.name} (kept)", folder
    for offer in model_offers.offers(settings):
        if offer.state != "refused":
            yield f"offers/{offer.offer_id} ({offer.state})", model_offers.path_of(settings, offer)


def _said(item: InstalledBundle) -> str:
    return f"damaged: {item.error}" if item.bundle is None else item.lines(verbose=False)[0]


def install(options: argparse.Namespace) -> int:
    """Check a bundle and put it where the node takes new ones from."""
    settings = settings_of(options)
    asked = (("older", options.allow_older), ("new-name", options.allow_new_name))
    allow = tuple(name for name, wanted in asked if wanted)
    target = model_offers.stage(settings, options.folder, by=account_name(), allow=allow)
    print(f"{target.name} is offered; a worker tries it on recent images: medfake-pacs models list")
    return 0


def switch(options: argparse.Namespace) -> int:
    """Put an offer that waits, or a version that is kept, in force."""
    settings = settings_of(options)
    with existing_engine(settings.database_url, audit_events, "log") as engine:
        if engine is None:
            return _UNUSABLE
        pointer = _switch(settings, engine, options.name, options.model_version)
    print("\n".join([f"{options.name} {pointer.version} is in force", *pointer_lines(pointer)]))
    return 0


def _switch(settings: Settings, engine: sa.Engine, name: str, version: str) -> Pointer:
    found = [item for item in model_offers.offers(settings) if (item.name, item.version) == (name, version)]
    waiting = [item for item in found if item.state in ("ready", "waiting")]
    if waiting:
        why = Why(reason=BY_HAND, by=account_name(), note=waiting[-1].reason)
        return model_switching.switch_to_offer(settings, engine, waiting[-1], why)
    if found:
        raise BundleError(f"{name} {version} is being tried; see medfake-pacs models list")
    why = Why(reason=BY_HAND, by=account_name())
    return model_switching.switch_to_version(settings, engine, name, version, why)


def rollback(options: argparse.Namespace) -> int:
    """Put the bundle in force that was before this one."""
    settings = settings_of(options)
    with existing_engine(settings.database_url, audit_events, "log") as engine:
        if engine is None:
            return _UNUSABLE
        pointer = model_switching.roll_back(settings, engine, options.name, by=account_name())
    print("\n".join([f"{options.name} {pointer.version} is in force again", *pointer_lines(pointer)]))
    return 0


def withdraw(options: argparse.Namespace) -> int:
    """Take an offer back that waits; a worker moves it to the refused ones."""
    settings = settings_of(options)
    name, version = options.name, options.model_version
    with library.changing(settings):
        found: list[Offer] = [
            item
            for item in model_offers.offers(settings)
            if (item.name, item.version) == (name, version) and item.state in ("ready", "waiting")
        ]
        for offer in found:
            reason = f"withdrawn by {account_name()} at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"
            model_offers.change(settings, offer.offer_id, expected=offer.state, state="refused", reason=reason)
    if not found:
        raise BundleError(f"no bundle {name} {version} waits")
    print(f"{name} {version} is withdrawn")
    return 0
