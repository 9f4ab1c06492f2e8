"""Trouble that lasts, told once."""

import logging


class Complaint:
    """Tells of one thing whenever its reason has changed, not each time that it is met.

    `fields` say what it is about.
    """

    def __init__(self, log: logging.Logger, message: str, **fields: object) -> None:
        self._log = log
        self._message = message
        self._fields = fields
        self._told = ""

    def tell(self, why: str, level: int = logging.WARNING) -> None:
        """It is so, for this reason."""
        if why != self._told:
            self._told = why
            self._log.log(level, self._message, extra={**self._fields, "why": why})

    def over(self) -> None:
        """It is no longer so: when it comes back, for whatever reason, that is told."""
        self._told = ""
