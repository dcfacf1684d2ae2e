"""Mistakes that only show when sections are read together, or with the filesystem."""

import difflib
import importlib.util
from collections import Counter
from collections.abc import Iterable

from medfake_pacs.config.bundles import bundle_directories, incoming_problem
from medfake_pacs.config.problem import Problem
from medfake_pacs.config.schema import Settings


def cross_check(settings: Settings) -> list[Problem]:
    """Return every contradiction between sections, and every file or bundle that is named but absent."""
    return [
        *_duplicates("destinations", "name", [item.name for item in settings.destinations]),
        *_duplicates("routes", "name", [item.name for item in settings.routes]),
        *_duplicates("notifications", "name", [item.name for item in settings.notifications]),
        *_duplicates("peers", "ae_title", [item.ae_title for item in settings.peers]),
        *_destination_names(settings),
        *_models(settings),
        *_tls(settings),
        *_peers(settings),
        *_notifications(settings),
        *_secret_files(settings),
        *_extras(settings),
    ]


def _duplicates(section: str, key: str, values: list[str]) -> Iterable[Problem]:
    for value, count in Counter(values).items():
        if count > 1:
            yield Problem(f"{section}.{key}", repr(value), f"{count} entries have it", "give each its own")


def _destination_names(settings: Settings) -> Iterable[Problem]:
    known = [item.name for item in settings.destinations]
    named = [(f"routes[{i}].send_to", name) for i, route in enumerate(settings.routes, 1) for name in route.send_to]
    named += [("report.unrouted_send_to", name) for name in settings.report.unrouted_send_to]
    for key, name in named:
        if name not in known:
            yield Problem(key, repr(name), "no destination has this name", _nearest(name, known, "[[destinations]]"))


def _models(settings: Settings) -> Iterable[Problem]:
    folder = settings.models_dir
    known = list(bundle_directories(settings))
    for i, route in enumerate(settings.routes, 1):
        if route.model and route.model not in known:
            yield Problem(f"routes[{i}].model", repr(route.model), f"no bundle of this name in {folder}",
                          _nearest(route.model, known, "scoring.models_dir"))  # fmt: skip
    if reason := incoming_problem(settings):
        yield Problem("models.incoming_dir", repr(settings.models.incoming_dir), reason,
                      "name a folder of its own, or leave it empty")  # fmt: skip


def _nearest(name: str, known: list[str], where: str) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(known)}" if known else f"add it to {where}"


def _tls(settings: Settings) -> Iterable[Problem]:
    if settings.tls:
        for name in ("certificate", "key", "ca", "key_password_file"):
            path = getattr(settings.tls, name)
            if path and not path.is_file():
                yield Problem(f"tls.{name}", repr(str(path)), "there is no such file", "name a readable PEM file")
    elif any(item.tls for item in settings.destinations):
        yield Problem("destinations.tls", "True", "TLS needs the node's certificate", "add a [tls] section")


def _peers(settings: Settings) -> Iterable[Problem]:
    known = [peer.ae_title for peer in settings.peers]
    for i, route in enumerate(settings.routes, 1):
        for title in route.from_:
            if title not in known and not settings.association.accept_unknown_peers:
                yield Problem(f"routes[{i}].from", repr(title), "no peer has this AE title, so nothing comes from it",
                              _nearest(title, known, "[[peers]]"))  # fmt: skip
        for title in route.called:
            if title not in settings.called_ae_titles and settings.association.require_called_ae_title:
                yield Problem(f"routes[{i}].called", repr(title), "the node doesn't answer to this AE title",
                              "add it to association.called_ae_titles")  # fmt: skip


def _notifications(settings: Settings) -> Iterable[Problem]:
    for i, item in enumerate(settings.notifications, 1):
        if item.kind == "email" and settings.smtp is None:
            yield Problem(f"notifications[{i}].kind", "'email'", "no server takes e-mail", "add an [smtp] section")


def _extras(settings: Settings) -> Iterable[Problem]:
    missing = [name for name in ("authlib", "httpx2", "joserfc") if importlib.util.find_spec(name) is None]
    if settings.console.oidc and missing:
        reason = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        yield Problem("console.oidc", repr(settings.console.oidc.issuer), reason, "pip install 'medfake-pacs[oidc]'")


def _secret_files(settings: Settings) -> Iterable[Problem]:
    named = [(f"console.{name}", getattr(settings.console, name)) for name in ("certificate", "key")]
    if settings.console.oidc:
        named.append(("console.oidc.client_secret_file", settings.console.oidc.client_secret_file))
    if settings.smtp:
        named += [(f"smtp.{name}", getattr(settings.smtp, name)) for name in ("ca", "password_file")]
    for i, item in enumerate(settings.notifications, 1):
        files = ("secret_file", "ca", "template_file")
        named += [(f"notifications[{i}].{name}", getattr(item, name)) for name in files]
    for key, path in named:
        if path and not path.is_file():
            yield Problem(key, repr(str(path)), "there is no such file", "name a readable file")
