"""What is known of the event stream, and what of it is worth a line in the log."""

import logging

log = logging.getLogger(__name__)

#: Seconds of life after which a stream's end is usual: balancers cut idle ones
#: at a minute, and Marathon's leaders change.
USUAL_AFTER = 60.0


class StreamLog:
    """Whose stream is open, and why the last one ended; one thread owns it."""

    def __init__(self) -> None:
        self._leader: str | None = None
        self._since: float | None = None
        self._lost = ""

    def connected(self, url: str, leader: str | None, now: float) -> None:
        """A stream was opened."""
        self._leader, self._since, self._lost = leader, now, ""
        log.info("event stream connected", extra={"url": url, "leader": leader})

    def disconnected(self, reason: str, now: float) -> None:
        """A stream ended, or none could be opened: a reason that lasts is one line."""
        usual = self._since is not None and now - self._since >= USUAL_AFTER
        self._since = None
        if reason != self._lost:
            level = logging.INFO if usual else logging.WARNING
            log.log(level, "event stream lost", extra={"why": reason})
        self._lost = reason

    def is_deposed(self, leader: str) -> bool:
        """Whether another than this leader sends; told once for each stream.

        Heartbeats may go on after a leader's end, and events not.
        """
        if self._leader in (None, leader):
            return False
        self._leader = None
        log.warning("event stream is not the leader's", extra={"leader": leader})
        return True
