"""The verdict on each series of a check: the node's own stages on files that no peer sent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from medfake_pacs import crashpoints
from medfake_pacs.config import RouteSettings
from medfake_pacs.database import transaction
from medfake_pacs.database.console_tables import check_files
from medfake_pacs.entities import ImageAttributes, SeriesVerdict
from medfake_pacs.offline import ModelChoice, choose_model, look_at
from medfake_pacs.routing import Routing
from medfake_pacs.verdict import AssessedImage, assess_series
from medfake_pacs.workflows.chunk import Outcome, Work, assess_images
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.models import Pinned
from medfake_pacs.workflows.profiles import profile_of
from medfake_pacs.workflows.scoring import store_score

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# What stands where a received series has the name of its route.
ROUTE = "uploaded to the console"
_AT_A_TIME = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessedSeries:
    """One series of a check, or one loose picture."""

    study_instance_uid: str
    verdict: SeriesVerdict


def assess_files(
    context: Context, files: Sequence[sa.Row], model: str, progress: Callable[[int], bool]
) -> list[AssessedSeries] | None:
    """Return the verdict on each series of ``files``, rows of ``check_files``; None where ``progress`` said stop.

    ``model`` is the bundle's name, or empty to detect it by each series' first image. ``progress`` is told how many
    images are done.

    Raises
    ------
    BundleError
        If there is no such model, or it is damaged.
    sqlalchemy.exc.SQLAlchemyError, OSError, MemoryError
        If database or spool are out of reach.
    """
    groups: dict[tuple[str, str], list[sa.Row]] = {}
    for row in files:
        groups.setdefault((row.study_instance_uid, row.series_instance_uid), []).append(row)
    assessed, done = [], 0
    outcomes: dict[int, Outcome] = {}
    choices, pinned = {}, Pinned(context.models)
    for key, members in groups.items():
        works, choices[key] = _works(context, members, model)
        for start in range(0, len(works), _AT_A_TIME):
            piece = _outcomes(context, works[start : start + _AT_A_TIME], choices[key], pinned)
            outcomes |= {outcome.work.instance_id: outcome for outcome in piece}
            _keep(context, piece)
            done += len(piece)
            crashpoints.reach("worker.check-scored")
            if not progress(done):
                return None
    conflicts = _conflicts(list(outcomes.values()))
    for key, members in groups.items():
        own = [_assessed(outcomes[row.file_id], conflicts) for row in members]
        prevalence = context.settings.models.prevalence
        profile = profile_of(pinned.bundle(choices[key].model), prevalence) if choices[key].model else None
        verdict = assess_series(own, profile, route=ROUTE if profile else "")
        assessed.append(AssessedSeries(study_instance_uid=key[0], verdict=verdict))
    return assessed


def _works(context: Context, members: Sequence[sa.Row], model: str) -> tuple[list[Work], ModelChoice]:
    """Return a series' images, and the model for all of them by the first."""
    paths = [context.settings.spool_dir / row.path for row in members]
    looks = [look_at(row.file_id, path) for row, path in zip(members, paths, strict=True)]
    choice = ModelChoice(model=model) if model else _detected(context, looks[0].attributes)
    if choice.model:
        context.models.bundle(choice.model)
    route = RouteSettings(name="upload", model=choice.model)
    works = [
        Work(
            instance_id=row.file_id,
            attributes=_raster_attributes(row) if look.loose else look.attributes,
            path=path,
            content_sha256=row.sha256,
            calling_ae_title="",
            routing=Routing(route=route, explanation=()),
        )
        for row, path, look in zip(members, paths, looks, strict=True)
    ]
    return works, choice


def _detected(context: Context, attributes: ImageAttributes) -> ModelChoice:
    names = context.models.names()
    return choose_model(context.settings, attributes, names, lambda name: context.models.bundle(name).card.modality)


def _raster_attributes(row: sa.Row) -> ImageAttributes:
    """Return what the object says that a picture is wrapped into: nothing of a patient."""
    return ImageAttributes(
        sop_class_uid=SECONDARY_CAPTURE,
        sop_instance_uid=row.sop_instance_uid,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        modality="OT",
        image_type="DERIVED\\SECONDARY",
        instance_number=1,
        lossy=row.kind == "jpeg",
    )


def _outcomes(context: Context, works: Sequence[Work], choice: ModelChoice, pinned: Pinned) -> list[Outcome]:
    if not choice.model:
        return [Outcome(work=work, reason=choice.reason) for work in works]
    with context.decoders.borrow() as decoder:
        return assess_images(context, decoder, works, pinned)


def _keep(context: Context, outcomes: Sequence[Outcome]) -> None:
    """Keep scores where every image's are kept, so that the same pixels are scored once."""
    with transaction(context.engine) as connection:
        for outcome in outcomes:
            store_score(connection, outcome)
            connection.execute(
                sa.update(check_files)
                .where(check_files.c.file_id == outcome.work.instance_id)
                .values(pixel_sha256=outcome.pixel_sha256 or None, model_sha256=outcome.model_sha256 or None)
            )


def _conflicts(outcomes: Sequence[Outcome]) -> Mapping[int, tuple[str, bool]]:
    """Say which files have the SOP Instance UID of another one, and whether their pixels differ."""
    namesakes: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        namesakes.setdefault(outcome.work.attributes.sop_instance_uid, []).append(outcome)
    found = {}
    for group in namesakes.values():
        digests = {outcome.pixel_sha256 for outcome in group}
        same = len(digests) == 1 and "" not in digests
        what = "in their header or encoding; the pixels are the same" if same else "in their pixels"
        for outcome in group if len(group) > 1 else ():
            found[outcome.work.instance_id] = (f"objects with this SOP Instance UID differ {what}", not same)
    return found


def _assessed(outcome: Outcome, conflicts: Mapping[int, tuple[str, bool]]) -> AssessedImage:
    conflict, pixels_differ = conflicts.get(outcome.work.instance_id, ("", False))
    attributes = outcome.work.attributes
    if outcome.info and outcome.info.lossy:
        attributes = replace(attributes, lossy=True)
    image = AssessedImage(
        instance_id=outcome.work.instance_id,
        attributes=attributes,
        pixel_sha256=outcome.pixel_sha256,
        score=outcome.score,
        reason=outcome.reason,
    )
    return replace(image, conflict=conflict, conflicting_pixels=pixels_differ)
