"""The bundles that are on the disk, in force or not, as their cards say; their weights aren't looked at."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medfake_pacs.config import Settings
from medfake_pacs.config.bundles import CARD_NAME, POINTER_NAME, base_directories, read_pointer
from medfake_pacs.workflows.model_library import RESERVED_NAMES, readable_card


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBundle:
    """A bundle's folder and what its card says; ``name`` is the model's, by which routes name it.

    ``was_in_force`` is True for what the bundle in force replaced; ``kept_at`` is when the card was written.
    """

    folder: Path
    name: str
    model_sha256: str
    was_in_force: bool
    kept_at: float


def kept_bundles(settings: Settings) -> Iterator[KeptBundle]:
    """Yield every bundle that is or was in force, or came with the node; not those that wait or were refused."""
    for path in sorted(settings.model_library_dir.glob(f"*/[!.]*/{CARD_NAME}")):
        if path.parent.parent.name not in RESERVED_NAMES:
            yield from _kept(path.parent, path.parent.parent)
    for folder in base_directories(settings).values():
        yield from _kept(folder, None)


def _kept(folder: Path, model: Path | None) -> Iterator[KeptBundle]:
    from medfake_pacs.classifier.bundle import calibration_digest, model_digest

    card = readable_card(folder)
    if card is None:
        return
    try:
        kept_at = (folder / CARD_NAME).stat().st_mtime
    except OSError:
        return
    pointer = (read_pointer(model / POINTER_NAME) if model else None) or {}
    yield KeptBundle(
        folder=folder,
        name=model.name if model else card.name,
        model_sha256=model_digest(card),
        was_in_force=pointer.get("previous_calibration_sha256") == calibration_digest(card),
        kept_at=kept_at,
    )
