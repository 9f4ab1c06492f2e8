"""Trouble that lasts, told once."""

import logging


class Complaint:
    """Warns of one thing whenever its reason has changed, not each time that it is met."""

    def __init__(self, log: logging.Logger, message: str) -> None:
        self._log = log
        self._message = message
        self._told = ""

    def tell(self, why: str) -> None:
        """It is so, for this reason."""
        if why != self._told:
            self._told = why
            self._log.warning(self._message, extra={"why": why})

    def over(self) -> None:
        """It is no longer so: when it comes back, for whatever reason, that is told."""
        self._told = ""
