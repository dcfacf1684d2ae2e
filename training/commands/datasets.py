"""``datasets describe``, ``manifest`` and ``overlap``: what a folder holds, and what two data sets share."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from medfake_pacs.errors import PixelError
from training.datasets import CATALOGUE, Array, DatasetError, Manifest, Record, build, load, read, write
from training.datasets.ctgan_slices import CONVENTIONS
from training.datasets.manifest import left_out_file
from training.datasets.overlap import overlaps
from training.datasets.tables import as_json, as_text, remarks

_FILE_WIDTH = 140


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds ``datasets`` with its actions."""
    parser = subparsers.add_parser("datasets", help="what a folder of images holds")
    actions = parser.add_subparsers(dest="action", required=True)
    describe = actions.add_parser("describe", help="composition and split as two tables")
    manifest = actions.add_parser("manifest", help="every image with digest, patient, group and part of the split")
    for action in (describe, manifest):
        action.add_argument(
            "--reader",
            required=True,
            choices=sorted(CATALOGUE),
            help="; ".join(f"{name}: {reader.what}" for name, reader in sorted(CATALOGUE.items())),
        )
        action.add_argument("--root", type=Path, required=True, metavar="DIR", help="where the download was unpacked")
        action.add_argument("--seed", type=int, default=1, help="decides the order of the patients in the split")
        action.add_argument("--jobs", type=int, default=1, help="so many images are read at the same time")
        action.add_argument("--slice-index", choices=CONVENTIONS, default="auto", help="ct-gan: how slices are counted")
    describe.add_argument("--manifest", type=Path, metavar="FILE.csv", help="describe this instead of reading images")
    describe.add_argument("--json", action="store_true", help="for a program")
    manifest.add_argument("--output", type=Path, required=True, metavar="FILE.csv")
    overlap = actions.add_parser(
        "overlap",
        help="patients of one manifest who are in another, by their images",
        description="Finds patients by the same pixels, and by nearly the same ones (perceptual hash). With both roots "
        "the images that look alike are read, and a correlation confirms them; without, the hashes alone decide.",
    )
    overlap.add_argument("first", type=Path, metavar="FILE.csv")
    overlap.add_argument("second", type=Path, metavar="FILE.csv")
    for name in ("first", "second"):
        overlap.add_argument(
            f"--{name}-root", type=Path, metavar="DIR", help=f"the images of the {name} manifest, see above"
        )
    overlap.set_defaults(run=_overlap)
    describe.set_defaults(run=_describe)
    manifest.set_defaults(run=_manifest)


def _describe(arguments: argparse.Namespace) -> int:
    try:
        manifest = read(arguments.manifest, arguments.root) if arguments.manifest else _built(arguments)
    except (DatasetError, OSError) as error:
        return _failed(error)
    if arguments.json:
        print(json.dumps(as_json(manifest), indent=2))
    else:
        console = Console()
        # A file or a pipe has no width of its own.
        (console if console.is_terminal else Console(width=_FILE_WIDTH)).print(as_text(manifest))
        print("\n".join(remarks(manifest)))
    return 0


def _manifest(arguments: argparse.Namespace) -> int:
    try:
        manifest = _built(arguments)
        write(manifest, arguments.output)
    except (DatasetError, OSError) as error:
        return _failed(error)
    print(f"{arguments.output}: {len(manifest.records)} images")
    if manifest.left_out:
        print(f"{left_out_file(arguments.output)}: {sum(each.images for each in manifest.left_out)} images left out")
    print("\n".join(remarks(manifest)), file=sys.stderr)
    return 0


def _overlap(arguments: argparse.Namespace) -> int:
    """Exit status 1 where one manifest trains on whom the other doesn't."""
    try:
        roots = arguments.first_root, arguments.second_root
        files = arguments.first, arguments.second
        first, second = (read(file, root or file.parent) for file, root in zip(files, roots, strict=True))
        found = overlaps(first.records, second.records, _values if all(roots) else None)
    except (DatasetError, PixelError, OSError) as error:
        return _failed(error)
    for each in found:
        print(f"{each.first} ({each.first_split}) is {each.second} ({each.second_split}): {each.images} images")
    leaking = sum(each.leaks for each in found)
    print(f"{len(found)} patients in both, {leaking} of them trained on in one and not in the other")
    return 1 if leaking else 0


def _values(record: Record) -> Array:
    return load(record).image


def _built(arguments: argparse.Namespace) -> Manifest:
    options: Mapping[str, str] = {"slice_index": arguments.slice_index} if arguments.reader == "ct-gan" else {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=None)
        return build(
            arguments.reader,
            arguments.root,
            seed=arguments.seed,
            options=options,
            jobs=arguments.jobs,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _failed(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2
