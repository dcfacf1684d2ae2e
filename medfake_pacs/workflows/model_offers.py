"""New bundles: taken from the folder they are put into, remembered while they are tried, moved aside when refused."""

import json
import logging
import os
import pwd
import re
import stat
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from medfake_pacs import crashpoints
from medfake_pacs.config import Settings
from medfake_pacs.config.bundles import CARD_NAME
from medfake_pacs.errors import BundleError, MedfakeError
from medfake_pacs.spool.placing import sync_folder
from medfake_pacs.workflows import model_files as files
from medfake_pacs.workflows import model_library as library
from medfake_pacs.workflows.model_files import INSTRUCTIONS_NAME, REASON_NAME, STATE_NAME, shown

OfferState = Literal["offered", "trying", "waiting", "tried", "ready", "refused", "settled"]
_TAKEN = re.compile(r"\.taken-([0-9a-f]{32})\.(.*)", re.DOTALL)
_MAX_CARD_BYTES, _MAX_README_BYTES, _MAX_INSTRUCTIONS_BYTES = 4_000_000, 1_000_000, 10_000
_LEFT_BEHIND_S = 3600.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A bundle that was taken, and how far it has come.

    offered -> trying -> tried -> ready (passed; switched to at once, or by hand) or refused; waiting: there are too
    few recent images to judge it by. ``allow`` are exceptions that whoever installed it has made: "older", "new-name".
    ``attempts`` counts the trials that were begun and not ended: the process died, or its machine couldn't.
    ``failed_switches`` counts how often it had passed and couldn't be put in force.
    """

    offer_id: str
    folder: str
    offered_at: float
    name: str = ""
    version: str = ""
    modality: str = ""
    model_sha256: str = ""
    by: str = ""
    allow: tuple[str, ...] = ()
    state: OfferState = "offered"
    attempts: int = 0
    failed_switches: int = 0
    reason: str = ""
    canary: Mapping[str, Any] = field(default_factory=dict)


def path_of(settings: Settings, offer: Offer) -> Path:
    """Return the folder that holds an offer's bundle."""
    return library.offers_dir(settings) / offer.offer_id


class OfferGoneError(MedfakeError):
    """The offer was settled meanwhile: somebody has switched to it, or withdrawn it."""


def current(settings: Settings, offer: Offer) -> Offer:
    """Return an offer as it is now.

    Raises
    ------
    OfferGoneError
        If there is no such offer any more.
    """
    found = _read(path_of(settings, offer) / STATE_NAME)
    if found is None:
        raise OfferGoneError(f"{offer.name} {offer.version} doesn't wait any more")
    return found


def change(settings: Settings, offer_id: str, *, expected: OfferState | None = None, **values: Any) -> Offer:
    """Remember how far an offer has come, if it is still in the ``expected`` state; return it as it is now.

    Raises
    ------
    OfferGoneError
        If there is no such offer any more, or it is in another state: somebody has withdrawn it.
    """
    path = library.offers_dir(settings) / offer_id / STATE_NAME
    found = _read(path)
    if found is None or expected not in (None, found.state):
        raise OfferGoneError(offer_id)
    changed = replace(found, **values)
    files.write_durably(path, _json(changed))
    return changed


def offers(settings: Settings) -> list[Offer]:
    """Return every offer that isn't settled yet, the oldest first."""
    found = (_read(path) for path in library.offers_dir(settings).glob(f"*/{STATE_NAME}"))
    return sorted((item for item in found if item), key=lambda item: (item.offered_at, item.offer_id))


def refused(settings: Settings) -> list[tuple[Offer, Path]]:
    """Return every offer that was refused and is still there, with its folder, the oldest first."""
    paths = sorted(library.refused_dir(settings).glob(f"*/{STATE_NAME}"))
    found = [(offer, path.parent) for path in paths if (offer := _read(path))]
    return sorted(found, key=lambda pair: pair[0].offered_at)


def _read(path: Path) -> Offer | None:
    try:
        document = json.loads(path.read_bytes())
        return Offer(**document | {"allow": tuple(document.get("allow", ()))})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _json(offer: Offer) -> bytes:
    return json.dumps(asdict(offer), indent=2, ensure_ascii=False).encode()


