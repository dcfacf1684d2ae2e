"""``datasets describe`` and ``datasets manifest``: what a folder holds, as two tables or as a list with digests."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from training.datasets import CATALOGUE, DatasetError, Manifest, build, read, write
from training.datasets.ctgan_slices import CONVENTIONS
from training.datasets.manifest import left_out_file
from training.datasets.tables import as_json, as_text, remarks

_FILE_WIDTH = 140


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds ``datasets`` with its two actions."""
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
