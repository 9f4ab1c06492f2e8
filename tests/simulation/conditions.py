"""How the product's threads wait for one another while one scheduler runs them all."""

from collections.abc import Callable
from types import TracebackType

from tests.simulation.scheduler import Scheduler, Thread


class Asked:
    """A stop that may be asked for; implements `Stop`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._changed = SteppedCondition(scheduler)
        self._set = False

    def is_set(self) -> bool:
        """See Stop."""
        return self._set

    def wait(self, timeout: float) -> bool:
        """See Stop."""
        if not self._set:
            self._changed.wait(timeout)
        return self._set

    def set(self) -> None:
        """Ask for it."""
        self._set = True
        self._changed.notify_all()


class SteppedCondition:
    """Implements `Condition`: between two doors nobody else runs, so entering it is nothing."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._waiting: dict[Thread, None] = {}

    def __enter__(self) -> bool:
        return True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        return None

    def wait(self, timeout: float) -> bool:
        """See Condition."""
        thread = self._scheduler.current
        self._waiting[thread] = None
        try:
            self._scheduler.sleep(timeout)
        finally:
            del self._waiting[thread]
        return True

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """See Condition."""
        end = self._scheduler.now() + timeout
        while not predicate() and self._scheduler.now() < end:
            self.wait(end - self._scheduler.now())
        return predicate()

    def notify_all(self) -> None:
        """See Condition."""
        for thread in self._waiting:
            self._scheduler.wake(thread)
