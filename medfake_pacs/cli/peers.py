"""Commands whose work is done by the audit and delivery packages."""

import argparse

from medfake_pacs.audit import commands as audit_commands
from medfake_pacs.cli import settings_of
from medfake_pacs.delivery import commands as delivery_commands


def audit_query(options: argparse.Namespace) -> int:
    """Print the log's rows that match."""
    return audit_commands.run_query(settings_of(options), options)


def audit_verify(options: argparse.Namespace) -> int:
    """Check the log's chain and its anchor."""
    return audit_commands.run_verify(settings_of(options), options)


def deliveries_list(options: argparse.Namespace) -> int:
    """Print the deliveries."""
    return delivery_commands.run_list(settings_of(options), options)


def deliveries_retry(options: argparse.Namespace) -> int:
    """Put dead letters back in line."""
    return delivery_commands.run_retry(settings_of(options), options)


def echo(options: argparse.Namespace) -> int:
    """Send C-ECHO to a destination."""
    return delivery_commands.run_echo(settings_of(options), options)
