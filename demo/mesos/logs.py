"""Log lines with their fields behind them: `message key=value`."""

from __future__ import annotations

import logging
import sys

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class FieldFormatter(logging.Formatter):
    """The message, then every field that was given with it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line per record."""
        fields = [f"{k}={v}" for k, v in vars(record).items() if k not in _STANDARD]
        return " ".join([super().format(record), *fields])


def log_to_stderr() -> None:
    """Set up logging for a whole process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FieldFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
