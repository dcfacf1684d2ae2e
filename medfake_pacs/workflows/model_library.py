"""The bundles that came after the node: kept by version, one of them in force by a pointer that is replaced whole.

In ``models`` of the state folder: ``NAME/VERSION-DIGEST/`` are bundles, ``NAME/active.json`` names the one in force,
``offers/`` are those that are being tried or wait, ``refused/`` those that weren't good enough.
"""

import fcntl
import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medfake_pacs import crashpoints
from medfake_pacs.config import Settings
from medfake_pacs.config.bundles import CARD_NAME, POINTER_NAME, base_directories, bundle_directories, read_pointer
from medfake_pacs.errors import BundleError
from medfake_pacs.spool.placing import exclusive
from medfake_pacs.workflows.model_files import make_folder, own_lock, place_copy, write_durably

if TYPE_CHECKING:
    from medfake_pacs.classifier import Bundle
    from medfake_pacs.classifier.card import Card

RESERVED_NAMES = frozenset({"incoming", "offers", "refused"})
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Which bundle of a model is in force since when, by whom and why, and which one was before.

    ``active`` and ``previous`` are folders beside it; ``switch_id`` tells this switch from every other.
    """

    active: str
    previous: str
    switch_id: str
    switched_at: float
    version: str
    model_sha256: str
    previous_version: str
    previous_sha256: str
    calibration_sha256: str
    previous_calibration_sha256: str
    reason: str
    by: str = ""
    offer_id: str = ""
    note: str = ""


def new_id() -> str:
    """Return an id that nothing else has."""
    return uuid.uuid4().hex


def offers_dir(settings: Settings) -> Path:
    """Return where bundles are that are being tried, or wait."""
    return settings.model_library_dir / "offers"


def refused_dir(settings: Settings) -> Path:
    """Return where bundles are that weren't good enough, each with its ``reason.txt``."""
    return settings.model_library_dir / "refused"


def check_names(name: str, version: str) -> None:
    """Refuse a name or version that can't be part of a folder's name.

    Raises
    ------
    BundleError
        With what is allowed.
    """
    if not _NAME.fullmatch(name) or name in RESERVED_NAMES:
        raise BundleError(f"the name {name[:64]!r} can't be used: a letter or digit, then letters, digits, . _ - (a-z)")
    if not _VERSION.fullmatch(version):
        raise BundleError(f"the version {version[:64]!r} can't be used: letters, digits and . _ + - only")


def card_of(folder: Path) -> bytes:
    """Return the card of a bundle as it stands.

    Raises
    ------
    BundleError
        If there is none.
    """
    try:
        return (folder / CARD_NAME).read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"{CARD_NAME} is missing") from error


def readable_card(folder: Path) -> "Card | None":
    """Return a bundle's card whatever its weights are; None where it can't be read."""
    from medfake_pacs.classifier.card import parse_card

    try:
        return parse_card(card_of(folder))
    except (BundleError, OSError):
        return None


def folder_name(folder: Path, version: str) -> str:
    """Return what a bundle's folder is called: its version and the digest of its card, which names its weights'."""
    return f"{version}-{hashlib.sha256((folder / CARD_NAME).read_bytes()).hexdigest()[:16]}"


def is_newer(version: str, than: str) -> bool:
    """Tell whether a version is newer: 0.10 than 0.9, 1.0 than 1.0-rc1, 1.0+site.2 than 1.0 (as in PEP 440)."""
    return _version_key(version) > _version_key(than)


def _version_key(version: str) -> tuple[tuple[tuple[int, int, str], ...], tuple[tuple[int, int, str], ...]]:
    public, _, local = version.partition("+")
    # A word (rc, beta) is less than the end, which is less than a number.
    return (*_parts(public), (1, 0, "")), _parts(local)


def _parts(text: str) -> tuple[tuple[int, int, str], ...]:
    parts = re.findall(r"[0-9]+|[A-Za-z]+", text)
    return tuple((2, int(part), "") if part.isdigit() else (0, 0, part.lower()) for part in parts)


