"""How long hosts are given to object to a store that a new leader found."""

from collections.abc import Collection

from calico.datastore.api import Datastore
from calico.keys import felix_status_key
from calico.model import HostName
from reconciler.controller.stored import StoredState
from reconciler.runtime.clock import Clock

#: Seconds that hosts are given to object, after which those that are silent are
#: taken for dead. An agent that is told of three members, two of which say nothing
#: at all, reaches the third after ten.
WAIT = 15.0


class Hearing:
    """The time in which hosts may object; one thread owns it."""

    def __init__(self, datastore: Datastore, stored: StoredState, clock: Clock) -> None:
        self._datastore = datastore
        self._stored = stored
        self._clock = clock
        self._since = 0.0
        #: Whether hosts are registered, and none was heard in all that time.
        self.is_silent = False

    def begin(self) -> None:
        """Give hosts all of the time."""
        self._since, self.is_silent = self._clock.monotonic(), False

    @property
    def is_over(self) -> bool:
        """Whether hosts had their time."""
        return self.has_lasted(WAIT)

    def has_lasted(self, seconds: float) -> bool:
        """Whether it began so long ago."""
        return self._clock.monotonic() - self._since >= seconds

    def note_heard(self, heard: Collection[HostName]) -> None:
        """Take in who was `heard` by now, whatever they said.

        If nobody was, all may be cut off, and object once they are back; until then
        there is nobody to give an address to. From the first that is heard on the
        others have all of the time again. Raises DatastoreError.
        """
        is_silent = bool(self._stored.registrations.names()) and not (heard or self._is_told())
        if self.is_silent and not is_silent:
            self.begin()
        self.is_silent = is_silent and self.is_over

    def _is_told(self) -> bool:
        """Whether an agent lives that is too old to say which store it follows.

        What it applied outlives it; that it reports does not.
        """
        return any(
            each.guid is None and self._datastore.get(felix_status_key(host)) is not None
            for host, each in self._stored.applied.items()
        )
