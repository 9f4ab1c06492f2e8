"""Tells the loop what other programs do to the kernel, in a thread of its own."""

import logging
import threading
from collections.abc import Callable

from calico.dataplane.api import Monitor, Noticed
from calico.errors import DataplaneError
from reconciler.agent.reconciliation.passes import KernelChanged
from reconciler.runtime.complaint import Complaint

log = logging.getLogger(__name__)

#: Seconds between two questions whether to stop, and between two attempts to open.
WAIT = 1.0


class Watcher:
    """Passes on what a monitor notices; the periodic look finds what it cannot."""

    def __init__(self, monitor: Monitor, post: Callable[[KernelChanged], None]) -> None:
        self._monitor = monitor
        self._post = post
        self._open = False
        self._unnoticed = Complaint(log, "changes of others are not noticed")

    def open(self) -> None:
        """Notice from now on, if that is possible."""
        try:
            self._monitor.open()
        except DataplaneError as error:
            self._unnoticed.tell(str(error))
        else:
            self._open = True
            self._unnoticed.over()

    def run(self, stop: threading.Event) -> None:
        """Pass on until stopped."""
        while not stop.is_set():
            if self._open:
                self.step(WAIT)
            else:
                stop.wait(WAIT)
                self._reopen()
        self._monitor.close()

    def step(self, timeout: float) -> None:
        """Wait for one notice and pass it on."""
        try:
            noticed = self._monitor.wait(timeout)
        except DataplaneError as error:
            self._unnoticed.tell(str(error))
            self._monitor.close()
            self._open = False
            self._reopen()
        else:
            if noticed is not None:
                self._post(KernelChanged(noticed))

    def _reopen(self) -> None:
        self.open()
        if self._open:
            # Nobody knows what happened meanwhile.
            self._post(KernelChanged(Noticed(foreign=True)))
