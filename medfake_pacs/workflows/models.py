"""The bundles in force, and a classifier for each that was asked for; a switch is seen at the next question."""

import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medfake_pacs.config import Settings
from medfake_pacs.config.bundles import State, base_directories, bundle_directories, pointers_state
from medfake_pacs.errors import BundleError
from medfake_pacs.workflows.models_kept import kept_bundles
from medfake_pacs.workflows.profiles import profile_of

if TYPE_CHECKING:
    from medfake_pacs.classifier import Bundle, Classifier
    from medfake_pacs.verdict import Profile

_SHA256 = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)


class Models:
    """The bundles by name, and a classifier for each digest that was asked for, made once. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._state: State = ()
        self._active: dict[str, Bundle] | None = None
        self._damaged: dict[str, str] = {}
        self._loaded: dict[Path, Bundle] = {}
        self._classifiers: dict[str, Classifier] = {}
        self._opening: dict[str, threading.Lock] = {}
        self._on_trial: set[str] = set()

    def bundle(self, name: str) -> "Bundle":
        """Return the bundle ``name`` that is in force, its digests checked.

        Raises
        ------
        BundleError
            If there is none of that name, or it is damaged.
        """
        with self._lock:
            found = self._all().get(name)
            if found is None:
                # It may have been repaired meanwhile; the next to ask looks again.
                self._active = None
                missing = f"no model bundle is named {name!r} in {self._settings.models_dir}"
                raise BundleError(self._damaged.get(name) or missing)
            return found

    def names(self) -> tuple[str, ...]:
        """Return the names of the bundles that are installed."""
        with self._lock:
            return tuple(sorted(self._all()))

    def classifier(self, name: str) -> "Classifier":
        """Return the classifier of the bundle ``name`` in force; the first call compiles or loads it."""
        return self.classifier_of(self.bundle(name))

    def classifier_of(self, bundle: "Bundle") -> "Classifier":
        """Return the classifier of a bundle, in force or not; nobody else waits while it is compiled."""
        from medfake_pacs.classifier import Classifier
        from medfake_pacs.pixels.preprocess import preparer

        digest = bundle.model_sha256
        with self._lock:
            found = self._classifiers.get(digest)
            opening = self._opening.setdefault(digest, threading.Lock())
        if found is not None:
            return found
        with opening:
            with self._lock:
                found = self._classifiers.get(digest)
            if found is not None:
                return found
            made = Classifier(
                bundle,
                preparer=preparer,
                device=self._settings.scoring.device,
                threads=self._settings.scoring.threads,
                cache_dir=self._settings.cache_dir,
            )
            with self._lock:
                self._forget_unused()
                self._classifiers[digest] = made
            return made

    @contextmanager
    def on_trial(self, bundle: "Bundle") -> Iterator[None]:
        """Keep the classifier of a bundle that isn't in force yet, until it is or the trial has ended."""
        with self._lock:
            self._on_trial.add(bundle.model_sha256)
        try:
            yield
        finally:
            with self._lock:
                self._on_trial.discard(bundle.model_sha256)

    def profile(self, model_sha256: str, name: str = "") -> "Profile | None":
        """Return how to read the scores of the model with this digest; None if it isn't installed any more.

        Bundles that differ in name or thresholds only have the same digest: that of ``name`` is taken, if it has it.
        """
        with self._lock:
            active = self._all()
            named = [active[name]] if name in active else []
            candidates = [*named, *active.values()]
            found = next((item for item in candidates if item.model_sha256 == model_sha256), None)
            found = found or self._replaced(model_sha256, name)
        return profile_of(found, self._settings.models.prevalence) if found else None

    def _all(self) -> "dict[str, Bundle]":
        state = pointers_state(self._settings)
        if self._active is None or state != self._state:
            # Looked at before the pointers are read: one that is replaced meanwhile is seen at the next question.
            self._state = state
            self._active = self._read()
            self._forget_unused()
        return self._active

    def _read(self) -> "dict[str, Bundle]":
        found, self._damaged = {}, {}
        base = base_directories(self._settings)
        for name, folder in bundle_directories(self._settings).items():
            try:
                bundle = self._load(folder)
            except (BundleError, OSError) as error:
                _log.error("a model bundle is damaged", extra={"folder": name, "reason": str(error)})
                self._damaged[name] = str(error)
                continue
            found[bundle.card.name if folder == base.get(name) else name] = bundle
        return found

    def _load(self, folder: Path) -> "Bundle":
        from medfake_pacs.classifier import load_bundle

        if folder not in self._loaded:
            self._loaded[folder] = load_bundle(folder)
        return self._loaded[folder]

    def _replaced(self, model_sha256: str, name: str) -> "Bundle | None":
        """Return a bundle that was in force before: what it has scored may be about to get its verdict.

        Of several that of ``name`` comes first, then the calibration that was in force last, then the newest.
        """
        if not _SHA256.fullmatch(model_sha256):
            return None
        kept = [item for item in kept_bundles(self._settings) if item.model_sha256 == model_sha256]
        kept.sort(key=lambda item: (item.name == name, item.was_in_force, item.kept_at), reverse=True)
        for item in kept:
            try:
                return self._load(item.folder)
            except (BundleError, OSError):
                continue
        return None

    def _forget_unused(self) -> None:
        wanted = {bundle.model_sha256 for bundle in (self._active or {}).values()} | self._on_trial
        self._classifiers = {digest: item for digest, item in self._classifiers.items() if digest in wanted}


class Pinned:
    """The bundles that one piece of work began with: a switch meanwhile doesn't change them.

    ``given`` are bundles to use in place of those that are in force.
    """

    def __init__(self, models: Models, given: "Mapping[str, Bundle] | None" = None) -> None:
        self._models = models
        self._bundles: dict[str, Bundle] = dict(given or {})
        self._classifiers: dict[str, Classifier] = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of the bundles that are installed now."""
        return self._models.names()

    def bundle(self, name: str) -> "Bundle":
        """Return the bundle ``name``: the same at each call; see ``Models.bundle``."""
        if name not in self._bundles:
            self._bundles[name] = self._models.bundle(name)
        return self._bundles[name]

    def classifier(self, name: str) -> "Classifier":
        """Return the classifier of that very bundle."""
        if name not in self._classifiers:
            self._classifiers[name] = self._models.classifier_of(self.bundle(name))
        return self._classifiers[name]