def stage(settings: Settings, source: Path, *, by: str, allow: tuple[str, ...]) -> Path:
    """Put a bundle where new ones are taken from, whole at once; return where.

    Raises
    ------
    BundleError
        If it isn't one: a link, a file too large, a digest that isn't the card's.
    """
    from medfake_pacs.classifier import load_bundle

    if source.is_symlink() or not source.is_dir():
        raise BundleError(f"{source} is no folder")
    files.make_folder(settings.incoming_models_dir)
    card = load_bundle(source).card
    library.check_names(card.name, card.version)
    target = settings.incoming_models_dir / f"{card.name}-{card.version}-{library.new_id()[:8]}"
    files.place_copy(source, target, limits=_limits(settings), extra={"by": by, "allow": list(allow)})
    return target


def _limits(settings: Settings) -> dict[str, int]:
    return {
        CARD_NAME: _MAX_CARD_BYTES,
        files.WEIGHTS_NAME: settings.models.max_weights_bytes,
        files.README_NAME: _MAX_README_BYTES,
    }


def state_of_folder(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what changes while somebody is still copying into a folder."""
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    states = ((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
    return tuple((name, status.st_size, status.st_mtime_ns) for name, status in states)


def arrivals(settings: Settings) -> list[Path]:
    """Return what lies where new bundles are put, without what is still being made (names that begin with a dot)."""
    if not settings.incoming_models_dir.is_dir():
        return []
    return sorted(path for path in settings.incoming_models_dir.iterdir() if not path.name.startswith("."))


def is_removable(path: Path) -> bool:
    """Tell whether what was put there can be taken away again; else it would be taken again and again."""
    return path.is_symlink() or not path.is_dir() or os.access(path, os.W_OK | os.X_OK)


def is_bundle(path: Path) -> bool:
    """Tell whether something that lies there is meant as a bundle; anything else is left alone."""
    return any(os.path.lexists(path / name) for name in (CARD_NAME, files.WEIGHTS_NAME))


def is_complete(folder: Path) -> bool:
    """Tell whether a folder has the files that a bundle needs."""
    if folder.is_symlink() or not folder.is_dir():
        return True
    return {entry.name for entry in os.scandir(folder)} >= {CARD_NAME, files.WEIGHTS_NAME}


def is_by_command(folder: Path) -> bool:
    """Tell whether the command has put a folder there, whole at once; a copy of such a folder isn't one."""
    return not folder.is_symlink() and _instructions(folder) is not None


def _instructions(folder: Path) -> tuple[str, tuple[str, ...]] | None:
    """Return who has installed a bundle by the command, and the exceptions made; None if it came in another way."""
    path = folder / INSTRUCTIONS_NAME
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_INSTRUCTIONS_BYTES:
            return None
        document = json.loads(path.read_bytes())
        if document["inode"] != folder.stat().st_ino:
            return None
        allow = tuple(item for item in document["allow"] if item in ("older", "new-name"))
        # Root and the node's own account could write the log itself; anybody else speaks for himself only.
        by = str(document["by"])[:100] if status.st_uid in (0, os.geteuid()) else _account(status.st_uid)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return by, allow


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def claim(folder: Path) -> Path:
    """Make a new bundle this process' own by renaming it; the id in its name stays until it is settled."""
    taken = folder.with_name(f".taken-{library.new_id()}.{folder.name[:50]}")
    folder.rename(taken)
    sync_folder(taken.parent)
    crashpoints.reach("models.taken")
    return taken


def claimed(settings: Settings) -> list[Path]:
    """Return what was claimed and isn't an offer yet."""
    if not settings.incoming_models_dir.is_dir():
        return []
    return sorted(path for path in settings.incoming_models_dir.iterdir() if _TAKEN.fullmatch(path.name))


def take(settings: Settings, taken: Path) -> None:
    """Copy a claimed bundle to the offers and remove its files; one that can't be copied becomes a refused offer.

    Raises
    ------
    OSError
        If this machine can't, now; it may be tried again.
    """
    match = _TAKEN.fullmatch(taken.name)
    assert match
    folder = shown(match.group(2))[:100]
    offer = Offer(offer_id=match.group(1), folder=folder, offered_at=time.time())
    target = path_of(settings, offer)
    try:
        offer = _described(offer, taken)
        if not target.exists():
            files.place_copy(taken, target, limits=_limits(settings))
    except BundleError as error:
        files.make_folder(target)
        offer = replace(offer, state="refused", reason=str(error))
    if not (target / STATE_NAME).exists():
        files.write_durably(target / STATE_NAME, _json(offer))
    crashpoints.reach("models.offer-taken")
    if offer.state == "refused":
        _set_aside(taken, target)
    else:
        _finish(taken)


def _described(offer: Offer, taken: Path) -> Offer:
    """Return the offer with what whoever installed it said; of one put there by hand its owner is known."""
    if taken.is_symlink() or not taken.is_dir():
        raise BundleError("it is no folder")
    for name in files.BUNDLE_FILES:
        if (taken / name).is_symlink():
            raise BundleError(f"{name} is a symbolic link")
    by, allow = _instructions(taken) or (_account((taken / CARD_NAME if (taken / CARD_NAME).exists() else taken)
                                                  .stat().st_uid), ())  # fmt: skip
    return replace(offer, by=by, allow=allow)


def _set_aside(taken: Path, target: Path) -> None:
    """Move what couldn't be taken to its offer, whole; on another filesystem it stays, under a name that is left."""
    try:
        taken.rename(target / "bundle")
    except OSError:
        kept = taken.with_name(f".refused-{taken.name.removeprefix('.taken-')}")
        taken.rename(kept)
        _log.warning("a refused bundle stays where it was put", extra={"folder": shown(kept.name)})


def _finish(taken: Path) -> None:
    """Remove the files of a bundle that was taken; its new name says that it was, should that fail."""
    done = taken.with_name(f".done-{taken.name.removeprefix('.taken-')}")
    taken.rename(done)
    sync_folder(done.parent)
    if not files.remove_files(done):
        _log.warning("a folder that was taken holds something else, or can't be removed",
                     extra={"folder": shown(done.name)})  # fmt: skip


def refuse(settings: Settings, offer: Offer) -> Path:
    """Move a refused offer aside, its reason beside it; return where to."""
    source = path_of(settings, offer)
    files.write_durably(source / REASON_NAME, f"{offer.reason}\n".encode())
    named = f"{offer.name}-{offer.version}" if offer.name else "unreadable"
    target = library.refused_dir(settings) / f"{named}-{offer.offer_id[:8]}"
    files.make_folder(target.parent)
    source.rename(target)
    sync_folder(target.parent)
    sync_folder(source.parent)
    return target


def settle(settings: Settings, offer: Offer) -> None:
    """Forget an offer whose bundle is in force."""
    files.remove_files(path_of(settings, offer), REASON_NAME)


def sweep(settings: Settings, now: float) -> None:
    """Remove what processes that died have left half-copied; what is younger may still be in somebody's hand."""
    for folder in (library.offers_dir(settings), settings.incoming_models_dir, *_model_folders(settings)):
        for left in [*folder.glob(".copying-*"), *folder.glob(".damaged-*")]:
            if left.stat().st_mtime < now - _LEFT_BEHIND_S:
                files.remove_files(left)
    for folder in (library.offers_dir(settings), *_model_folders(settings)):
        for left in folder.glob(".writing-*"):
            if left.stat().st_mtime < now - _LEFT_BEHIND_S:
                left.unlink(missing_ok=True)
    for left in settings.incoming_models_dir.glob(".done-*"):
        files.remove_files(left)
    for folder in library.offers_dir(settings).glob("[!.]*"):
        if not (folder / STATE_NAME).exists() and not _is_claimed(settings, folder.name):
            files.remove_files(folder)


def _model_folders(settings: Settings) -> list[Path]:
    root = settings.model_library_dir
    return [path for path in root.glob("[!.]*") if path.is_dir() and path.name not in library.RESERVED_NAMES]


def _is_claimed(settings: Settings, offer_id: str) -> bool:
    return any(f".taken-{offer_id}." in path.name for path in claimed(settings))
