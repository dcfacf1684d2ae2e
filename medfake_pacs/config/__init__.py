"""The configuration: read once from TOML and the environment, validated whole, immutable afterwards."""

from medfake_pacs.config.load import Problem, find_configuration, load_settings, parse_settings
from medfake_pacs.config.schema import (
    AssociationSettings,
    CompletionSettings,
    DestinationSettings,
    ModelsSettings,
    NotificationSettings,
    PeerSettings,
    PixelSettings,
    ReportSettingsModel,
    RetrySettings,
    RouteSettings,
    ScoringSettings,
    Settings,
    SmtpSettings,
    SpoolSettings,
    TlsSettings,
)

__all__ = [
    "AssociationSettings",
    "CompletionSettings",
    "DestinationSettings",
    "ModelsSettings",
    "NotificationSettings",
    "PeerSettings",
    "PixelSettings",
    "Problem",
    "ReportSettingsModel",
    "RetrySettings",
    "RouteSettings",
    "ScoringSettings",
    "Settings",
    "SmtpSettings",
    "SpoolSettings",
    "TlsSettings",
    "find_configuration",
    "load_settings",
    "parse_settings",
]
