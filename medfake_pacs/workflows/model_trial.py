"""Try a new bundle before it is switched to: is it sound, and does it call recent images what the one in force does?"""

import itertools
import logging
import math
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from medfake_pacs.classifier.bundle import calibration_digest
from medfake_pacs.config.bundles import bundle_directories
from medfake_pacs.database import reading
from medfake_pacs.database.tables import instances
from medfake_pacs.entities import Score
from medfake_pacs.errors import BundleError, MedfakeError
from medfake_pacs.verdict import AssessedImage
from medfake_pacs.workflows import model_library as library
from medfake_pacs.workflows import model_reference, model_sample
from medfake_pacs.workflows.chunk import NODE_FAULTS, Work, assess_images
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.model_judging import Canary, Images, judge, pairs
from medfake_pacs.workflows.model_offers import Offer, path_of
from medfake_pacs.workflows.models import Pinned
from medfake_pacs.workflows.profiles import profile_of

if TYPE_CHECKING:
    from medfake_pacs.classifier import Bundle

_AT_A_TIME = 4
# Scoring that never rests mustn't keep a trial waiting for ever: after this it gets its turn, a few images long.
_LONGEST_YIELD_S = 20.0
_YIELD_S = 0.2
# Whole series are tried of so many images for each of ``canary_images``.
_SERIES_IMAGES = 4
_DAMAGED = "the bundle in force is damaged: there is nothing to compare it with; somebody is to switch to it by hand"
_THIS_MACHINE = re.compile(
    r"No space left|MemoryError|Cannot allocate|Too many open files|Input/output error|bad_alloc"
)
_log = logging.getLogger(__name__)


class InterruptedTrialError(MedfakeError):
    """The worker is stopping; the trial begins anew at the next start."""


def check(context: Context, offer: Offer) -> "Bundle":
    """Return the bundle of an offer, if it is sound and may take the place of the one in force.

    Raises
    ------
    BundleError
        With the reason why it may not.
    """
    from medfake_pacs.classifier import load_bundle
    from medfake_pacs.pixels.preprocess import preparer

    bundle = load_bundle(path_of(context.settings, offer))
    card = bundle.card
    library.check_names(card.name, card.version)
    check_place(context, bundle, offer)
    with _refusing("its preprocessing can't be read"):
        preparer(card.preprocessing)
    active = _active(context, card.name)
    expected = _engine_in_force(context, active) if active else ""
    with _refusing("its network can't be loaded"):
        if expected.startswith("openvino"):
            _convert(context, bundle)
        engine = context.models.classifier_of(bundle).engine
    if active and engine != expected:
        raise BundleError(f"it runs on {engine} only, the bundle in force on {expected}")
    return bundle


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Turn whatever a foreign bundle causes into a reason to refuse it, unless it is the node that can't."""
    try:
        yield
    except BundleError:
        raise
    except NODE_FAULTS:
        raise
    except Exception as error:
        raise BundleError(f"{what}: {type(error).__name__}: {error}") from error


def _engine_in_force(context: Context, active: "Bundle") -> str:
    try:
        return context.models.classifier_of(active).engine
    except BundleError as error:
        # No fault of the one that is tried.
        raise OSError(f"the bundle in force can't be run: {error}") from error


def _convert(context: Context, bundle: "Bundle") -> None:
    """Convert a network beforehand: that it took too long here or the disk is full doesn't speak against it."""
    from medfake_pacs.classifier.engine_openvino import ConversionError, converted

    try:
        converted(bundle, context.settings.cache_dir)
    except ConversionError as error:
        if isinstance(error.__cause__, OSError | subprocess.TimeoutExpired) or _THIS_MACHINE.search(str(error)):
            raise OSError(f"it couldn't be converted: {error}") from error


def check_place(context: Context, bundle: "Bundle", offer: Offer) -> None:
    """Check that a bundle is for a model that the node has or routes to, and newer than the one in force.

    Of one in force that is damaged its card still counts; the same bundle again is what repairs it.

    Raises
    ------
    BundleError
        With the reason why it isn't.
    """
    card = bundle.card
    if not _is_known(context, card.name):
        routed = card.name in {route.model for route in context.settings.routes}
        if not routed and "new-name" not in offer.allow:
            known = ", ".join(context.models.names()) or "none"
            raise BundleError(f"no installed model and no route is named {card.name!r} (installed: {known})")
        return
    active = _active(context, card.name)
    there = active.card if active else library.active_card(context.settings, card.name)
    if there is None:
        return
    if card.modality != there.modality:
        raise BundleError(f"it is for {card.modality}, the model {card.name} for {there.modality}")
    if card.version == there.version and calibration_digest(card) == calibration_digest(there):
        # As it is on the disk now: the worker may have loaded it before it was damaged.
        if library.active_bundle(context.settings, card.name) is not None:
            raise BundleError(f"version {card.version} is in force already")
        return
    if "older" not in offer.allow and not library.is_newer(card.version, there.version):
        raise BundleError(f"version {card.version} isn't newer than {there.version}, which is in force")


def _is_known(context: Context, name: str) -> bool:
    return name in bundle_directories(context.settings) or name in context.models.names()


def _active(context: Context, name: str) -> "Bundle | None":
    """Return the bundle in force; None where there is none or it is damaged."""
    return context.models.bundle(name) if name in context.models.names() else None


