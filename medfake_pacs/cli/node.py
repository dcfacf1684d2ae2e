"""`serve` and `check-config`."""

import argparse

from medfake_pacs import serve as supervision
from medfake_pacs import telemetry
from medfake_pacs.cli import configuration_path, settings_of
from medfake_pacs.config import Problem, Settings, load_settings
from medfake_pacs.config.bundles import bundle_directories
from medfake_pacs.config.notes import notes
from medfake_pacs.errors import BundleError, ConfigurationError
from medfake_pacs.lifeline import die_with


def serve(options: argparse.Namespace) -> int:
    """Run the node, or one of its processes."""
    settings = settings_of(options)
    if options.supervisor:
        die_with(options.supervisor)
    else:
        _refuse_bad_files(settings)
        supervision.prepare(settings)
    process = f"receiver-{options.index}" if options.only == "receiver" else options.only or "serve"
    telemetry.configure(settings.log.level, process)
    if options.only == "receiver":
        from medfake_pacs import receiver

        return receiver.run(settings, index=options.index)
    if options.only == "worker":
        from medfake_pacs import worker

        return worker.run(settings)
    if options.only == "console":
        from medfake_pacs.console import process as console

        return console.run(settings, configuration_path(options).resolve())
    return supervision.run(settings, configuration_path(options).resolve())


def _refuse_bad_files(settings: Settings) -> None:
    from medfake_pacs.notification import sending

    problems = [*bundle_problems(settings), *sending.problems(settings)]
    if problems:
        raise ConfigurationError(tuple(problems))


def bundle_problems(settings: Settings) -> list[Problem]:
    """Return what is wrong with the bundles that the routes name: each is loaded and its digest checked."""
    from medfake_pacs.classifier import load_bundle

    folders = bundle_directories(settings)
    problems = []
    for name in sorted({route.model for route in settings.routes if route.model}):
        try:
            found = load_bundle(folders.get(name, settings.models_dir / name)).card.name
        except BundleError as error:
            problems.append(Problem("routes.model", repr(name), str(error), "install the bundle anew"))
            continue
        if found != name:
            problems.append(Problem("routes.model", repr(name), f"its card says {found!r}", "rename the folder"))
    return problems


def check_config(options: argparse.Namespace) -> int:
    """Print every mistake in a configuration, one a line; 1 if there is one."""
    try:
        settings = load_settings(options.file)
        _refuse_bad_files(settings)
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem)
        print(f"{len(error.problems)} mistake{'s' if len(error.problems) > 1 else ''} in {options.file}")
        return 1
    peers, destinations, routes = len(settings.peers), len(settings.destinations), len(settings.routes)
    print(f"{options.file} is good: {peers} peers, {destinations} destinations, {routes} routes")
    for note in notes(settings):
        print(f"note: {note}")
    return 0
