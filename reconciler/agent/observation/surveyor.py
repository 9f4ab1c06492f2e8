"""Sees other programs' firewalls now and then, in a thread of its own: they may be large."""

import logging
import threading
from collections.abc import Callable

from calico.dataplane.api import Firewalls
from calico.dataplane.foreign.rules import ForeignRules
from calico.errors import DataplaneError
from reconciler.agent.reconciliation.passes import Surveyed
from reconciler.runtime.complaint import Complaint

log = logging.getLogger(__name__)

SURVEY_EVERY = 10.0


class Surveyor:
    """Tells the loop what other programs filter by, whenever that changed."""

    def __init__(self, firewalls: Firewalls, post: Callable[[Surveyed], None]) -> None:
        self._firewalls = firewalls
        self._post = post
        self._seen = ForeignRules()
        self._open = False
        self._unread = Complaint(log, "other programs' firewalls not read")

    def run(self, stop: threading.Event) -> None:
        """Survey until stopped."""
        while not stop.is_set():
            self.survey()
            stop.wait(SURVEY_EVERY)
        self._firewalls.close()

    def survey(self) -> None:
        """Look once; what cannot be read is told once and changes nothing."""
        try:
            if not self._open:
                self._firewalls.open()
                self._open = True
            seen = self._firewalls.read()
        except DataplaneError as error:
            self._firewalls.close()
            self._open = False
            self._unread.tell(str(error))
            return
        self._unread.over()
        if seen != self._seen:
            self._seen = seen
            self._post(Surveyed(seen))
