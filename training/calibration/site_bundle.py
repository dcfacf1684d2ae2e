"""A new bundle with a site's thresholds: never in place, and it says what they rest on without naming a patient."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medfake_pacs import __version__
from medfake_pacs.classifier import Bundle, load_bundle
from medfake_pacs.classifier.calibration import Kind, Stratum
from training.calibration.images import Gathered, Group
from training.calibration.site import Change
from training.export import read_card, write_card

DIGESTS_NAME = "calibration-images.txt"
FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Who recalibrated, when, and how the images were grouped. ``made_by`` is a person's or department's name."""

    made_by: str
    made_at: datetime
    group: Group
    note: str = ""


def site_version(version: str, made_at: datetime) -> str:
    """The version with the day in the place of an earlier site's: 0.2.0+site.20261124; .2 follows on the same day."""
    release, _, local = version.partition("+")
    day = f"site.{made_at:%Y%m%d}"
    if local == day or local.startswith(f"{day}."):
        return f"{release}+{day}.{int(local[len(day) + 1 :] or 1) + 1}"
    return f"{release}+{day}"


def write_site_bundle(
    bundle: Bundle,
    output: Path,
    strata: Mapping[Kind, Stratum],
    changes: Sequence[Change],
    gathered: Gathered,
    provenance: Provenance,
) -> Bundle:
    """Writes the bundle with other thresholds to ``output``, which must not exist, and reads it again.

    The weights, the calibration of probabilities and everything else that a score depends on stay as they are, so that
    scores that a node has kept stay valid. ``calibration-images.txt`` has the SHA-256 of the stored pixels of each
    image, sorted: who still has the images can show years later that these thresholds come from them.

    Raises: FileExistsError, and BundleError if what was written can't be read.
    """
    if output.exists():
        raise FileExistsError(f"{output} is there already; a bundle is never changed in place")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".calibrating-") as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        shutil.copyfile(bundle.weights_path, folder / bundle.weights_path.name)
        digests = "".join(f"{digest}\n" for digest in sorted(image.sha256 for image in gathered.images))
        (folder / DIGESTS_NAME).write_text(digests, encoding="ascii")
        card = _card(bundle, strata, _recalibration(bundle, changes, gathered, provenance, digests))
        write_card(folder, card)
        readme = bundle.directory / "README.md"
        if readme.is_file():
            text = readme.read_text(encoding="utf-8")
            (folder / "README.md").write_text(f"{_notice(card)}\n\n{text}", encoding="utf-8")
        load_bundle(folder)
        folder.rename(output)
    return load_bundle(output)


def _card(bundle: Bundle, strata: Mapping[Kind, Stratum], recalibration: dict[str, Any]) -> dict[str, Any]:
    card = read_card(bundle.directory)
    card.pop("thresholds", None)
    # Through JSON, since tuples and lists are one there.
    plain = json.loads(json.dumps({kind: asdict(stratum) for kind, stratum in strata.items()}))
    changed = {
        "format": FORMAT,
        "version": site_version(bundle.card.version, datetime.fromisoformat(recalibration["made_at"])),
        "calibration": asdict(bundle.card.calibration),
        "strata": {
            kind: {unit: each for unit, each in stratum.items() if each is not None} for kind, stratum in plain.items()
        },
        "recalibration": recalibration,
    }
    return {key: changed.pop(key, value) for key, value in card.items()} | changed


def _recalibration(
    bundle: Bundle, changes: Sequence[Change], gathered: Gathered, provenance: Provenance, digests: str
) -> dict[str, Any]:
    return {
        "made_at": provenance.made_at.astimezone(UTC).isoformat(timespec="seconds"),
        "made_by": provenance.made_by,
        "made_with": f"medfake_pacs {__version__}",
        "note": provenance.note,
        "from": {
            "version": bundle.card.version,
            "model_sha256": bundle.model_sha256,
            "calibration_sha256": bundle.calibration_sha256,
            "recalibration": dict(bundle.card.recalibration) or None,
        },
        "files": gathered.files,
        "images": len(gathered.images),
        "grouped_by": provenance.group,
        "groups": gathered.patients,
        "images_sha256": hashlib.sha256(digests.encode()).hexdigest(),
        "left_out": _counted(gathered),
        "strata": [_changed(change) for change in changes],
    }


def _counted(gathered: Gathered) -> dict[str, int]:
    """How many files were left out, by the kind of reason: without figures that a single image has."""
    counts: dict[str, int] = {}
    for reason, files in gathered.left_out.items():
        kind = reason.partition(":")[0]
        counts[kind] = counts.get(kind, 0) + len(files)
    return dict(sorted(counts.items()))


def _changed(change: Change) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "unit": change.unit,
        "count": len(change.scores),
        "before": _side(change, "before"),
        "after": _side(change, "after"),
        "why": change.why,
    }


def _side(change: Change, name: str) -> dict[str, Any] | None:
    side = getattr(change, name)
    if side is None:
        return None
    alarms = change.false_alarms(side)
    return {"threshold": side.threshold, "alpha": side.alpha, "method": side.method, "false_alarms": alarms}


def _notice(card: Mapping[str, Any]) -> str:
    about = card["recalibration"]
    return (
        f"> **Recalibrated.** The thresholds of this bundle, version {card['version']}, were set on {about['images']} "
        f"clean images of {about['groups']} {_plural(about['grouped_by'])} at the site on {about['made_at'][:10]}; "
        f"`recalibration` in card.json says what they rest on. Figures of decisions below were measured with the "
        f"thresholds of version {about['from']['version']}; figures of ranking (AUC) hold for both."
    )


def _plural(group: str) -> str:
    return {"patient": "patients", "study": "studies", "image": "images"}[group]