def _without_comparison(context: Context, bundle: "Bundle") -> Canary:
    """Return what there is to say of a bundle where none is in force that it could be compared with."""
    name, passed = bundle.card.name, True
    reason = "a model of this name is new here: there is nothing to compare it with"
    if _is_known(context, name):
        there = library.active_card(context.settings, name)
        passed = there is not None and calibration_digest(there) == calibration_digest(bundle.card)
        reason = "it is the bundle in force, which is damaged" if passed else _DAMAGED
    return Canary(trial=library.new_id(), against="", passed=passed, enough=passed, reason=reason)


def try_on_recent_images(context: Context, bundle: "Bundle", stopping: threading.Event) -> Canary:
    """Score the newest images of the model's routes with both bundles, and judge the new one by the difference.

    Images are judged one by one, and whole series by what decides those: windows of neighbours and their limits.

    Raises
    ------
    BundleError
        If it can't be run.
    InterruptedTrialError
        If the worker is ``stopping``.
    """
    started_at = time.monotonic()
    active = _active(context, bundle.card.name)
    if active is None:
        return _without_comparison(context, bundle)
    classifier = context.models.classifier_of(bundle)
    works = model_sample.recent_images(context, bundle.card.name, context.settings.models.canary_images)
    difference = None
    if not model_reference.is_same_network(bundle, active):
        with _refusing("it can't be compared with torch"):
            difference = model_reference.difference(context, bundle, classifier, works[0].path if works else None)
    whole = model_sample.recent_series(
        context, bundle.card.name, _SERIES_IMAGES * context.settings.models.canary_images
    )
    before, after = _both(context, active, bundle, [*works, *itertools.chain.from_iterable(whole)], stopping)
    singles = [work for work in works if work.instance_id in after]
    found = _judged(context, (active, bundle), (before, after), singles, whole)
    return replace(
        found,
        against=active.calibration_sha256,
        series=len({work.attributes.series_instance_uid for work in singles}),
        engine=classifier.engine,
        reference_difference=difference,
        seconds=round(time.monotonic() - started_at, 1),
    )


def _judged(
    context: Context,
    bundles: "tuple[Bundle, Bundle]",
    images: tuple[Images, Images],
    singles: Sequence[Work],
    whole: Sequence[Sequence[Work]],
) -> Canary:
    """Judge by each image alone and by whole series; without a route no image ever comes to wait for."""
    settings = context.settings.models
    profiles = (profile_of(bundles[0]), profile_of(bundles[1]))
    labels = pairs([[work.instance_id] for work in singles], images, profiles)
    series = pairs([[work.instance_id for work in members] for members in whole], images, profiles)
    if model_sample.is_routed(context, bundles[1].card.name):
        return judge(settings, labels, series)
    found = judge(settings.model_copy(update={"canary_minimum": 0}), labels, series)
    return replace(found, reason="no route uses this model") if found.passed else found


def _both(
    context: Context, active: "Bundle", bundle: "Bundle", works: Sequence[Work], stopping: threading.Event
) -> tuple[Images, Images]:
    """Return each image as the bundle in force and the new one have scored it, each once, by its instance's id."""
    deadline = time.monotonic() + context.settings.models.canary_timeout_s
    before: Images = {}
    after: Images = {}
    once = list({work.instance_id: work for work in works}.values())
    for start in range(0, len(once), _AT_A_TIME):
        give_way(context, stopping)
        piece = once[start : start + _AT_A_TIME]
        scored = _assessed(context, active, piece, is_new=False)
        before |= scored
        after |= _assessed(context, bundle, [work for work in piece if work.instance_id in scored], is_new=True)
        if time.monotonic() > deadline:
            _log.warning("the trial of a bundle has taken all its time", extra={"images": len(after)})
            break
    return before, after


def _assessed(context: Context, bundle: "Bundle", works: Sequence[Work], *, is_new: bool) -> Images:
    """Return each image as a bundle scores it; images whose files are gone meanwhile are left out.

    Raises
    ------
    BundleError
        If it is the new one and fails with an image that the other could score.
    """
    pinned = Pinned(context.models, {bundle.card.name: bundle})
    with context.decoders.borrow() as decoder:
        outcomes = assess_images(context, decoder, works, pinned)
    found = {}
    for outcome in outcomes:
        if outcome.score is None:
            if is_new and outcome.work.path.is_file():
                raise BundleError(f"an image can't be scored by it: {outcome.reason}")
            continue
        if is_new:
            _check_finite(outcome.score)
        attributes = outcome.work.attributes
        if outcome.info and outcome.info.lossy:
            attributes = replace(attributes, lossy=True)
        found[outcome.work.instance_id] = AssessedImage(
            instance_id=outcome.work.instance_id,
            attributes=attributes,
            pixel_sha256=outcome.pixel_sha256,
            score=outcome.score,
        )
    return found


def _check_finite(score: Score) -> None:
    if not all(math.isfinite(frame.score) for frame in score.frames):
        raise BundleError("it gives scores that are no numbers")


def give_way(context: Context, stopping: threading.Event) -> None:
    """Let the images that have just come be scored first.

    Raises
    ------
    InterruptedTrialError
        If the worker is ``stopping``.
    """
    until = time.monotonic() + _LONGEST_YIELD_S
    while _is_busy(context) and time.monotonic() < until and not stopping.is_set():
        stopping.wait(_YIELD_S)
    if stopping.is_set():
        raise InterruptedTrialError("the worker is stopping")


def _is_busy(context: Context) -> bool:
    query = sa.select(instances.c.instance_id).where(instances.c.state.in_(("received", "queued"))).limit(1)
    with reading(context.engine) as connection:
        return connection.execute(query).first() is not None
