"""Take new bundles from their folder to being in force, step by step; each step may be repeated after a crash."""

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs import crashpoints
from medfake_pacs.config.bundles import State, incoming_problem, pointers_state
from medfake_pacs.errors import BundleError
from medfake_pacs.workflows import model_files as files
from medfake_pacs.workflows import model_judging, model_offers, model_sample, model_switching, model_trial
from medfake_pacs.workflows import model_library as library
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.model_offers import Offer, OfferGoneError
from medfake_pacs.workflows.model_switching import UPDATE, Why
from medfake_pacs.workflows.model_trial import InterruptedTrialError

_MAXIMUM_ATTEMPTS = 3
# A folder that was copied in by hand is taken when it hasn't changed for so long; one without all its files later.
_SETTLED_S = 3.0
_INCOMPLETE_S = 60.0
_AGAIN_S = 30.0
_WAITING_S = 5.0
_log = logging.getLogger(__name__)


class ModelUpdates:
    """The worker's part: looks for new bundles, tries them and switches; one worker at a time does it."""

    def __init__(self, context: Context, stopping: threading.Event) -> None:
        self._context = context
        self._settings = context.settings
        self._stopping = stopping
        self._seen: dict[Path, tuple[object, float]] = {}
        self._said: set[Path] = set()
        self._recorded: State | None = None
        self._tried: dict[str, tuple[float, int]] = {}
        self._swept = False

    def run(self) -> None:
        """Take each new bundle as far as it comes; nothing if another worker is at it.

        Raises
        ------
        OSError, sqlalchemy.exc.SQLAlchemyError
            What went wrong with one of them, after the others had their turn.
        """
        settings = self._settings
        if problem := incoming_problem(settings):
            self._say_once(settings.incoming_models_dir, "no new bundle is taken from models.incoming_dir", problem)
            return
        files.make_folder(settings.incoming_models_dir)
        with library.alone(settings) as mine:
            if not mine:
                return
            if not self._swept:
                self._swept = True
                model_offers.sweep(settings, time.time())
            self._record_switches()
            self._take_arrivals()
            self._advance_offers()

    def _take_arrivals(self) -> None:
        for folder in self._settled():
            try:
                model_offers.claim(folder)
            except OSError as error:
                self._say_once(folder, "a new bundle can't be taken", str(error))
        for taken in model_offers.claimed(self._settings):
            try:
                model_offers.take(self._settings, taken)
            except OSError as error:
                self._say_once(taken, "a new bundle can't be taken yet", str(error))

    def _advance_offers(self) -> None:
        failed: Exception | None = None
        for offer in model_offers.offers(self._settings):
            try:
                # As it is now: the one before may have taken minutes.
                self._advance(model_offers.current(self._settings, offer))
            except InterruptedTrialError:
                return
            except OfferGoneError:
                continue
            except (BundleError, OSError, MemoryError, sa.exc.SQLAlchemyError) as error:
                failed = error
        if failed is not None:
            raise failed

    def _say_once(self, path: Path, message: str, reason: str) -> None:
        if path not in self._said:
            self._said.add(path)
            _log.error(message, extra={"folder": files.shown(path.name), "reason": files.shown(reason)})

    def _record_switches(self) -> None:
        """Have the log say what a process that died had switched to, or a command whose database was away."""
        state = pointers_state(self._settings)
        if state == self._recorded:
            return
        for name, pointer in library.pointers(self._settings).items():
            if model_switching.record_switch(self._context.engine, name, pointer):
                _log.warning("a switch wasn't in the log", extra={"model": name, "version": pointer.version})
        self._recorded = state

    def _settled(self) -> list[Path]:
        """Return the folders that nobody is copying into any more."""
        found = []
        arrivals = model_offers.arrivals(self._settings)
        for path in arrivals:
            try:
                if self._is_settled(path):
                    found.append(path)
            except OSError as error:
                self._say_once(path, "a new bundle can't be read", str(error))
        self._seen = {path: self._seen[path] for path in arrivals if path in self._seen}
        return found

    def _is_settled(self, path: Path) -> bool:
        now = time.monotonic()
        state = () if path.is_symlink() or not path.is_dir() else model_offers.state_of_folder(path)
        before, since = self._seen.get(path, (None, now))
        if before != state:
            since = now
        self._seen[path] = (state, since)
        wait_s = _SETTLED_S if model_offers.is_complete(path) else _INCOMPLETE_S
        if now - since < (0.0 if model_offers.is_by_command(path) else wait_s):
            return False
        if not model_offers.is_bundle(path):
            self._say_once(path, "something that is no bundle lies where new ones are taken from", "it is left alone")
            return False
        if not model_offers.is_removable(path):
            self._say_once(path, "a new bundle can't be taken", "the node's account may not remove it")
            return False
        return True

    def _advance(self, offer: Offer) -> None:
        if offer.state in ("offered", "trying", "waiting"):
            offer = self._try(offer)
        offer = self._switch(self._judge(offer))
        if offer.state == "refused":
            self._refuse(offer)

    def _try(self, offer: Offer) -> Offer:
        """Check an offer and try it on recent images, unless that was done just now."""
        if not self._is_due(offer):
            return offer
        if offer.attempts >= _MAXIMUM_ATTEMPTS:
            reason = offer.reason or f"the process that tried it died {_MAXIMUM_ATTEMPTS} times"
            return self._save(offer, state="refused", reason=reason)
        trying = self._save(offer, state="trying", attempts=offer.attempts + 1, reason="")
        try:
            return self._tried_offer(trying)
        except BundleError as error:
            reason = str(error).replace(f"{model_offers.path_of(self._settings, offer)}/", "")
            return self._save(trying, state="refused", reason=reason)
        except (sa.exc.SQLAlchemyError, InterruptedTrialError):
            self._save(trying, state=offer.state, attempts=offer.attempts)
            raise
        except (OSError, MemoryError) as error:
            self._save(trying, reason=f"trying it broke off {_MAXIMUM_ATTEMPTS} times: {type(error).__name__}")
            raise

    def _is_due(self, offer: Offer) -> bool:
        """Tell whether a trial may come to something else than the last one did."""
        last = self._tried.get(offer.offer_id)
        if last is None or offer.state == "offered":
            return True
        tried_at, images = last
        waited_s = time.monotonic() - tried_at
        if offer.state == "trying":
            return waited_s >= _AGAIN_S * offer.attempts
        there = model_sample.count_recent(self._context, offer.name)
        return waited_s >= _WAITING_S and there >= self._settings.models.canary_minimum and there != images

    def _tried_offer(self, offer: Offer) -> Offer:
        recent = model_sample.count_recent(self._context, offer.name) if offer.name else 0
        self._tried[offer.offer_id] = (time.monotonic(), recent)
        offer = self._described(offer)
        model_switching.record_offer(self._context.engine, offer)
        crashpoints.reach("models.offer-recorded")
        bundle = model_trial.check(self._context, offer)
        with self._context.models.on_trial(bundle):
            canary = model_trial.try_on_recent_images(self._context, bundle, self._stopping)
            crashpoints.reach("models.canaried")
            state = "tried" if canary.enough else "waiting"
            facts = model_judging.as_facts(canary)
            offer = self._save(offer, state=state, attempts=0, canary=facts, reason=canary.reason)
            # Still on trial, so that its classifier is kept until it is in force.
            return self._switch(self._judge(offer)) if state == "tried" else offer

    def _described(self, offer: Offer) -> Offer:
        """Return the offer with what its card says; the log is to name it even if it is refused."""
        from medfake_pacs.classifier.bundle import model_digest
        from medfake_pacs.classifier.card import parse_card

        try:
            card = parse_card(library.card_of(model_offers.path_of(self._settings, offer)))
            library.check_names(card.name, card.version)
        except BundleError:
            model_switching.record_offer(self._context.engine, offer)
            raise
        digest = model_digest(card)
        return self._save(offer, name=card.name, version=card.version, modality=card.modality, model_sha256=digest)

    def _judge(self, offer: Offer) -> Offer:
        """Record what the trial came to, and what follows from it."""
        if offer.state != "tried":
            return offer
        model_switching.record_canary(self._context.engine, offer)
        crashpoints.reach("models.canary-recorded")
        passed = bool(offer.canary.get("passed"))
        return self._save(offer, state="ready" if passed else "refused")

    def _switch(self, offer: Offer) -> Offer:
        """Put an offer that passed in force, unless somebody is to do that by hand."""
        if offer.state != "ready":
            return offer
        pointer = library.load_pointer(self._settings, offer.name)
        if pointer is not None and pointer.offer_id == offer.offer_id:
            # Somebody died between the switch and this.
            model_switching.record_switch(self._context.engine, offer.name, pointer)
            model_offers.settle(self._settings, offer)
            return self._gone(offer)
        if self._is_superseded(offer):
            return self._save(offer, state="refused", reason="a version that isn't older was switched to meanwhile")
        if self._settings.models.switch == "manual":
            return offer
        why = Why(reason=UPDATE, by=offer.by, note=offer.reason)
        try:
            pointer = model_switching.switch_to_offer(self._settings, self._context.engine, offer, why)
        except BundleError as error:
            return self._try_again(offer, str(error))
        _log.info("model switched", extra={"model": offer.name, "version": offer.version})
        return self._gone(offer)

    def _try_again(self, offer: Offer, reason: str) -> Offer:
        """Have an offer that passed and can't be put in force tried anew, a few times."""
        failed = offer.failed_switches + 1
        if failed >= _MAXIMUM_ATTEMPTS:
            return self._save(offer, state="refused", failed_switches=failed, reason=reason)
        _log.warning("a bundle is tried again", extra={"model": offer.name, "reason": reason})
        return self._save(offer, state="offered", failed_switches=failed)

    def _is_superseded(self, offer: Offer) -> bool:
        active = library.active_card(self._settings, offer.name)
        if "older" in offer.allow or active is None:
            return False
        if library.active_bundle(self._settings, offer.name) is None and offer.version == active.version:
            return False
        return not library.is_newer(offer.version, active.version)

    def _gone(self, offer: Offer) -> Offer:
        self._tried.pop(offer.offer_id, None)
        return replace(offer, state="settled")

    def _refuse(self, offer: Offer) -> None:
        model_switching.record_offer(self._context.engine, offer)
        model_switching.record_refusal(self._context.engine, offer)
        crashpoints.reach("models.refusal-recorded")
        model_offers.refuse(self._settings, offer)
        self._tried.pop(offer.offer_id, None)
        _log.warning("a new bundle is refused", extra={"model": offer.name, "reason": offer.reason})

    def _save(self, offer: Offer, **change: object) -> Offer:
        with library.changing(self._settings):
            return model_offers.change(self._settings, offer.offer_id, expected=offer.state, **change)
