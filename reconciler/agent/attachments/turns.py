"""Who may do something about a container, and until when."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from calico.model import ContainerId
from reconciler.attach.api import AttachUnavailable
from reconciler.runtime.clock import Clock
from reconciler.runtime.conditions import Conditions

#: Until when what the thread does is to be answered, if that is one request.
_DEADLINE: ContextVar[float | None] = ContextVar("deadline of a request", default=None)


class Turns:
    """Calls about one container go one after another, each with a deadline."""

    def __init__(
        self, clock: Clock, patience: float, conditions: Conditions = threading.Condition
    ) -> None:
        """`patience` is how many seconds a request may take, of however many calls it is made."""
        self._clock = clock
        self._patience = patience
        self._changed = conditions()
        self._busy: set[ContainerId] = set()

    @contextmanager
    def in_time(self) -> Iterator[None]:
        """Have what the thread does meanwhile be one request, with one deadline for all."""
        before = _DEADLINE.set(self._clock.monotonic() + self._patience)
        try:
            yield
        finally:
            _DEADLINE.reset(before)

    @contextmanager
    def of(self, container: ContainerId) -> Iterator[float]:
        """Be the one call about a container; the moment until when it is to be answered.

        Raises AttachUnavailable.
        """
        now = self._clock.monotonic()
        common = _DEADLINE.get()
        deadline = now + self._patience if common is None else common
        with self._changed:
            free = self._changed.wait_for(lambda: container not in self._busy, deadline - now)
            if not free:
                raise AttachUnavailable(
                    f"another request for container {container} is still under way: ask again"
                )
            self._busy.add(container)
        try:
            yield deadline
        finally:
            with self._changed:
                self._busy.discard(container)
                self._changed.notify_all()

    def is_taken(self, container: ContainerId) -> bool:
        """Whether a call about a container is under way."""
        with self._changed:
            return container in self._busy