def load_pointer(settings: Settings, name: str) -> Pointer | None:
    """Return the pointer of a model; None where nothing was ever switched to.

    Raises
    ------
    BundleError
        If the file isn't what was written.
    """
    path = settings.model_library_dir / name / POINTER_NAME
    document = read_pointer(path)
    if document is None:
        if path.exists():
            raise BundleError(f"{path} can't be read")
        return None
    try:
        return Pointer(**document)
    except TypeError as error:
        raise BundleError(f"{path} can't be read") from error


def pointers(settings: Settings) -> dict[str, Pointer]:
    """Return every pointer that can be read, by the model's name."""
    found = {}
    for path in sorted(settings.model_library_dir.glob(f"*/{POINTER_NAME}")):
        try:
            pointer = load_pointer(settings, path.parent.name)
        except BundleError:
            continue
        if pointer is not None:
            found[path.parent.name] = pointer
    return found


def active_bundle(settings: Settings, name: str) -> "Bundle | None":
    """Return the bundle of a model that is in force; None where the model isn't known, or its bundle is damaged."""
    from medfake_pacs.classifier import load_bundle

    folder = bundle_directories(settings).get(name)
    try:
        return load_bundle(folder) if folder else None
    except BundleError:
        return None


def active_card(settings: Settings, name: str) -> "Card | None":
    """Return the card of the bundle in force, also where its weights are damaged; None where it can't be read."""
    folder = bundle_directories(settings).get(name)
    return readable_card(folder) if folder else None


def installed_folders(settings: Settings, name: str) -> list[Path]:
    """Return the folders of every bundle of a model that is kept, the one in force and those before it."""
    return sorted(card.parent for card in (settings.model_library_dir / name).glob(f"[!.]*/{CARD_NAME}"))


def keep_base(settings: Settings, name: str) -> str:
    """Keep what is in force of a model, so that it can be gone back to; return its folder's name."""
    pointer = load_pointer(settings, name)
    if pointer is not None:
        return pointer.active
    base = base_directories(settings).get(name)
    try:
        return install(settings, name, base) if base else ""
    except BundleError:
        # Damaged: there is nothing that could be gone back to.
        return ""


def install(settings: Settings, name: str, source: Path) -> str:
    """Copy a checked bundle to where bundles are kept, whole or not at all; return its folder's name.

    One that is there already is left, unless it is damaged: then it is put aside and this one takes its place.
    """
    from medfake_pacs.classifier import load_bundle

    target = settings.model_library_dir / name / folder_name(source, load_bundle(source).card.version)
    if target.exists() and not _is_whole(target):
        target.rename(target.with_name(f".damaged-{new_id()}"))
    if not target.exists():
        place_copy(source, target)
    return target.name


def _is_whole(folder: Path) -> bool:
    from medfake_pacs.classifier import load_bundle

    try:
        return folder_name(folder, load_bundle(folder).card.version) == folder.name
    except (BundleError, OSError):
        return False


def point_at(settings: Settings, name: str, pointer: Pointer) -> None:
    """Put a bundle in force: the pointer is there whole, or the one before it is."""
    folder = settings.model_library_dir / name
    crashpoints.reach("models.before-pointer")
    write_durably(folder / POINTER_NAME, json.dumps(asdict(pointer), indent=2).encode())
    crashpoints.reach("models.after-pointer")


@contextmanager
def changing(settings: Settings) -> Iterator[None]:
    """Hold the lock under which pointers and offers are changed, against other processes and machines."""
    make_folder(settings.model_library_dir)
    own_lock(settings.model_library_dir)
    with exclusive(settings.model_library_dir):
        yield


@contextmanager
def alone(settings: Settings) -> Iterator[bool]:
    """Yield whether this process may work on offers now; another one, here or on another machine, may be at it."""
    folder = offers_dir(settings)
    make_folder(folder)
    with own_lock(folder).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
