"""Relative paths in a configuration start at the folder that holds it."""

from pathlib import Path
from typing import Any

from medfake_pacs.config.schema import Settings
from medfake_pacs.config.types import Section


def with_absolute_paths(settings: Settings, base: Path) -> Settings:
    """Return the settings with every path made absolute, from ``base`` where it is relative."""
    node = settings.node.model_copy(update={"state_dir": base / settings.node.state_dir})
    update: dict[str, Any] = {"node": node}
    if settings.scoring.models_dir:
        update["scoring"] = settings.scoring.model_copy(update={"models_dir": base / settings.scoring.models_dir})
    if settings.models.incoming_dir:
        update["models"] = settings.models.model_copy(update={"incoming_dir": str(base / settings.models.incoming_dir)})
    if settings.audit.anchor_file:
        update["audit"] = settings.audit.model_copy(update={"anchor_file": str(base / settings.audit.anchor_file)})
    if settings.tls:
        names = ("certificate", "key", "ca", "key_password_file")
        paths = {name: getattr(settings.tls, name) for name in names}
        update["tls"] = settings.tls.model_copy(update={name: base / path for name, path in paths.items() if path})
    update["console"] = _console(settings, base)
    if settings.smtp:
        update["smtp"] = _absolute(settings.smtp, ("ca", "password_file"), base)
    update["notifications"] = tuple(
        _absolute(item, ("secret_file", "ca", "template_file"), base) for item in settings.notifications
    )
    return settings.model_copy(update=update)


def _console(settings: Settings, base: Path) -> Section:
    console = _absolute(settings.console, ("certificate", "key"), base)
    if settings.console.oidc is None:
        return console
    return console.model_copy(update={"oidc": _absolute(settings.console.oidc, ("client_secret_file",), base)})


def _absolute(section: Section, names: tuple[str, ...], base: Path) -> Section:
    paths = {name: getattr(section, name) for name in names}
    return section.model_copy(update={name: base / path for name, path in paths.items() if path})
