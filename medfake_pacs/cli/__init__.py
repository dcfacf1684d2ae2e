"""The command line: `medfake-pacs COMMAND`; each command's module is imported only when it is called."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs import __version__
from medfake_pacs.cli import arguments
from medfake_pacs.config import Settings, find_configuration, load_settings
from medfake_pacs.errors import ConfigurationError, MedfakeError

_FAILED = 1
_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed with the reason on standard error, 2 misused."""
    parser = arguments.parser(f"medfake-pacs {__version__}")
    options = parser.parse_args(argv)
    try:
        return int(options.run(options))
    except ConfigurationError as error:
        _complain("the configuration can't be used (see medfake-pacs check-config)", str(error))
    except MedfakeError as error:
        _complain(str(error))
    except BrokenPipeError:
        # The reader of a pipe has seen enough; Python would complain again while closing standard output.
        sys.stdout = None  # type: ignore[assignment]
    except sa.exc.SQLAlchemyError as error:
        # Its text holds the statement; the driver's own says what is wrong with the database.
        cause = getattr(error, "orig", None) or type(error).__name__
        _complain("the database can't be used", str(cause).strip())
    except OSError as error:
        _complain(f"{error.filename or 'a file'} can't be used", error.strerror or type(error).__name__)
    except KeyboardInterrupt:
        return 130
    return _FAILED


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings that the command was told to use, or found."""
    return load_settings(configuration_path(options))


def configuration_path(options: argparse.Namespace) -> Path:
    """Return the configuration file that the command was told to use, or found."""
    return find_configuration(options.config)


def _complain(*lines: str) -> None:
    print("medfake-pacs:", *lines, sep="\n  " if len(lines) > 1 else " ", file=sys.stderr)
