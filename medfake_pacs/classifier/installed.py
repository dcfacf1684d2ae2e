"""The bundles that are installed, the damaged ones included, and what is said of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medfake_pacs.classifier.bundle import CARD_NAME, WEIGHTS_NAME, Bundle, load_bundle
from medfake_pacs.errors import BundleError
from medfake_pacs.wording import threshold_lines

_MAX_README_BYTES = 200_000
_State = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledBundle:
    """One model's folder: its bundle, or None and why it can't be used; ``readme`` is Markdown or empty.

    ``state`` tells whether the files are still those that were checked.
    """

    folder: str
    bundle: Bundle | None
    error: str = ""
    readme: str = ""
    state: _State = field(default=(), repr=False)

    def lines(self, *, verbose: bool = True) -> list[str]:
        """Return what `medfake-pacs models` prints of it."""
        if self.bundle is None:
            return [f"{self.folder}: damaged: {self.error}"]
        card = self.bundle.card
        said = [f"{card.name} {card.version} {card.modality} sha256 {self.bundle.model_sha256}"]
        if verbose:
            said += [f"  {line}" for line in threshold_lines(card.shown_thresholds())]
            said += [f"  calibration sha256 {self.bundle.calibration_sha256}", f"  {card.description}"]
        return said


def installed_bundles(
    folders: Mapping[str, Path], known: Mapping[str, InstalledBundle] | None = None
) -> tuple[InstalledBundle, ...]:
    """Return the bundle in each of ``folders``, which are by the model's name.

    ``known`` is what an earlier call returned, by that name: files that are the same since aren't read again.
    """
    found = []
    for name, folder in sorted(folders.items()):
        state = _state(folder)
        before = (known or {}).get(name)
        found.append(before if before and before.state == state else _load(name, folder, state))
    return tuple(found)


def _load(name: str, folder: Path, state: _State) -> InstalledBundle:
    readme = folder / "README.md"
    try:
        with readme.open("rb") as file:
            text = file.read(_MAX_README_BYTES).decode("utf-8", errors="replace")
    except OSError:
        text = ""
    try:
        bundle = load_bundle(folder)
    except (BundleError, OSError) as error:
        return InstalledBundle(folder=name, bundle=None, error=str(error), readme=text, state=state)
    return InstalledBundle(folder=name, bundle=bundle, readme=text, state=state)


def _state(folder: Path) -> _State:
    states = []
    for name in (CARD_NAME, WEIGHTS_NAME, "README.md"):
        try:
            status = (folder / name).stat()
        except OSError:
            states.append((0, 0, 0))
        else:
            states.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(states)
