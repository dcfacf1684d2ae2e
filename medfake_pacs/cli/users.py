"""`user`: accounts of the console, among them its first administrator. Passwords are never on the command line."""

import argparse
import getpass
import json
import sys
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs import serve
from medfake_pacs.cli import settings_of
from medfake_pacs.console.errors import InvalidInputError
from medfake_pacs.console.queries import accounts as queries
from medfake_pacs.console.security import accounts, passwords
from medfake_pacs.console.security.actors import command_line_actor
from medfake_pacs.console.security.permissions import Role, parse_roles
from medfake_pacs.console.templating import time_text
from medfake_pacs.database import open_engine, reading, transaction
from medfake_pacs.database.console_tables import users
from medfake_pacs.database.existing import existing_engine

_UNUSABLE = 2


def add(options: argparse.Namespace) -> int:
    """Make an account that can sign in at once; before the node's first start it makes the tables too."""
    settings = settings_of(options)
    name = accounts.checked_name(options.name)
    profile = accounts.checked_profile(options.display_name, options.email)
    password_hash = passwords.hashed(_new_password(options, name))
    account = accounts.NewAccount(
        user_name=name,
        password_hash=password_hash,
        roles=accounts.checked_roles(options.role),
        state="active",
        **profile,
    )
    serve.prepare(settings)
    engine = open_engine(settings.database_url)
    try:
        with transaction(engine) as connection:
            accounts.create(connection, command_line_actor(), account)
    finally:
        engine.dispose()
    print(f"{name} can sign in at {settings.console.url}; roles: {_roles_text(account.roles)}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Print every account."""
    with existing_engine(settings_of(options).database_url, users, "account") as engine:
        if engine is None:
            return _UNUSABLE
        with reading(engine) as connection:
            found = queries.all_accounts(connection)
    if options.format == "json":
        print(json.dumps([_document(account) for account in found], indent=2))
    else:
        _print_table(found)
    return 0


def approve(options: argparse.Namespace) -> int:
    """Let a new account in; with ``--role`` it gets these roles, else those that it was invited with."""

    def act(connection: sa.Connection, user: sa.Row) -> str:
        roles = accounts.checked_roles(options.role) if options.role else parse_roles(user.roles)
        accounts.approve(connection, command_line_actor(), user.user_id, roles)
        return f"{user.user_name} can sign in; roles: {_roles_text(roles)}"

    return _change(options, act)


def roles(options: argparse.Namespace) -> int:
    """Give an account exactly these roles."""

    def act(connection: sa.Connection, user: sa.Row) -> str:
        wanted = accounts.checked_roles(options.roles)
        accounts.set_roles(connection, command_line_actor(), user.user_id, wanted)
        return f"{user.user_name} has the roles: {_roles_text(wanted)}"

    return _change(options, act)


def disable(options: argparse.Namespace) -> int:
    """Shut an account out."""

    def act(connection: sa.Connection, user: sa.Row) -> str:
        accounts.disable(connection, command_line_actor(), user.user_id)
        return f"{user.user_name} is disabled; its sessions and tokens have ended"

    return _change(options, act)


def enable(options: argparse.Namespace) -> int:
    """Let a disabled account in again."""

    def act(connection: sa.Connection, user: sa.Row) -> str:
        accounts.enable(connection, command_line_actor(), user.user_id)
        return f"{user.user_name} is enabled"

    return _change(options, act)


def passwd(options: argparse.Namespace) -> int:
    """Give an account another password; its sessions end, and waiting after wrong passwords too."""
    name = accounts.checked_name(options.name)
    password_hash = passwords.hashed(_new_password(options, name))

    def act(connection: sa.Connection, user: sa.Row) -> str:
        actor = command_line_actor()
        accounts.reset_password(connection, actor, user.user_id, password_hash, must_change=options.must_change)
        return f"{user.user_name} has another password; its sessions have ended"

    return _change(options, act)


def _change(options: argparse.Namespace, act: Callable[[sa.Connection, sa.Row], str]) -> int:
    with existing_engine(settings_of(options).database_url, users, "account") as engine:
        if engine is None:
            return _UNUSABLE
        with transaction(engine) as connection:
            text = act(connection, accounts.find(connection, options.name))
    print(text)
    return 0


def _new_password(options: argparse.Namespace, name: str) -> str:
    """Return the password from the file, standard input or, twice, the terminal.

    Raises
    ------
    InvalidInputError
        If it isn't good enough, or the two differ.
    """
    if options.password_file is not None:
        password = _first_line(options.password_file)
    else:
        password = getpass.getpass(f"Password for {name}: ")
        if getpass.getpass("Once more: ") != password:
            raise InvalidInputError("The two passwords differ.")
    problem = passwords.problem_of(password, name)
    if problem:
        raise InvalidInputError(problem)
    return password


def _first_line(path: Path) -> str:
    text = sys.stdin.readline() if str(path) == "-" else path.read_text(encoding="utf-8").partition("\n")[0]
    return text.rstrip("\r\n")


def _roles_text(found: tuple[Role, ...]) -> str:
    return ", ".join(found) or "none"


def _document(account: queries.Account) -> dict[str, object]:
    return {
        "user_name": account.user_name,
        "display_name": account.display_name,
        "email": account.email,
        "state": account.state,
        "roles": list(account.roles),
        "signs_in_by": account.signs_in_by,
        "last_sign_in_at": account.last_sign_in_at,
        "last_sign_in_host": account.last_sign_in_host,
    }


def _print_table(found: list[queries.Account]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("account", "name", "state", "roles", "signs in by", "last sign-in")
    for account in found:
        last = time_text(account.last_sign_in_at)
        when = f"{last} from {account.last_sign_in_host or 'an unknown host'}" if last else "never"
        cells = (account.user_name, account.display_name, account.state, _roles_text(account.roles),
                 account.signs_in_by, when)  # fmt: skip
        table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(table)
