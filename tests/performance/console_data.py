"""A database as it may be after three years: a million studies, two million rows of the log, made from a fixed seed."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from medfake_pacs.audit.canonical import canonical_json
from medfake_pacs.audit.chain import EVENT_COLUMNS, GENESIS_HASH, chain_hash, timestamp

_SPAN_S = 3 * 365 * 86_400.0
_PATIENTS = 400_000
_IN_PROGRESS = 230
# Share, whether a model assesses it.
MODALITIES = {
    "CT": (0.40, True), "DX": (0.18, True), "CR": (0.12, True), "MR": (0.15, False), "US": (0.08, False),
    "XA": (0.03, False), "MG": (0.02, False), "PT": (0.02, False),
}  # fmt: skip
# Scanners send one modality each, gateways everything; RARE sends a few studies in all.
RARE_SENDER = "RARE"
_GATEWAYS = tuple(f"GATEWAY{number}" for number in range(1, 12))
_MODELS = {
    name: (name, chain_hash(b"model", name.encode())) for name in ("lung-ct", "knee-xr", "chest-xr")
}  # fmt: skip
_DESCRIPTIONS = ("Thorax nativ", "CT Chest with contrast", "Knee a.p. + lat.", "Chest p.a.", "Abdomen", "Skull base")
DESTINATIONS = ("archive", "reading-room", "research")
KEPT_PATIENT = "ANONYMOUS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One made-up study."""

    number: int
    uid: str
    patient_id: str
    accession_number: str
    modality: str
    description: str
    sender: str
    received_at: float
    verdict: str
    probability: float | None
    verdict_at: float | None
    model: tuple[str, str]
    images: int
    images_scored: int
    reopened: bool


