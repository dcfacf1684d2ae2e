"""Logs as one JSON object a line on standard error; UIDs and AE titles only, never patient data."""

import json
import logging
import sys
import time
import traceback
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOISY = ("pynetdicom", "pydicom", "alembic", "apscheduler", "dbos", "sqlalchemy", "highdicom")


class JsonFormatter(logging.Formatter):
    """One line of JSON: time, level, process, event, and what was given as ``extra``."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a JSON object on one line."""
        instant = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{instant}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "process": self._process,
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            # Where, not what: the text of an error can hold what somebody sent.
            kind, _, where = record.exc_info
            line["error"] = kind.__name__ if kind else ""
            line["traceback"] = "".join(traceback.format_tb(where))
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(level: str, process: str) -> None:
    """Send every log record of this process to standard error as JSON; call once, at start.

    Libraries are heard from ``warning`` upwards only: at lower levels some of them print data sets.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NOISY:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    logging.captureWarnings(True)
