"""``medfake-train calibrate``: a bundle's thresholds anew, from a site's own clean images; always as another bundle."""

import argparse
import getpass
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from medfake_pacs.errors import MedfakeError

if TYPE_CHECKING:
    from medfake_pacs.classifier import Bundle
    from medfake_pacs.offline import FileImage
    from training.calibration.images import Gathered

_EPILOGUE = """The images must be clean: taken at the site, of consecutive patients, chosen by no one for how they look.
Exit status: 0 a new bundle was written; 1 none was, since there are too few images; 2 something is wrong."""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="set a bundle's thresholds by a site's own clean images",
        description=__doc__,
        epilog=_EPILOGUE,
    )
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle; it stays as it is")
    parser.add_argument("--reals", type=Path, required=True, metavar="DIR", help="clean studies: DICOM, PNG or JPEG")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: NAME-VERSION+site.DATE, here")
    parser.add_argument("--alpha", type=float, default=0.01, help="false-alarm rate to aim at (default: 0.01)")
    parser.add_argument("--modality", help="take these modalities alone, e.g. CR,DX (default: those of the model)")
    parser.add_argument(
        "--group",
        choices=("patient", "study", "image"),
        default="patient",
        help="what counts as one: study or image where Patient ID was replaced by one value (default: patient)",
    )
    parser.add_argument("--by", default="", metavar="NAME", help="who recalibrates, for the card (default: the login)")
    parser.add_argument("--note", default="", help="for the card: which scanners, which months; nothing of a patient")
    parser.add_argument("--device", default="auto", help="auto, cpu, torch-cpu or cuda (default: auto)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Recalibrates; returns the exit status."""
    try:
        return _run(options)
    except (MedfakeError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    from medfake_pacs.classifier import load_bundle
    from training.calibration.site import recalibrated
    from training.calibration.site_bundle import Provenance, site_version, write_site_bundle
    from training.calibration.site_text import change_lines, gathered_lines, needed_lines

    if not 0 < options.alpha < 0.5:
        raise ValueError(f"--alpha {options.alpha:g}: a false-alarm rate lies between 0 and 0.5")
    bundle, now = load_bundle(options.bundle), datetime.now(UTC)
    name = f"{bundle.card.name}-{site_version(bundle.card.version, now)}"
    output = options.output or Path(name)
    if output.exists():
        raise FileExistsError(f"{output} is there already; a bundle is never changed in place")
    gathered = _gather(options, bundle)
    strata, changes = recalibrated(bundle.card, gathered.images, options.alpha)
    _say(gathered_lines(gathered, options.reals, options.group))
    _say(change_lines(changes, options.group))
    if not any(change.after for change in changes):
        _say(needed_lines())
        print("no bundle was written: no kind of image has enough patients", file=sys.stderr)
        return 1
    who = Provenance(made_by=options.by or _login(), made_at=now, group=options.group, note=options.note)
    written = write_site_bundle(bundle, output, strata, changes, gathered, who)
    print(f"{output}: {written.card.name} {written.card.version}, model {written.model_sha256}")
    print(f"calibration {written.calibration_sha256}, was {bundle.calibration_sha256}")
    return 0


def _gather(options: argparse.Namespace, bundle: "Bundle") -> "Gathered":
    from medfake_pacs.classifier import Classifier
    from medfake_pacs.cli.files import files_under
    from medfake_pacs.config import Settings
    from medfake_pacs.pixels import DecoderProcess
    from medfake_pacs.pixels.preprocess import preparer
    from medfake_pacs.workflows.context import pixel_limits
    from training.calibration.images import gather, modalities_of

    wanted = modalities_of(bundle.card.name, bundle.card.modality)
    if options.modality:
        wanted = frozenset(part.strip().upper() for part in options.modality.split(",") if part.strip())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medfake-pacs" / "cache"
    classifier = Classifier(bundle, preparer=preparer, device=options.device, cache_dir=cache)
    with DecoderProcess(pixel_limits(Settings())) as decoder:
        return gather(
            files_under([options.reals]),
            classifier,
            decoder,
            modalities=wanted,
            group=options.group,
            progress=_progress,
        )


def _progress(files: Sequence["FileImage"]) -> Iterable["FileImage"]:
    from rich.console import Console
    from rich.progress import track

    if not sys.stderr.isatty():
        return files
    return track(files, description="scoring", console=Console(stderr=True), transient=True)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