def made_studies(count: int, now: float) -> Iterator[Study]:
    """Yield the studies in the order in which they came."""
    chance = random.Random(20_260_131)
    names = list(MODALITIES)
    weights = [share for share, _ in MODALITIES.values()]
    for number in range(count):
        modality = chance.choices(names, weights)[0]
        received_at = now - _SPAN_S * (count - number) / count + chance.random()
        waiting = number >= count - 30 or (number % (count // 200) == 7 if count >= 1000 else False)
        verdict, probability = ("", None) if waiting else _verdict(chance, modality)
        patient = KEPT_PATIENT if chance.random() < 0.03 else f"PAT{int(_PATIENTS * chance.random() ** 1.3):06d}"
        images = chance.choice((1, 2, 2, 60, 240, 400))
        yield Study(
            number=number,
            uid=f"1.2.276.0.7230010.3.1.2.{chance.getrandbits(31)}.{1000 + number}",
            patient_id=patient,
            accession_number=f"ACC{number - (number % 50 == 0):08d}",
            modality=modality,
            description=chance.choice(_DESCRIPTIONS),
            sender=_sender(chance, modality, number, count),
            received_at=received_at,
            verdict=verdict,
            probability=probability,
            verdict_at=None if waiting else received_at + 20 + 600 * chance.random(),
            model=_model(modality) if probability is not None else ("", ""),
            images=0 if waiting else images,
            images_scored=images if probability is not None else 0,
            reopened=not waiting and number > count - 3000 and number % 150 == 0,
        )


def _verdict(chance: random.Random, modality: str) -> tuple[str, float | None]:
    draw = chance.random()
    if not MODALITIES[modality][1] or draw < 0.02:
        return "not assessed", None
    if draw < 0.03:
        return "fake", 0.8 + 0.2 * chance.random()
    if draw < 0.08:
        return "indeterminate", 0.3 + 0.5 * chance.random()
    return "real", 0.3 * chance.random() ** 2


def _sender(chance: random.Random, modality: str, number: int, count: int) -> str:
    if number % max(1, count // 40) == 3:
        return RARE_SENDER
    if chance.random() < 0.3:
        return chance.choice(_GATEWAYS)
    return f"{modality}{1 + int(6 * chance.random() ** 2)}"


def _model(modality: str) -> tuple[str, str]:
    return _MODELS["lung-ct" if modality == "CT" else "knee-xr" if modality == "DX" else "chest-xr"]


def study_columns(study: Study) -> dict[str, object]:
    """Return the study's row in ``studies``."""
    revision = 1 if study.verdict else 0
    return {
        "study_instance_uid": study.uid,
        "revision": revision,
        "opened_at": study.received_at if not study.verdict or study.reopened else None,
        "last_received_at": study.received_at + 10,
        "expired_at": None,
        "first_received_at": study.received_at,
        "patient_id": study.patient_id,
        "accession_number": study.accession_number,
        "modality": study.modality,
        "study_description": study.description,
        "calling_ae_title": study.sender,
        "verdict": study.verdict,
        "probability": study.probability,
        "verdict_revision": revision or None,
        "verdict_at": study.verdict_at,
        "model_name": study.model[0],
        "model_sha256": study.model[1],
        "images_total": study.images,
        "images_scored": study.images_scored,
    }


def delivery_columns(study: Study) -> dict[str, object] | None:
    """Return the delivery of the study's report; None if it has none."""
    if study.probability is None:
        return None
    state = "dead" if study.number % 20_000 == 1 else "waiting" if study.number % 9000 == 1 else "sent"
    at = (study.verdict_at or 0.0) + 5
    return {
        "delivery_id": study.number + 1,
        "report_uid": f"{study.uid}.1",
        "study_instance_uid": study.uid,
        "destination": DESTINATIONS[study.number % 10 % 3],
        "state": state,
        "attempts": 1,
        "created_at": at,
        "next_attempt_at": at,
        "finished_at": None if state == "waiting" else at,
        "last_status": 0,
        "last_comment": "",
    }


def made_events(studies: Iterator[Study]) -> Iterator[dict[str, object]]:
    """Yield the log's rows, chained: what came, the verdicts, what went out, who looked."""
    seq, previous = 0, GENESIS_HASH
    for study in studies:
        for kind, columns, facts, at in _events_of(study):
            seq += 1
            row: dict[str, object] = {"seq": seq, "occurred_at": timestamp(at), "kind": kind}
            row.update((name, columns.get(name, "")) for name in EVENT_COLUMNS)
            row["payload"] = canonical_json(row | {"payload": facts})
            row["previous_hash"] = previous
            row["hash"] = previous = chain_hash(previous.encode(), str(row["payload"]).encode())
            yield row


_Event = tuple[str, dict[str, str], dict[str, object], float]


def _events_of(study: Study) -> Iterator[_Event]:
    who = {"study_instance_uid": study.uid, "patient_id": study.patient_id, "accession_number": study.accession_number}
    at = study.received_at
    if study.number % 2 == 0:
        sent = who | {"sop_instance_uid": f"{study.uid}.5.1", "series_instance_uid": f"{study.uid}.5"}
        facts: dict[str, object] = {"association_id": f"a{study.number}", "size_bytes": 524_288, "host": "192.0.2.7"}
        yield "instance-received", sent | {"ae_title": study.sender}, facts, at
    if study.verdict:
        said = who | {"ae_title": study.sender, "verdict": study.verdict, "model_sha256": study.model[1]}
        facts = {"revision": 1, "probability": study.probability, "images_total": study.images, "reason": ""}
        yield "study-verdict", said, facts | {"models": [study.model[1]] if study.model[1] else []}, at + 0.2
        yield (
            "series-verdict",
            said | {"series_instance_uid": f"{study.uid}.5"},
            facts | {"model": study.model[0]},
            at + 0.2,
        )
    delivery = delivery_columns(study)
    if delivery:
        report = who | {"sop_instance_uid": str(delivery["report_uid"]), "ae_title": "ARCHIVE"}
        facts = {"destination": delivery["destination"], "attempt": 1, "delivery_id": delivery["delivery_id"]}
        facts |= {"sent_sop_instance_uid": delivery["report_uid"], "status": "0x0000"}
        kind = {"dead": "delivery-dead", "waiting": "report-failed"}.get(str(delivery["state"]), "report-sent")
        yield kind, report, facts, at + 0.3
    if study.number % 40 == 0:
        yield "study-viewed", who, {"who": f"user{study.number % 70}", "host": "192.0.2.9", "via": "console"}, at + 0.4
    if study.number % 500 == 0:
        yield "log-read", {}, {"who": "auditor", "filters": {"patient": study.patient_id}}, at + 0.5


def end_of_time() -> float:
    """Return when the newest study came: now, so that spans such as a day mean something."""
    return time.time()
