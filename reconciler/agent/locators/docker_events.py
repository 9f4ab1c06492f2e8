"""Follows a Docker engine's events, so that a task which starts is found at once.

Every task is found and lost without them as well, only later.
"""

import logging
import threading
import time
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from reconciler.agent.locators.api import LocatorUnavailable
from reconciler.agent.locators.docker_api import DockerEngine
from reconciler.agent.reconciliation.passes import ContainersChanged
from reconciler.runtime.complaint import Complaint

log = logging.getLogger(__name__)

LONGEST_BACKOFF = 5.0
#: Seconds that a stream must have lived for its end to be no reason to pause.
GOOD_AFTER = 5.0


class DockerEvents:
    """Passes on that containers started or died; runs in a thread of its own."""

    def __init__(self, engine: DockerEngine, post: Callable[[ContainersChanged], None]) -> None:
        self._engine = engine
        self._post = post
        self._unheard = Complaint(log, "containers are only looked for now and then")

    def run(self, stop: threading.Event) -> None:
        """Follow until stopped; a lost stream is opened anew with jitter."""
        retrying = Retrying(
            retry=retry_if_exception_type(LocatorUnavailable),
            wait=wait_random_exponential(multiplier=0.2, max=LONGEST_BACKOFF),
            sleep=lambda seconds: _pause(stop, seconds),
            before_sleep=self._tell,
        )
        while not stop.is_set():
            # One Retrying per stream: its backoff starts small again after success.
            retrying.copy()(self._follow, stop)

    def _follow(self, stop: threading.Event) -> None:
        if stop.is_set():
            return
        began = time.monotonic()
        try:
            for _ in self._engine.events():
                self._unheard.over()
                # Also once it listens: nobody knows what happened before.
                self._post(ContainersChanged())
                if stop.is_set():
                    return
        except LocatorUnavailable:
            if time.monotonic() - began < GOOD_AFTER:
                raise

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._unheard.tell(str(error))


def _pause(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)
