"""What may be written after `medfake-pacs`."""

import argparse
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from medfake_pacs.config import Settings, find_configuration, load_settings


def parser(version: str) -> argparse.ArgumentParser:
    """Return the parser of the whole command line; each command's function is its ``run``."""
    top = argparse.ArgumentParser(
        prog="medfake-pacs", description="Tells real from fake X-ray and CT images on a DICOM network."
    )
    top.add_argument("--version", action="version", version=version)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _serve(commands)
    _check_config(commands)
    _classify(commands)
    _route_test(commands)
    _models(commands)
    _user(commands)
    _log_and_queue(commands)
    return top


def _later(module: str, function: str) -> Callable[[argparse.Namespace], int]:
    """Return a function that imports its module when it is called, so that `--help` doesn't wait for torch."""

    def run(options: argparse.Namespace) -> int:
        return int(getattr(import_module(f"medfake_pacs.cli.{module}"), function)(options))

    return run


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")


def _with_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration (default: config/medfake.toml, /etc/medfake-pacs/...)",
    )


def _serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = _command(commands, "serve", "run the node: receivers, worker and console")
    _with_config(command)
    command.add_argument(
        "--only", choices=("receiver", "worker", "console"), help="run one kind of process, unsupervised"
    )
    command.add_argument("--index", type=int, default=0, help="which receiver this is, from 0 (with --only receiver)")
    command.add_argument("--supervisor", type=int, help=argparse.SUPPRESS)
    command.set_defaults(run=_later("node", "serve"))


def _check_config(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = _command(commands, "check-config", "name every mistake in a configuration")
    command.add_argument("file", type=Path, metavar="FILE")
    command.set_defaults(run=_later("node", "check_config"))


def _classify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = _command(commands, "classify", "assess files without a PACS: DICOM, PNG, JPEG, folders")
    command.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    command.add_argument(
        "--model", metavar="NAME", help="the model to use (default: by the routes, else by the header)"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object per series or loose image")
    command.add_argument("--heatmap", type=Path, metavar="DIR", help="write an image with its suspicious regions here")
    _with_config(command)
    command.set_defaults(run=_later("classify", "classify"))


def _route_test(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = _command(commands, "route-test", "tell which route, model and destinations an object would get, and why")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument(
        "--from", dest="calling", metavar="AE_TITLE", help="calling AE title (default: the first peer)"
    )
    command.add_argument("--called", metavar="AE_TITLE", help="called AE title (default: the node's)")
    _with_config(command)
    command.set_defaults(run=_later("routes", "route_test"))


def _models(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    group = _command(commands, "models", "list, verify and update the model bundles")
    actions = group.add_subparsers(required=True, metavar="ACTION")
    texts = {
        "list": "show the bundles in force, those before them, those that wait and those that were refused",
        "verify": "check every bundle's digests",
        "install": "check a bundle and offer it to the node, which tries it on recent images and switches to it",
        "switch": "put a bundle in force that waits, or one that was in force before",
        "rollback": "put the bundle in force again that was before this one",
        "withdraw": "take an offered bundle back that waits",
    }
    for name, text in texts.items():
        action = _command(actions, name, text)
        if name == "install":
            action.add_argument("folder", type=Path, metavar="FOLDER", help="holds card.json and weights.safetensors")
            action.add_argument("--allow-older", action="store_true", help="although its version isn't newer")
            action.add_argument("--allow-new-name", action="store_true", help="although no model has its name yet")
        if name in {"switch", "rollback", "withdraw"}:
            action.add_argument("name", metavar="NAME")
        if name in {"switch", "withdraw"}:
            action.add_argument("model_version", metavar="VERSION")
        _with_config(action)
        action.set_defaults(run=_later("models", "show" if name == "list" else name))


def _user(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    group = _command(commands, "user", "make, list and change accounts of the console")
    actions = group.add_subparsers(required=True, metavar="ACTION")
    texts = {
        "add": "make an account that can sign in at once, such as the first administrator",
        "list": "show every account",
        "approve": "let an account in that somebody registered",
        "roles": "give an account exactly these roles",
        "disable": "shut an account out; its sessions and tokens end",
        "enable": "let a disabled account in again",
        "passwd": "give an account another password",
    }
    for name, text in texts.items():
        action = _command(actions, name, text)
        if name != "list":
            action.add_argument("name", metavar="NAME")
        if name in {"add", "approve"}:
            role_help = "viewer, radiologist, auditor or administrator; may be repeated"
            action.add_argument("--role", action="append", default=[], metavar="ROLE", help=role_help)
        if name in {"add", "passwd"}:
            password_help = "read the password from this file's first line, - for standard input (default: ask for it)"
            action.add_argument("--password-file", type=Path, metavar="FILE", help=password_help)
        _with_config(action)
        action.set_defaults(run=_later("users", "show" if name == "list" else name))
    actions.choices["add"].add_argument("--display-name", default="", metavar="TEXT", help="as others see it")
    actions.choices["add"].add_argument("--email", default="", metavar="ADDRESS")
    actions.choices["list"].add_argument("--format", choices=("table", "json"), default="table")
    actions.choices["roles"].add_argument("roles", nargs="*", metavar="ROLE", help="none: no rights at all")
    must_help = "they must choose one of their own when they sign in"
    actions.choices["passwd"].add_argument("--must-change", action="store_true", help=must_help)


def _log_and_queue(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands that other packages bring; theirs want the settings as well."""
    before = set(commands.choices)
    for package in ("audit", "delivery", "notification"):
        import_module(f"medfake_pacs.{package}.commands").add_arguments(commands)
    for name in set(commands.choices) - before:
        for leaf in _leaves(commands.choices[name]):
            _with_config(leaf)
            leaf.set_defaults(run=_with_settings(leaf.get_default("run")))


def _leaves(command: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers under ``command`` that have no actions of their own."""
    groups = [action for action in command._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield command
    for group in groups:
        for inner in group.choices.values():
            yield from _leaves(inner)


def _with_settings(
    function: Callable[[Settings, argparse.Namespace], int],
) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        return function(load_settings(find_configuration(options.config)), options)

    return run
